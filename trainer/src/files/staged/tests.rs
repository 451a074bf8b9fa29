//! Folders that appear whole: where nothing is, in an empty folder, and after a process that died.

use super::*;

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn nothing_is_there_before_the_commit_and_all_of_it_after() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("deep/out");
    StagedFolder::check(&target).unwrap();
    assert_eq!(count(root.path()), 0, "a check makes nothing");
    let staged = StagedFolder::create(&target).unwrap();
    staged.write("a", b"1").unwrap();
    assert!(!target.exists());
    staged.commit().unwrap();
    assert_eq!(fs::read(target.join("a")).unwrap(), b"1");
    assert_eq!((count(&root.path().join("deep")), count(&target)), (1, 1));
}

#[test]
fn a_dropped_folder_leaves_nothing_and_a_full_one_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("out");
    StagedFolder::create(&target).unwrap().write("a", b"1").unwrap();
    assert_eq!(count(root.path()), 0);
    fs::create_dir(&target).unwrap();
    StagedFolder::create(&target).unwrap().commit().unwrap();
    fs::write(target.join("mine"), b"").unwrap();
    for refused in [StagedFolder::create(&target).err(), StagedFolder::check(&target).err()] {
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::AlreadyExists));
    }
    let (file, below) = (target.join("mine"), target.join("mine/out"));
    assert!(StagedFolder::check(&file).is_err() && StagedFolder::check(&below).is_err());
    assert_eq!(count(&target), 1);
}

#[cfg(unix)]
#[test]
fn an_empty_folder_is_filled_and_stays_the_folder_that_it_was() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let root = tempfile::tempdir().unwrap();
    let (real, link) = (root.path().join("real"), root.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let inode = fs::metadata(&real).unwrap().ino();
    let staged = StagedFolder::create(&link).unwrap();
    staged.write("a", b"1").unwrap();
    staged.write("b", b"2").unwrap();
    staged.commit().unwrap();
    assert_eq!((fs::metadata(&real).unwrap().ino(), count(&real)), (inode, 2));
    assert!(link.is_symlink());
    symlink(root.path().join("nowhere"), root.path().join("dangling")).unwrap();
    let refused = StagedFolder::create(&root.path().join("dangling")).err().unwrap();
    assert!(refused.to_string().contains("leads nowhere"), "{refused}");
}

#[test]
fn a_folder_that_somebody_filled_meanwhile_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("out");
    for there in [false, true] {
        if there {
            fs::create_dir(&target).unwrap();
        }
        let staged = StagedFolder::create(&target).unwrap();
        staged.write("a", b"ours").unwrap();
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("a"), b"mine").unwrap();
        assert_eq!(staged.commit().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((fs::read(target.join("a")).unwrap(), count(&target)), (b"mine".to_vec(), 1));
        fs::remove_dir_all(&target).unwrap();
    }
    assert_eq!(count(root.path()), 0);
}

/// Killed between two moves: what was moved up goes, unless a person has changed it.
#[test]
fn the_next_run_takes_back_what_a_dead_one_had_moved_up() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("out");
    for changed in [false, true] {
        fs::create_dir_all(&target).unwrap();
        let dead = StagedFolder::create(&target).unwrap();
        dead.write("a", b"1").unwrap();
        dead.write("b", b"2").unwrap();
        let moved: Vec<Moved> =
            ["a", "b"].iter().map(|name| Moved::of(&dead.path(), OsStr::new(name)).unwrap()).collect();
        fs::write(dead.staging.join(MOVED), serde_json::to_vec(&moved).unwrap()).unwrap();
        fs::rename(dead.path().join("a"), target.join("a")).unwrap();
        // A process that dies lets go of its lock and runs no destructor.
        dead.lock.as_ref().unwrap().unlock().unwrap();
        std::mem::forget(dead);
        if changed {
            fs::write(target.join("a"), b"a person's").unwrap();
            assert_eq!(StagedFolder::create(&target).err().unwrap().kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs::read(target.join("a")).unwrap(), b"a person's");
        } else {
            StagedFolder::create(&target).unwrap();
            assert_eq!(count(&target), 0);
        }
    }
}

#[test]
fn what_the_dead_left_goes_and_what_the_living_write_stays() {
    let root = tempfile::tempdir().unwrap();
    let left = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("model.safetensors"), b"half of it").unwrap();
        fs::write(path.join(LOCK), b"").unwrap();
        path
    };
    let (dead, older, living) = (left(".out.partial-1-0"), left(".out.partial-1"), left(".out.partial-2-0"));
    let (other, mine) = (left(".other.partial-1-0"), left(".out.partial-mine"));
    let unlocked = left(".out.partial-3-0");
    fs::remove_file(unlocked.join(LOCK)).unwrap();
    let lock = File::open(living.join(LOCK)).unwrap();
    lock.lock().unwrap();
    let staged = StagedFolder::create(&root.path().join("out")).unwrap();
    assert!(!dead.exists() && !older.exists());
    assert!(living.exists() && other.exists() && mine.exists() && unlocked.exists());
    staged.commit().unwrap();
    assert_eq!(count(&root.path().join("out")), 0, "the lock is not part of it");
}

#[test]
fn a_long_name_has_a_temporary_one() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("ä".repeat(120));
    let staged = StagedFolder::create(&target).unwrap();
    staged.write("a", b"1").unwrap();
    staged.commit().unwrap();
    assert_eq!((count(&target), count(root.path())), (1, 1));
}
