//! Talk that costs those who listen.

use super::*;

/// At each node. Whoever says them is put out, and comes under another name.
pub(super) const MESSAGES_A_SECOND: u64 = 50;
/// At one node after the other, for a minute each: the one who says it is banned for it, and comes under another name.
pub(super) const FLOOD_A_SECOND: u64 = 200;
pub(super) const TURN: Duration = Duration::from_secs(60);
pub(super) const UNKNOWN: usize = 4;

/// At each node so many a second. The answers, of 20 KiB at most, are 84 Mbit/s of all eight nodes: a fast line.
pub(super) const QUESTIONS_AT_ONCE: usize = 64;
pub(super) const QUESTIONS_PAUSE: Duration = Duration::from_secs(1);
pub(super) const ASKING: Duration = Duration::from_secs(30);

/// F8, F14 and F17: talk that costs those who listen.
pub(super) fn tasks(stage: &Stage, tally: &Tally) -> Vec<Task> {
    let (mut tasks, begun): (Vec<Task>, _) = (Vec::new(), Instant::now());
    let turns = stage.targets.len() as u64;
    for (n, place) in (0..).zip(places(stage, 4)) {
        let seed = format!("{} talker {n}", stage.seed);
        let is_flooded = move || begun.elapsed().as_secs() / TURN.as_secs() % turns == n;
        let talk = Talk { place, base: stage.tiny, seed, tally: tally.clone() };
        tasks.push(Box::pin(talk.clone().talk(is_flooded)));
        tasks.push(Box::pin(talk.question()));
    }
    tasks
}

/// Somebody who takes a name that nobody has seen whenever the last one is put out.
#[derive(Clone)]
struct Talk {
    place: Place,
    base: BaseId,
    seed: String,
    tally: Tally,
}

impl Talk {
    async fn talk(self, is_flooded: impl Fn() -> bool) {
        for name in 0.. {
            // Whatever ends it, the next name goes on.
            drop(self.talk_once(&format!("{} talks {name}", self.seed), &is_flooded).await);
            self.tally.add(PUT_OUT, 1);
            self.tally.add(TALK_PUT_OUT, 1);
            sleep(REST).await;
        }
    }

    async fn talk_once(&self, seed: &str, is_flooded: impl Fn() -> bool) -> Outcome<()> {
        let mut peer = Peer::at(&self.place, &self.base, &key(seed)?, Manner::Serving(Shelf::default())).await?;
        self.tally.add(NAMES, 1);
        let mut envelopes = Envelopes::new(seed, self.base)?;
        for turn in 0.. {
            // First: for the messages it is put out, and this is nobody's fault.
            let unknown = unknown_kinds::speak(&mut peer, &format!("{seed} {turn}"), &self.base, UNKNOWN).await?;
            self.tally.add(UNKNOWN_SAID, unknown as u64);
            let rate = if is_flooded() { FLOOD_A_SECOND } else { MESSAGES_A_SECOND };
            let messages = (0..rate * BATCH_SECONDS).map(|_| envelopes.make());
            let said = many_signatures::say(&mut peer, &self.base, messages, rate).await;
            self.tally.add(MESSAGES, said as u64);
            if peer.is_gone() {
                break;
            }
        }
        Ok(())
    }

    async fn question(self) {
        for name in 0.. {
            drop(self.question_once(&format!("{} asks {name}", self.seed)).await);
            self.tally.add(PUT_OUT, 1);
            sleep(REST).await;
        }
    }

    async fn question_once(&self, seed: &str) -> Outcome<()> {
        let peer = Peer::at(&self.place, &self.base, &key(seed)?, Manner::Serving(Shelf::default())).await?;
        self.tally.add(NAMES, 1);
        loop {
            for request in [Request::Providers(signed::nowhere(seed)), Request::Announcements(self.base)] {
                let asked = questions::ask(&peer, &request, QUESTIONS_AT_ONCE, QUESTIONS_PAUSE, ASKING).await?;
                self.tally.add(QUESTIONS, asked.answered);
                self.tally.add(BUSY, asked.busy);
            }
        }
    }
}
