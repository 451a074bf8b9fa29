//! `kill -9` at seeded moments and at every failpoint: what was acknowledged is there, `store verify` is clean.

use potluck_node::failpoint::{self, Point, What};
use potluck_tests::crash::{Ack, draw};
use potluck_tests::killing::{Killer, Moment};

/// Several at a time: they wait for the disk, not for the processor.
const LANES: usize = 5;

fn killer() -> Killer {
    Killer::new(env!("CARGO_BIN_EXE_potluck-tests"))
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let published: usize = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES as u64).map(|lane| scope.spawn(move || kills(lane))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane that holds")).sum()
    });
    assert!(published > 30, "only {published} were published: the moments are too early to mean anything");
}

/// Nine kills of one home; gives how much was published meanwhile.
fn kills(lane: u64) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let mut all = Vec::new();
    for seed in lane * 9..lane * 9 + 9 {
        let moment = Moment::of(seed);
        all.extend(killer().kill(folder.path(), seed, moment).expect("it was killed"));
        let looked = killer().look(folder.path(), &all, &format!("seed {seed}, {moment:?}"));
        looked.unwrap_or_else(|error| panic!("{error}"));
    }
    all.iter().filter(|ack| matches!(ack, Ack::Published(_))).count()
}

#[test]
fn killed_at_every_failpoint_nothing_acknowledged_is_lost() {
    let lane = |lane: usize| failpoint::ALL.iter().skip(lane).step_by(LANES);
    std::thread::scope(|scope| {
        (0..LANES).for_each(|n| drop(scope.spawn(move || lane(n).for_each(|point| die_at(*point)))));
    });
}

fn die_at(point: Point) {
    let folder = tempfile::tempdir().expect("a folder");
    let look = |acks: &[Ack], when: &str| {
        killer().look(folder.path(), acks, when).unwrap_or_else(|error| panic!("{error}"));
    };
    // These are written once in the life of a home.
    let once = matches!(point.what, What::Identity | What::Log);
    let count = if once { 1 } else { 1 + draw(&point.to_string(), 4) };
    let text = format!("{point}@{count}:abort");
    let (acks, status) = killer().run(folder.path(), 1000, 9, Some(&text)).expect("it starts");
    assert!(!status.success(), "{text} was never passed");
    look(&acks, &text);
    let (more, status) = killer().run(folder.path(), 1001, 1, None).expect("it starts");
    assert!(status.success(), "{text}: the next process works on");
    look(&[acks, more].concat(), &format!("{text}, later"));
}
