//! Ground keys that fill catalogues, and sign again and again.

use super::staying::Staying;
use super::*;

/// As many records as a base may have, by the best of so many keys.
pub(super) const GROUND: usize = 4096;
pub(super) const DRAWS: usize = 100_000;
/// Kinds that the ground records are of: no other ones matter to anybody here.
pub(super) const KINDS: [KindTag; 4] = [KindTag::Adapter, KindTag::Version, KindTag::Proof, KindTag::Proposal];
/// All of them are signed again under higher numbers so often. Signing them takes half a second of a laptop.
pub(super) const AGAIN: Duration = Duration::from_secs(30);
/// By gossip at each node: as many newcomers as one neighbourhood may bring for ever.
pub(super) const GOSSIPED_A_SECOND: u64 = 4;

/// Keys that were ground before the attack, for each base: those of the epoch in which it begins, and of the next one.
#[derive(Clone)]
pub(super) struct Ground {
    epoch: u64,
    pub(super) keys: Arc<Vec<[Vec<Keypair>; 2]>>,
}

impl Ground {
    pub(super) fn new(seed: &str, bases: &[BaseId], count: usize, draws: usize) -> Outcome<Self> {
        let epoch = this_epoch()?;
        let places: Vec<_> = bases.iter().flat_map(|base| [(epoch, *base), (epoch + 1, *base)]).collect();
        let mut found = lowest_lots(seed, &places, count, draws)?.into_iter();
        let mut keys = Vec::new();
        while let (Some(now), Some(next)) = (found.next(), found.next()) {
            keys.push([now, next]);
        }
        Ok(Self { epoch, keys: Arc::new(keys) })
    }

    /// Says all that are good now, instead of what was said before.
    fn say(&self, shelf: &Shelf, bases: &[BaseId], sequence: u64) -> Outcome<()> {
        let next = usize::from(this_epoch()? > self.epoch);
        for (base, keys) in bases.iter().zip(self.keys.iter()) {
            shelf.forget(base);
            wiped_catalogue::say(shelf, &keys[next], &KINDS, *base, sequence)?;
        }
        Ok(())
    }
}

/// F4 and F20: ground records of every base, said again and again under higher numbers.
pub(super) fn tasks(stage: &Stage, tally: &Tally) -> Outcome<Vec<Task>> {
    let (seed, bases, shelf) = (stage.seed.to_string(), vec![stage.tiny, stage.base], Shelf::default());
    let ground = Ground::new(&seed, &bases, GROUND, DRAWS)?;
    ground.say(&shelf, &bases, 1)?;
    let own = key(&format!("{seed} wiper"))?;
    let mut tasks: Vec<Task> = Vec::new();
    for (n, place) in places(stage, 2).enumerate() {
        let staying = Staying {
            place: place.clone(),
            bases: bases.clone(),
            key: own.clone(),
            shelf: shelf.clone(),
            tally: tally.clone(),
            counted: GROUND_COMPARED,
        };
        tasks.push(Box::pin(staying.go_on()));
        let gossiper = key(&format!("{seed} gossips at {n}"))?;
        tasks.push(Box::pin(gossip(place, stage.tiny, gossiper, shelf.clone(), tally.clone())));
    }
    tasks.push(Box::pin(say_again(ground, shelf, bases, tally.clone())));
    Ok(tasks)
}

async fn say_again(ground: Ground, shelf: Shelf, bases: Vec<BaseId>, tally: Tally) {
    for sequence in 2.. {
        sleep(AGAIN).await;
        // Its own keys sign.
        if ground.say(&shelf, &bases, sequence).is_err() {
            return;
        }
        tally.add(SIGNED_AGAIN, 1);
    }
}

/// Says by gossip what is on a shelf.
async fn gossip(place: Place, base: BaseId, key: Keypair, shelf: Shelf, tally: Tally) {
    loop {
        if let Ok(mut peer) = Peer::at(&place, &base, &key, Manner::Serving(Shelf::default())).await {
            let (mut records, batch) = (Vec::new(), (GOSSIPED_A_SECOND * BATCH_SECONDS) as usize);
            while !peer.is_gone() {
                if records.is_empty() {
                    records = shelf.said_of(&base);
                }
                let some = records.split_off(records.len().saturating_sub(batch));
                let said = many_signatures::say(&mut peer, &base, some.into_iter(), GOSSIPED_A_SECOND).await;
                tally.add(GROUND_GOSSIPED, said as u64);
            }
        }
        tally.add(PUT_OUT, 1);
        sleep(REST).await;
    }
}
