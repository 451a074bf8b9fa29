//! A home that an earlier version wrote opens with everything in it, however its index is broken; one that a newer version
//! wrote is refused and stays as it is. How the fixture was made: `tests/fixtures/README.md`.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use potluck_node::home::Home;
use potluck_node::store::Store;
use potluck_protocol::id::{BaseId, ManifestId, RecipeId};
use potluck_protocol::text::Name;
use potluck_tests::kit::copy_folder;

use crate::program;

const ONE: &str = "e8ac0db86e23f91dddb30762520d61def29b29d90db6ff7d67bb2dfda8cadfee";
const TWO: &str = "39457d9354fb2e4d111c42cadc889b489f9441d5e023c40b2ad9058e96d0779f";
/// Pulled.
const THREE: &str = "0b800a7e6ff1af377dae86406d7a7de4e59f2ab94c9726d9a5fe6d7a0ee8be0d";
/// Heard of only.
const FOUR: &str = "ed8085fc78287b403bec0ec3587ea1278398d0faeb6ea43cd0b210f47a462ff0";
const RECIPE: &str = "efa568b4e7a37ac95b48567226c7fe98c771ea6f49f7f716db1462c6d69d2c8b";
const FOLDED: &str = "bde2c993046adea9dcd60e65aefe81ee5a06dc32d1469a6303d2610bff0d9ac5";
const FOLD: &str = "e3b5433df76118ef0546f72af0cb35dfbb9dd9deccb86d2f6eef1491a061bcf2";
const PEER: &str = "12D3KooWHVbRo1pyAHhHmjbHs6PyASjMkh8KGJBfFeBjUuRNuz4i";
/// sled fills its file with zeros up to here; the fixture has none at its end.
const DATABASE: u64 = 524_287;

/// A copy of the old home.
fn old_home() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/home-33798fa"), folder.path());
    let database = OpenOptions::new().write(true).open(folder.path().join("index/00000001/db")).expect("there");
    database.set_len(DATABASE).expect("writable");
    // git keeps no modes.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = folder.path().join("identity.key");
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("ours");
    }
    folder
}

fn open(root: &Path) -> Store {
    Store::open(&Home::open(root).expect("free")).expect("it opens")
}

fn id(text: &str) -> ManifestId {
    text.parse().expect("an id")
}

/// Everything that the earlier version acknowledged, but for announcements: those are heard again.
fn assert_whole(store: &Store, way: &str) {
    let mut all = [ONE, TWO, THREE].map(id);
    all.sort_unstable();
    let listed: Vec<ManifestId> = store.manifests().expect("readable").iter().map(|summary| summary.id).collect();
    assert_eq!(listed, all, "{way}");
    assert!(all.iter().all(|one| store.is_well_formed(one)), "{way}");
    for (name, manifest) in [("one", ONE), ("two", TWO)] {
        assert_eq!(store.named(&Name::new(name).expect("a name")), Some(id(manifest)), "{way}");
    }
    let mut pins = [ONE, TWO].map(id);
    pins.sort_unstable();
    assert_eq!(store.pins(), pins, "{way}");
    let recipe: RecipeId = RECIPE.parse().expect("an id");
    assert!(store.recipe(&recipe).expect("readable").is_some(), "{way}");
    assert_eq!(store.folded(&recipe).map(|digest| digest.to_string()).as_deref(), Some(FOLD), "{way}");
    let base = FOLDED.parse::<BaseId>().expect("an id");
    assert_eq!(store.base(&base).map(|base| base.files.len()), Some(5), "{way}");
    let stat = store.stat().expect("readable");
    assert_eq!((stat.shards, stat.shard_bytes, stat.held.adapters), (9, 17_248, 3), "{way}");
    let report = store.verify(|_, _| ()).expect("readable");
    assert!(report.is_clean() && report.shards == 9, "{way}: {report}");
}

#[test]
fn a_home_of_an_earlier_version_opens_with_everything_in_it() {
    let home = old_home();
    for opening in ["the first", "the second"] {
        let store = open(home.path());
        assert_eq!(store.recovery(), &Default::default(), "nothing had to be mended at {opening} opening");
        assert_whole(&store, opening);
        let mut heard: Vec<String> = store.heard().iter().map(|one| one.body().manifest.to_string()).collect();
        heard.sort();
        assert_eq!(heard, [THREE, FOUR], "announcements are kept, by their new names");
    }
    assert_eq!(open(home.path()).next_sequence(0).expect("room"), 3, "two were used");
    let program = program();
    assert_eq!(program.ok(home.path(), ["status"])["peer"], PEER);
    assert_eq!(program.ok(home.path(), ["show", "two"])["manifest"], TWO);
}

