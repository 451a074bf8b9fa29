//! Which peers are left alone, and for how long.

use libp2p_identity::PeerId;

use super::round::RoundOutcome;
use super::timing::{BACKOFF_MAX_MS, BACKOFF_MS, FRUITLESS, PEERS};
use crate::backoff::{Backoff, Delays};
use crate::id::BaseId;

const DELAYS: Delays = Delays { first_ms: 2 * BACKOFF_MS, longest_ms: BACKOFF_MAX_MS };

/// Who does not answer is left alone about everything; who taught nothing, about that base alone: a peer that has nothing
/// new of a base may be the only one that knows another, which somebody waits for.
#[derive(Clone, Debug)]
pub(super) struct Rests {
    silent: Backoff<PeerId>,
    fruitless: Backoff<(BaseId, PeerId)>,
}

impl Default for Rests {
    /// Nobody is.
    fn default() -> Self {
        Self { silent: Backoff::new(DELAYS, PEERS), fruitless: Backoff::new(DELAYS, FRUITLESS) }
    }
}

impl Rests {
    /// Until when a peer is not asked about a base; 0 if it may be.
    pub fn until_ms(&self, base: &BaseId, peer: &PeerId) -> u64 {
        self.silent.until_ms(peer).max(self.fruitless.until_ms(&(*base, *peer)))
    }

    /// How often in a row asking it about that base was of no use.
    pub fn failures(&self, base: &BaseId, peer: &PeerId) -> u32 {
        self.silent.failures(peer).saturating_add(self.fruitless.failures(&(*base, *peer)))
    }

    /// There is a new reason to ask it about that base, at that time.
    pub fn shorten(&mut self, base: &BaseId, peer: &PeerId, at_ms: u64) {
        self.silent.shorten(peer, at_ms);
        self.fruitless.shorten(&(*base, *peer), at_ms);
    }

    /// A round is over. `declined`: most of what it brought was not taken, and it is of no use to ask again soon, though a
    /// little was new.
    pub fn note(&mut self, outcome: RoundOutcome, declined: bool, base: BaseId, peer: PeerId, now_ms: u64) {
        match outcome {
            RoundOutcome::Unanswered => return self.silent.back_off(peer, now_ms),
            RoundOutcome::Wrong => return self.silent.penalize(peer, now_ms),
            RoundOutcome::Learned(_) if declined => self.fruitless.back_off((base, peer), now_ms),
            RoundOutcome::Nothing => self.fruitless.back_off((base, peer), now_ms),
            RoundOutcome::Equal | RoundOutcome::Learned(_) => self.fruitless.reset(&(base, peer)),
        }
        self.silent.reset(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    const ROUNDS: u64 = 12;

    /// When a peer may be asked again about the base of some rounds, and about another one.
    fn until_ms(outcome: RoundOutcome, declined: bool) -> [u64; 2] {
        let [first, second] = ["first", "second"].map(|name| BaseId(Digest::of(name.as_bytes())));
        let (mut rests, peer) = (Rests::default(), PeerId::random());
        (0..ROUNDS).for_each(|_| rests.note(outcome, declined, first, peer, 0));
        [first, second].map(|base| rests.until_ms(&base, &peer))
    }

    #[test]
    fn who_teaches_nothing_about_one_base_is_asked_about_another_at_once() {
        for (outcome, declined) in [(RoundOutcome::Nothing, false), (RoundOutcome::Learned(1), true)] {
            assert_eq!(until_ms(outcome, declined), [BACKOFF_MAX_MS, 0]);
        }
        assert_eq!(until_ms(RoundOutcome::Learned(2), false), [0, 0]);
        assert_eq!(until_ms(RoundOutcome::Equal, false), [0, 0]);
    }

    #[test]
    fn who_does_not_answer_is_left_alone_about_all_bases_until_it_does() {
        for outcome in [RoundOutcome::Unanswered, RoundOutcome::Wrong] {
            assert_eq!(until_ms(outcome, false), [BACKOFF_MAX_MS; 2]);
            let (base, peer, mut rests) = (BaseId(Digest::of(b"base")), PeerId::random(), Rests::default());
            rests.note(outcome, false, base, peer, 0);
            rests.note(RoundOutcome::Nothing, false, base, peer, 0);
            let another = BaseId(Digest::of(b"another"));
            assert_eq!((rests.until_ms(&another, &peer), rests.failures(&base, &peer)), (0, 1));
        }
    }
}
