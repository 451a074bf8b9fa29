//! Each test confines a thread of its own, as `child` confines the thread that all others of a worker come from. Where the
//! kernel cannot, a test says so, and checks that the same work goes on unconfined.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// What a job with these folders can do.
fn confined<T: Send>(read: &[&Path], write: &[&Path], work: impl FnOnce(&Confined) -> T + Send) -> T {
    let owned = |paths: &[&Path]| paths.iter().map(|path| path.to_path_buf()).collect::<Vec<PathBuf>>();
    let access = Access { read: owned(read), write: owned(write), place: Vec::new() };
    within(&access, work)
}

fn within<T: Send>(access: &Access, work: impl FnOnce(&Confined) -> T + Send) -> T {
    let within = || work(&confine(access).expect("a kernel confines, or has nothing for it"));
    std::thread::scope(|scope| scope.spawn(within).join().expect("it does not panic"))
}

/// What is refused if the kernel confines, and succeeds if not.
fn assert_refused<T>(confines: bool, what: &str, done: std::io::Result<T>) {
    if confines {
        assert_eq!(done.err().map(|error| error.kind()), Some(ErrorKind::PermissionDenied), "{what}");
    } else {
        eprintln!("NOT CHECKED: this kernel does not confine a worker; {what} goes on as it did before");
        assert!(done.is_ok(), "{what}");
    }
}

#[test]
fn a_job_reads_what_it_was_given_and_no_other_file() {
    let root = tempfile::tempdir().expect("a folder");
    let (given, other) = (root.path().join("given"), root.path().join("other"));
    for folder in [&given, &other] {
        std::fs::create_dir(folder).expect("writable");
        std::fs::write(folder.join("a"), b"x").expect("writable");
    }
    std::os::unix::fs::symlink(other.join("a"), given.join("out")).expect("writable");
    confined(&[&given], &[], |confined| {
        assert_eq!(std::fs::read(given.join("a")).expect("given"), b"x");
        assert_eq!(std::fs::read_dir(&given).expect("given").count(), 2);
        let confines = confined.files();
        assert_refused(confines, "reading another file", std::fs::read(other.join("a")));
        assert_refused(confines, "listing another folder", std::fs::read_dir(&other).map(drop));
        assert_refused(confines, "reading through a link that the job did not name", std::fs::read(given.join("out")));
        assert_refused(confines, "writing what is only read", std::fs::write(given.join("b"), b"x"));
        assert_refused(confines, "the system's users", std::fs::read("/etc/passwd"));
    });
}

#[test]
fn a_job_writes_where_its_result_goes_and_nowhere_else() {
    let root = tempfile::tempdir().expect("a folder");
    let (out, other) = (root.path().join("out"), root.path().join("other"));
    for folder in [&out, &other] {
        std::fs::create_dir(folder).expect("writable");
        std::fs::write(folder.join("there"), b"x").expect("writable");
    }
    confined(&[], &[&out], |confined| {
        let staged = potluck_trainer::files::StagedFolder::create(&out.join("adapter")).expect("it may");
        staged.write("config.json", b"{}").expect("it may");
        staged.commit().expect("a folder appears whole");
        potluck_trainer::files::replace(&out.join("there"), b"y").expect("it may");
        let confines = confined.files();
        assert_refused(confines, "making a link", std::os::unix::fs::symlink("/etc", out.join("link")));
        assert_refused(confines, "changing another file", std::fs::write(other.join("there"), b"y"));
        assert_refused(confines, "making a folder", std::fs::create_dir(other.join("new")));
        assert_refused(confines, "moving a file away", std::fs::rename(out.join("there"), other.join("moved")));
        assert_refused(confines, "making a file", std::fs::write(other.join("made"), b"y"));
    });
    assert_eq!(std::fs::read(out.join("adapter/config.json")).expect("whole"), b"{}");
}