/// One way to break an index.
#[derive(Clone, Debug)]
enum Way {
    /// The whole folder is gone, or all that is in it.
    NoFolder,
    Empty,
    /// A database that nobody made lies beside it.
    Stranger,
    /// The note of the last close names another database, or another hash.
    OtherDatabase,
    OtherHash,
    Delete(PathBuf),
    /// To so many hundredths of its length.
    Truncate(PathBuf, usize),
    /// A bit at so many hundredths of what is written in it.
    Flip(PathBuf, usize),
    Noise(PathBuf),
}

impl Way {
    /// Fifty of them.
    fn all() -> Vec<Self> {
        let mut ways = vec![Self::NoFolder, Self::Empty, Self::Stranger, Self::OtherDatabase, Self::OtherHash];
        let files = ["current", "00000001/db", "00000001/conf", "00000001/snap.0000000000000146"].map(PathBuf::from);
        for file in &files {
            ways.push(Self::Delete(file.clone()));
            ways.push(Self::Noise(file.clone()));
            ways.extend([0, 25, 50, 90].map(|part| Self::Truncate(file.clone(), part)));
            ways.extend([0, 20, 50, 80, 99].map(|part| Self::Flip(file.clone(), part)));
        }
        ways.push(Self::Flip(files[1].clone(), 35));
        ways
    }

    fn apply(&self, index: &Path) {
        let change = |file: &PathBuf, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = fs::read(index.join(file)).expect("there");
            change(&mut bytes);
            fs::write(index.join(file), bytes).expect("writable");
        };
        let note = |from: &str, to: &str| {
            let text = fs::read_to_string(index.join("current")).expect("there");
            assert!(text.contains(from));
            fs::write(index.join("current"), text.replace(from, to)).expect("writable");
        };
        match self {
            Self::NoFolder => fs::remove_dir_all(index).expect("there"),
            Self::Empty => {
                fs::remove_dir_all(index).expect("there");
                fs::create_dir(index).expect("writable");
            }
            Self::Stranger => {
                fs::create_dir(index.join("00000002")).expect("writable");
                fs::write(index.join("00000002/db"), b"not a database").expect("writable");
                fs::remove_file(index.join("current")).expect("there");
            }
            Self::OtherDatabase => note(" 1 ", " 9 "),
            Self::OtherHash => note("99b4", "00b4"),
            Self::Delete(file) => fs::remove_file(index.join(file)).expect("there"),
            Self::Truncate(file, part) => change(file, &|bytes| bytes.truncate(bytes.len() * part / 100)),
            Self::Flip(file, part) => change(file, &|bytes| {
                let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
                bytes[written * part / 100] ^= 1 << (part % 8);
            }),
            Self::Noise(file) => change(file, &|bytes| blake3::Hasher::new().finalize_xof().fill(bytes)),
        }
    }
}

#[test]
fn an_index_broken_in_any_of_fifty_ways_is_restored() {
    let (program, ways) = (program(), Way::all());
    let (mut by_command, mut at_opening, mut heard) = (0, 0, 0);
    for way in &ways {
        let named = format!("{way:?}");
        let home = old_home();
        way.apply(&home.path().join("index"));
        let rebuilt = program.ok(home.path(), ["store", "rebuild"]);
        let numbers = ["shards", "manifests", "recipes"].map(|what| rebuilt[what].as_u64());
        assert_eq!(numbers, [Some(9), Some(3), Some(1)], "{named}: {rebuilt}");
        let store = open(home.path());
        assert_eq!(store.recovery(), &Default::default(), "{named}: the command left a good index");
        assert_whole(&store, &named);
        by_command += 1;

        let home = old_home();
        way.apply(&home.path().join("index"));
        let store = open(home.path());
        assert!(store.recovery().index_doubt.is_some(), "{named} went unseen");
        assert_whole(&store, &named);
        heard += usize::from(store.heard().len() == 2);
        at_opening += 1;
    }
    assert_eq!(ways.len(), 50);
    println!("{} ways: {by_command} restored by the command, {at_opening} at opening", ways.len());
    println!("what others announced was still readable in {heard}");
}

#[test]
fn a_home_that_a_newer_version_wrote_is_refused_and_stays_as_it_is() {
    let (program, home) = (program(), old_home());
    let path = home.path().join("state.log");
    let log = fs::read(&path).expect("there");
    let newer = [b"potluck state/2\n", &log[16..]].concat();
    fs::write(&path, &newer).expect("writable");
    for args in [&["store", "stat"][..], &["store", "rebuild"], &["store", "rebuild", "--salvage-state"], &["status"]] {
        let answer = program.run(home.path(), args);
        assert_eq!(answer.code, 11, "{answer:#?}");
        assert!(answer.stderr.contains("made by a newer potluck"), "{answer:#?}");
    }
    assert_eq!(fs::read(&path).expect("there"), newer);
    fs::write(&path, log).expect("writable");
    assert_whole(&open(home.path()), "with the old log again");
}
