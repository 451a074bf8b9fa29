//! The machine by itself: its order, its bounds, and that nobody can be kept out. Peers that answer each other are
//! simulated in `tests/tests/simulated`.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{
    AGAIN_MS, ANSWER_MS, AT_ONCE, Action, Answer, Ask, Candidate, Event, HEDGE_MS, Memory, OPEN_MAX, OPEN_PER_PEER,
};
use crate::id::Digest;

/// The same cases in every run.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 128,
        rng_seed: RngSeed::Fixed(0x706f_746c),
        failure_persistence: None,
        ..Default::default()
    }
}

/// Some peer for each number.
fn peer(number: u64) -> PeerId {
    let hash = [&[0x12, 0x20], Digest::of(&number.to_le_bytes()).0.as_slice()].concat();
    PeerId::from_bytes(&hash).expect("32 bytes under the code of SHA-256 are a peer id")
}

fn candidate(number: u64, neighbourhood: u64, likely: bool) -> Candidate {
    Candidate { peer: peer(number), neighbourhood, likely }
}

fn met(number: u64, neighbourhood: u64, likely: bool) -> Event {
    Event::Met { peers: vec![candidate(number, neighbourhood, likely)] }
}

fn answered(number: u64, answer: Answer) -> Event {
    Event::Answered { peer: peer(number), answer }
}

/// A machine with the memory of its node, and when it asked whom.
struct Bench {
    ask: Ask,
    memory: Memory,
    asked: Vec<(u64, PeerId)>,
    now: u64,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self { ask: Ask::new(seed, 64), memory: Memory::default(), asked: Vec::new(), now: 0 }
    }

    fn feed(&mut self, event: Event) -> Vec<PeerId> {
        let actions = self.ask.handle(event, self.now, &mut self.memory);
        let asked = actions.into_iter().filter_map(|action| match action {
            Action::Ask { peer } => Some(peer),
            Action::GiveUp { .. } => None,
        });
        let asked: Vec<PeerId> = asked.collect();
        self.asked.extend(asked.iter().map(|peer| (self.now, *peer)));
        asked
    }

    /// Time passes, and nobody answers.
    fn wait_until(&mut self, at: u64) {
        while let Some(wake) = self.ask.wake_at_ms(self.now, &self.memory).filter(|wake| *wake <= at) {
            self.now = wake;
            self.feed(Event::Tick);
        }
        self.now = at;
    }

    fn first_asked(&self, number: u64) -> Option<u64> {
        self.asked.iter().find(|(_, asked)| *asked == peer(number)).map(|(at, _)| *at)
    }

    /// The next ask of the same node.
    fn next(&self, seed: u64) -> Self {
        Self { ask: Ask::new(seed, 64), memory: self.memory.clone(), asked: Vec::new(), now: self.now }
    }
}

/// What the security review found of pulls: the peers that were asked were the sixty-four with the lowest ids.
#[test]
fn two_hundred_idle_peers_keep_nobody_out() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        (0..200).for_each(|idle| drop(bench.feed(met(idle, 0, false))));
        bench.feed(met(999, 0, false));
        bench.wait_until(60_000);
        let at = bench.first_asked(999).expect("it is asked");
        assert!(at <= 201_u64.div_ceil(AT_ONCE as u64) * HEDGE_MS, "seed {seed}: after {at} ms");
    }
}

#[test]
fn who_announced_it_is_asked_first_and_the_others_are_not_kept_waiting_for_a_crowd_of_them() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        let crowd = (0..100).map(|number| candidate(number, 0, number < 50)).collect();
        let first = bench.feed(Event::Met { peers: crowd });
        let likely: Vec<PeerId> = (0..50).map(peer).collect();
        assert_eq!(first.len(), AT_ONCE);
        assert_eq!(first.iter().filter(|asked| likely.contains(asked)).count(), AT_ONCE - AT_ONCE / 4);
    }
}

#[test]
fn one_of_each_neighbourhood_is_asked_before_a_second_of_any() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        let crowd = (0..100).map(|number| candidate(number, 0, false));
        let others = (100..107).map(|number| candidate(number, number, false));
        let first = bench.feed(Event::Met { peers: crowd.chain(others).collect() });
        assert!(first.len() == AT_ONCE && (100..107).all(|number| first.contains(&peer(number))), "{first:?}");
    }
}

#[test]
fn an_answer_makes_room_at_once_and_any_number_can_be_asked() {
    let mut bench = Bench::new(1);
    (0..500).for_each(|number| drop(bench.feed(met(number, number % 7, false))));
    let mut answered = 0;
    while answered < 500 {
        let (_, asked) = bench.asked[answered];
        bench.feed(Event::Answered { peer: asked, answer: Answer::Lacks });
        answered += 1;
    }
    assert_eq!((bench.now, bench.asked.len()), (0, 500));
    assert!(bench.ask.is_exhausted(bench.now, &bench.memory));
    // They may have got it since, and are asked again, less and less often.
    bench.wait_until(AGAIN_MS - 1);
    assert_eq!(bench.asked.len(), 500);
    bench.wait_until(AGAIN_MS);
    assert_eq!(bench.asked.len(), 500 + AT_ONCE);
}

