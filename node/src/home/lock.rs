//! The lock that makes one process the owner of a home.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use super::{HomeError, Layout, io_error};

/// Takes the lock of a home, which ends with the file. Never waits for another holder.
pub fn take(layout: &Layout) -> Result<File, HomeError> {
    let path = layout.lock();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(io_error("open the lock", &path))?;
    match try_lock(&mut file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(HomeError::Locked { root: layout.root().to_path_buf(), pid: pid(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(HomeError::Io { doing: "lock", path, source }),
    }
    // For people and for the message above: the lock itself is the system's.
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    match written {
        // A full disk must not keep anybody from opening the home and making room.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(io_error("write", &path)(error)),
        _ => Ok(file),
    }
}

/// A process that is being started by this one holds our closed files open for a moment, between fork and exec. So a lock
/// that seems to be our own is tried a few times more.
fn try_lock(file: &mut File) -> Result<(), TryLockError> {
    for _ in 0..20 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if pid(file) == Some(std::process::id()) => {}
            decided => return decided,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    file.try_lock()
}

/// The process that says in the lock that it holds it: for messages only.
pub fn holder(path: &Path) -> Option<u32> {
    pid(&mut File::open(path).ok()?)
}

fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
