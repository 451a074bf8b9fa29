//! A peer that is there for the whole time.

use super::*;

/// Whoever is connected asks so often, which makes the node compare.
pub(super) const ASKS: Duration = Duration::from_secs(7);

/// One that stays connected as long as it is let in, comes again if it is put out, and asks now and then.
pub(super) struct Staying {
    pub place: Place,
    pub bases: Vec<BaseId>,
    pub key: Keypair,
    pub shelf: Shelf,
    pub tally: Tally,
    pub counted: &'static str,
}

impl Staying {
    pub async fn go_on(self) {
        loop {
            // Whatever ends it, it comes again.
            drop(self.once().await);
            self.tally.add(PUT_OUT, 1);
            sleep(REST).await;
        }
    }

    async fn once(&self) -> Outcome<()> {
        let mut peer = Peer::connect(&self.place, &self.key, Manner::Serving(self.shelf.clone())).await?;
        for base in &self.bases {
            peer.follow(base).await?;
        }
        while !peer.is_gone() {
            for base in &self.bases {
                self.tally.add(self.counted, u64::from(peer.known(base).await.is_ok()));
            }
            sleep(ASKS).await;
        }
        Ok(())
    }
}