#[test]
fn who_was_silent_is_asked_last_in_the_next_ask_and_not_never() {
    let mut bench = Bench::new(1);
    (0..AT_ONCE as u64).for_each(|silent| drop(bench.feed(met(silent, silent, true))));
    bench.wait_until(ANSWER_MS);
    let mut next = bench.next(2);
    let silent = (0..AT_ONCE as u64).map(|silent| candidate(silent, silent, true));
    let others = (100..100 + AT_ONCE as u64).map(|number| candidate(number, number, false));
    let first = next.feed(Event::Met { peers: silent.chain(others).collect() });
    assert!((100..100 + AT_ONCE as u64).all(|number| first.contains(&peer(number))), "{first:?}");
    next.wait_until(next.now + HEDGE_MS);
    assert!((0..AT_ONCE as u64).all(|silent| next.first_asked(silent).is_some()));
}

#[test]
fn a_silent_peer_is_waited_for_once_and_not_in_each_ask() {
    let mut bench = Bench::new(1);
    bench.feed(met(0, 0, false));
    let mut exhausted_after = Vec::new();
    for seed in 2..12 {
        let begun = bench.now;
        while !bench.ask.is_exhausted(bench.now, &bench.memory) {
            let wake = bench.ask.wake_at_ms(bench.now, &bench.memory).expect("a question is open");
            bench.wait_until(wake);
        }
        exhausted_after.push(bench.now - begun);
        bench.ask.end(&mut bench.memory);
        bench = bench.next(seed);
        bench.feed(met(0, 0, false));
    }
    assert_eq!(exhausted_after[0], ANSWER_MS);
    assert!(exhausted_after[1..].iter().all(|after| *after == HEDGE_MS), "{exhausted_after:?}");
}

#[test]
fn who_delivers_no_longer_rests() {
    let mut bench = Bench::new(1);
    bench.feed(met(0, 0, true));
    bench.wait_until(HEDGE_MS);
    assert!(bench.memory.is_resting(&peer(0), bench.now), "it is late");
    bench.feed(answered(0, Answer::Has));
    assert!(bench.memory.is_resting(&peer(0), bench.now), "a word is cheap");
    bench.memory.delivered(&peer(0));
    assert!(!bench.memory.is_resting(&peer(0), bench.now));
}

#[test]
fn peers_that_say_they_have_it_and_deliver_nothing_keep_nobody_out() {
    let mut bench = Bench::new(1);
    for liar in 0..100 {
        if let [asked] = bench.feed(met(liar, liar, true))[..] {
            bench.feed(Event::Answered { peer: asked, answer: Answer::Has });
        }
    }
    bench.feed(met(999, 0, false));
    bench.wait_until(20 * ANSWER_MS);
    assert_eq!(bench.asked.len(), 64, "enough have it");
    while bench.first_asked(999).is_none() {
        for asked in bench.feed(Event::Wanting) {
            if asked != peer(999) {
                bench.feed(Event::Answered { peer: asked, answer: Answer::Has });
            }
        }
    }
}

#[test]
fn more_are_wanted_beyond_those_that_are_enough_and_not_before() {
    let mut bench = Bench::new(1);
    (0..100).for_each(|_| drop(bench.feed(Event::Wanting)));
    for number in 0..200 {
        for asked in bench.feed(met(number, 0, false)) {
            bench.feed(Event::Answered { peer: asked, answer: Answer::Has });
        }
    }
    assert_eq!(bench.asked.len(), 64);
    assert_eq!(bench.feed(Event::Wanting).len(), AT_ONCE);
}

#[test]
fn one_that_led_nowhere_makes_room_for_another() {
    let mut bench = Bench::new(1);
    for number in 0..64 {
        bench.feed(met(number, 0, false));
        bench.feed(answered(number, Answer::Has));
    }
    assert!(bench.feed(met(64, 0, false)).is_empty());
    assert_eq!(bench.feed(answered(0, Answer::Nothing)), [peer(64)]);
}

#[test]
fn what_is_announced_meanwhile_is_asked_for_at_once() {
    let mut bench = Bench::new(1);
    bench.feed(met(0, 0, false));
    bench.feed(answered(0, Answer::Lacks));
    bench.now = 10;
    assert!(bench.feed(met(0, 0, false)).is_empty());
    assert_eq!(bench.feed(met(0, 0, true)), [peer(0)]);
    bench.feed(answered(0, Answer::Lacks));
    assert!(bench.feed(met(0, 0, true)).is_empty(), "once");
}