/// A run's folder is its own; its adapter appears in a folder of the user's.
#[test]
fn an_adapter_appears_in_a_folder_in_which_its_run_makes_and_reads_no_file() {
    let root = tempfile::tempdir().expect("a folder");
    let (run, user) = (root.path().join("adapter.run"), root.path());
    for folder in [run.clone(), user.join("mine")] {
        std::fs::create_dir(folder).expect("writable");
    }
    std::fs::write(user.join("mine/a"), b"x").expect("writable");
    let access = Access { write: vec![run.clone()], place: vec![user.to_owned()], ..Access::default() };
    within(&access, |confined| {
        let staged = potluck_trainer::files::StagedFolder::create_in(&run, &user.join("adapter")).expect("it may");
        staged.write("config.json", b"{}").expect("it may");
        staged.commit().expect("a folder appears whole");
        let confines = confined.files();
        assert_refused(confines, "reading beside the adapter", std::fs::read(user.join("mine/a")));
        assert_refused(confines, "a file beside the adapter", std::fs::write(user.join("b"), b"x"));
        assert_refused(confines, "changing what is there", std::fs::write(user.join("mine/a"), b"y"));
        if confines {
            assert!(std::fs::rename(user.join("mine"), user.join("moved")).is_err(), "a folder of the user's stays");
            assert!(std::fs::rename(user.join("mine"), run.join("taken")).is_err(), "and is not taken to be read");
            assert!(std::fs::remove_file(user.join("mine/a")).is_err());
        }
    });
    assert_eq!(std::fs::read(user.join("adapter/config.json")).expect("whole"), b"{}");
    assert_eq!(std::fs::read_dir(&run).expect("there").count(), 0, "nothing is left in the run's folder");
}

#[test]
fn a_job_has_no_network_and_no_local_socket() {
    let root = tempfile::tempdir().expect("a folder");
    let listening = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listening.local_addr().expect("bound");
    let daemon = root.path().join("daemon.sock");
    let _daemon = UnixListener::bind(&daemon).expect("writable");
    // Even in a folder that is its own: landlock alone would allow what was there before.
    confined(&[root.path()], &[root.path()], |confined| {
        let confines = confined.files() || confined.calls();
        assert_refused(confines, "connecting by TCP", TcpStream::connect(address));
        assert_refused(confines, "listening by TCP", TcpListener::bind("127.0.0.1:0"));
        assert_refused(confined.calls(), "sending by UDP", UdpSocket::bind("127.0.0.1:0"));
        assert_refused(confined.calls(), "connecting to the daemon", UnixStream::connect(&daemon));
        UnixStream::pair().expect("what the runtime tells its threads with");
    });
}

#[test]
fn a_job_starts_no_other_program() {
    confined(&[Path::new("/bin"), Path::new("/usr"), Path::new("/lib")], &[], |confined| {
        let confines = confined.files() || confined.calls();
        assert_refused(confines, "starting a program", Command::new("/usr/bin/env").output());
    });
}

#[test]
fn what_holds_a_thread_holds_those_that_it_starts_and_no_other() {
    let root = tempfile::tempdir().expect("a folder");
    let file = root.path().join("a");
    std::fs::write(&file, b"x").expect("writable");
    let confines = confined(&[], &[], |confined| {
        let later = std::thread::scope(|scope| scope.spawn(|| std::fs::read(&file)).join().expect("it does not panic"));
        assert_refused(confined.files(), "reading in a thread that came later", later);
        confined.files()
    });
    assert_eq!(std::fs::read(&file).expect("this thread is not confined"), b"x");
    assert_eq!(probe().expect("it can be tried").files(), confines, "probing says the same, and confines nobody");
    assert_eq!(std::fs::read(&file).expect("this thread is not confined"), b"x");
}

#[test]
fn a_job_still_learns_of_its_memory_and_the_processors() {
    confined(&[], &[], |_| {
        assert!(potluck_trainer::memory::current_rss().is_some_and(|bytes| bytes > 0));
        assert!(potluck_trainer::memory::available().is_some_and(|bytes| bytes > 0));
        assert!(crate::procfs::memory("self", "VmData").is_some_and(|bytes| bytes > 0));
        assert!(crate::config::processors() > 0);
    });
}

#[test]
fn a_job_reads_nothing_of_other_processes() {
    let parent = std::os::unix::process::parent_id();
    confined(&[], &[], |confined| {
        let confines = confined.files();
        assert_refused(confines, "the environment of the parent", std::fs::read(format!("/proc/{parent}/environ")));
        assert_refused(confines, "the command line of the parent", std::fs::read(format!("/proc/{parent}/cmdline")));
    });
}

#[test]
fn thousands_of_folders_are_allowed_at_once() {
    let root = tempfile::tempdir().expect("a folder");
    let folders: Vec<PathBuf> = (0..4096).map(|number| root.path().join(number.to_string())).collect();
    for folder in &folders {
        std::fs::create_dir(folder).expect("writable");
        std::fs::write(folder.join("a"), b"x").expect("writable");
    }
    let read: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    confined(&read, &[], |_| {
        assert!(folders.iter().all(|folder| std::fs::read(folder.join("a")).is_ok()));
    });
}
