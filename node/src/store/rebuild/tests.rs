//! Damaged, unclosed and outdated indexes.

use super::*;
use crate::failpoint;
use crate::store::testing::{Fixture, bytes, files_below};

#[test]
fn only_the_exact_note_of_a_closed_index_is_read() {
    let hash = Digest::of(b"files");
    let good = format!("{SCHEMA} 7 {hash}\n");
    assert_eq!(parse(good.as_bytes()), Some((7, hash)));
    let other_schema = good.replace("/1", "/2");
    for bad in ["", &good[..good.len() - 1], &good[..40], &other_schema, &format!("{SCHEMA} 7 {hash} x\n"), "\u{0}"] {
        assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
    }
    assert_eq!(parse(&[0xff; 8]), None);
}

#[test]
fn an_index_that_was_closed_is_used_again() {
    let fixture = Fixture::new();
    drop(fixture.open());
    for n in 0..12 {
        let store = fixture.open();
        assert_eq!(store.recovery().index_doubt, None, "opening {n}");
        let id = fixture.add(&store, &format!("n{n}"), 50);
        assert!(store.hear(&fixture.announce(id, n + 1)));
    }
    let store = fixture.open();
    assert_eq!((store.manifests().expect("readable").len(), store.heard().len()), (12, 12));
}

/// Damages one file of the index in a way drawn from `seed`.
fn damage(layout: &Layout, seed: u64) {
    let draw = |what: &str, below: usize| {
        let drawn: [u8; 8] = bytes(&format!("{seed} {what}"), 8).try_into().expect("eight");
        (u64::from_le_bytes(drawn) % below as u64) as usize
    };
    let files = files_below(&layout.index());
    let file = &files[draw("file", files.len())];
    let mut content = fs::read(file).expect("there");
    match draw("how", 4) {
        0 => return fs::remove_file(file).expect("there"),
        1 => content.truncate(draw("len", content.len().max(1))),
        2 => content = bytes("noise", content.len()),
        _ if content.is_empty() => content.push(1),
        _ => {
            let byte = draw("byte", content.len());
            content[byte] ^= 1 << draw("bit", 8);
        }
    }
    fs::write(file, content).expect("writable");
}

#[test]
fn an_index_damaged_in_any_of_fifty_ways_is_built_anew() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let ids: BTreeSet<_> = (0..4).map(|n| fixture.add(&store, &format!("n{n}"), 300)).collect();
    ids.iter().for_each(|id| store.pin(*id).expect("room"));
    let stat = store.stat().expect("readable");
    drop(store);
    for seed in 0..50 {
        damage(&crate::home::Layout::new(fixture.root()), seed);
        let store = fixture.open();
        assert!(store.recovery().index_doubt.is_some(), "damage {seed} went unseen");
        let listed: BTreeSet<_> = store.manifests().expect("readable").into_iter().map(|summary| summary.id).collect();
        assert_eq!(listed, ids, "damage {seed}");
        assert_eq!(store.pins().len(), 4);
        let after = store.stat().expect("readable");
        assert_eq!((after.shards, after.shard_bytes, after.held), (stat.shards, stat.shard_bytes, stat.held.clone()));
    }
    fs::remove_dir_all(fixture.root().join("index")).expect("there");
    assert_eq!(fixture.open().manifests().expect("readable").len(), 4);
}

#[test]
fn announcements_outlive_a_crash_and_a_rebuild() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let id = fixture.add(&store, "x", 50);
    assert!(store.hear(&fixture.announce(id, 1)));
    store.rebuild().expect("room");
    assert_eq!(store.heard().len(), 1, "taken over from the open index");
    drop(store);
    fs::remove_file(fixture.root().join("index/current")).expect("there");
    let store = fixture.open();
    assert_eq!(store.recovery().index_doubt.as_deref(), Some("it was not closed"));
    assert_eq!(store.heard().len(), 1, "taken over from the one that was not closed");
    drop(store);
    fs::remove_file(fixture.root().join("index/current")).expect("there");
    fs::write(fixture.root().join("index/salvaging"), b"").expect("writable");
    assert!(fixture.open().heard().is_empty(), "a database that killed us is not tried again");
    assert!(!fixture.root().join("index/salvaging").exists());
}

#[test]
fn manifests_that_came_or_went_while_the_index_was_closed_are_noticed() {
    let fixture = Fixture::new();
    let id = fixture.add(&fixture.open(), "x", 50);
    let file = fixture.root().join("manifests").join(id.to_string());
    let away = fixture.root().join("runs/away");
    fs::rename(&file, &away).expect("there");
    assert!(fixture.open().manifests().expect("readable").is_empty());
    fs::rename(&away, &file).expect("there");
    assert_eq!(fixture.open().manifests().expect("readable").len(), 1);
}

#[test]
fn a_full_disk_while_the_index_closes_costs_a_rebuild_and_no_more() {
    let fixture = Fixture::new();
    fixture.add(&fixture.open(), "x", 50);
    for point in failpoint::ALL.iter().filter(|point| point.what == What::Index) {
        let store = fixture.open();
        let armed = failpoint::scoped(&format!("{point}:enospc")).expect("valid");
        drop(store);
        drop(armed);
        let store = fixture.open();
        let named = matches!(point.step, failpoint::Step::Renamed | failpoint::Step::Done);
        assert_eq!(store.recovery().index_doubt.is_none(), named, "{point}");
        assert_eq!(store.manifests().expect("readable").len(), 1, "{point}");
    }
}