#[test]
fn many_asks_at_once_leave_a_silent_peer_its_bound() {
    let mut memory = Memory::default();
    let mut asks: Vec<_> = (0..50).map(|seed| Ask::new(seed, 1)).collect();
    for (n, ask) in asks.iter_mut().enumerate() {
        let silent = ask.handle(met(0, 0, true), 0, &mut memory);
        assert_eq!(silent.len(), usize::from(n < OPEN_PER_PEER));
        assert_eq!(ask.handle(met(1, 1, false), 0, &mut memory), [Action::Ask { peer: peer(1) }]);
        ask.handle(answered(1, Answer::Lacks), 0, &mut memory);
        assert!(ask.is_idle(&memory) || n < OPEN_PER_PEER);
    }
    assert_eq!(memory.open(), OPEN_PER_PEER);
    // Its turn comes when it owes less.
    let last = asks.last_mut().expect("fifty");
    assert!(!last.is_exhausted(0, &memory) && last.wake_at_ms(0, &memory).is_some());
    asks.iter_mut().for_each(|ask| ask.end(&mut memory));
    assert_eq!(memory.open(), 0);
}

/// What happens in the test of arbitrary events.
#[derive(Clone, Debug)]
struct Happening {
    kind: u8,
    number: u64,
    after_ms: u64,
}

fn happening() -> impl Strategy<Value = Happening> {
    let after = prop_oneof![Just(0u64), 1u64..300, 300u64..12_000];
    (0u8..13, 0u64..30, after).prop_map(|(kind, number, after_ms)| Happening { kind, number, after_ms })
}

/// A second account of what is open.
#[derive(Default)]
struct Account {
    here: BTreeSet<PeerId>,
    wrong: BTreeSet<PeerId>,
    open: BTreeMap<PeerId, u64>,
}

impl Account {
    fn check(&mut self, actions: &[Action], now: u64) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Ask { peer } => {
                    prop_assert!(self.here.contains(peer), "only who is here is asked");
                    prop_assert!(!self.wrong.contains(peer), "who broke a rule is not asked again");
                    prop_assert!(self.open.insert(*peer, now).is_none(), "one question to a peer at a time");
                }
                Action::GiveUp { peer } => {
                    let since = self.open.remove(peer);
                    prop_assert!(since.is_some_and(|since| now >= since + ANSWER_MS), "everybody has their time");
                }
            }
        }
        prop_assert!(self.open.values().filter(|since| now < **since + HEDGE_MS).count() <= AT_ONCE);
        prop_assert!(self.open.len() <= OPEN_MAX);
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Met { peers } => self.here.extend(peers.iter().map(|one| one.peer)),
            Event::Gone { peer } => {
                self.here.remove(peer);
                self.wrong.remove(peer);
                self.open.remove(peer);
            }
            Event::Answered { peer, answer } => {
                self.open.remove(peer);
                if *answer == Answer::Wrong && self.here.contains(peer) {
                    self.wrong.insert(*peer);
                }
            }
            Event::Wanting | Event::Tick => {}
        }
    }
}

fn event(happening: &Happening) -> Event {
    let number = happening.number;
    let answer = |answer| answered(number, answer);
    match happening.kind {
        0..=3 => met(number, number % 3, false),
        4 => met(number, number % 3, true),
        5 => Event::Gone { peer: peer(number) },
        6 => answer(Answer::Has),
        7 => answer(Answer::HasSome),
        8 => answer(Answer::Lacks),
        9 => answer(Answer::Nothing),
        10 => answer(Answer::Wrong),
        11 => Event::Wanting,
        _ => Event::Tick,
    }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever is said, by known and unknown peers, in any order: no rule is broken, whoever comes then is asked within
    /// the bound, and the same events have the same actions.
    #[test]
    fn arbitrary_events_break_no_rule(seed: u64, happenings in prop::collection::vec(happening(), 0..150)) {
        let run = || {
            let (mut ask, mut memory, mut account) = (Ask::new(seed, 1000), Memory::default(), Account::default());
            let (mut now, mut all) = (0, Vec::new());
            for happening in &happenings {
                // The driver wakes it when it wants to be woken.
                let until = now + happening.after_ms;
                while let Some(wake) = ask.wake_at_ms(now, &memory).filter(|wake| *wake <= until) {
                    now = wake;
                    let actions = ask.handle(Event::Tick, now, &mut memory);
                    account.check(&actions, now)?;
                    all.extend(actions);
                }
                now = until;
                let event = event(happening);
                account.note(&event);
                let actions = ask.handle(event, now, &mut memory);
                account.check(&actions, now)?;
                all.extend(actions);
                prop_assert_eq!(memory.open(), account.open.len());
            }
            let begun = now;
            let mut actions = ask.handle(met(999, 999, false), now, &mut memory);
            while !actions.contains(&Action::Ask { peer: peer(999) }) {
                now = ask.wake_at_ms(now, &memory).expect("somebody waits, so time matters");
                prop_assert!(now <= begun + 31_u64.div_ceil(AT_ONCE as u64) * HEDGE_MS, "asked too late");
                actions = ask.handle(Event::Tick, now, &mut memory);
            }
            ask.end(&mut memory);
            prop_assert_eq!(memory.open(), 0);
            Ok(all)
        };
        prop_assert_eq!(run()?, run()?);
    }
}
