//! Who owns a file, and who else may touch it. What this program makes is its user's alone, whatever the umask is and
//! whoever was there first.

use std::io;
use std::path::Path;

/// Somebody else's bits in a mode.
#[cfg(unix)]
const OTHERS: u32 = 0o077;

/// The user that this process acts as.
#[cfg(unix)]
pub fn own_uid() -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata("/proc/self") {
        Ok(own) => Ok(own.uid()),
        // Without /proc: what we make is ours.
        Err(_) => Ok(tempfile::tempfile()?.metadata()?.uid()),
    }
}

/// Whether a process of that user may act for this one's: it is the same, or the system's own.
#[cfg(unix)]
pub fn may_act(uid: u32) -> io::Result<bool> {
    Ok(uid == 0 || uid == own_uid()?)
}

/// The owner of what is there, if it is another user. Root may use what is another's.
#[cfg(unix)]
pub fn stranger(path: &Path) -> io::Result<Option<u32>> {
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path)?);
    let own = own_uid()?;
    Ok((own != 0 && owner != own).then_some(owner))
}

/// Takes a folder or file away from everybody but its owner; the mode that it had, if others could do anything with it.
/// A link is left alone, and so is what another user owns.
#[cfg(unix)]
pub fn tighten(path: &Path) -> io::Result<Option<u32>> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let found = std::fs::symlink_metadata(path)?;
    let mode = found.mode() & 0o777;
    if found.is_symlink() || mode & OTHERS == 0 || found.uid() != own_uid()? {
        return Ok(None);
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & !OTHERS))?;
    Ok(Some(mode))
}

/// A socket that only its owner can connect to, whatever the umask made of it.
#[cfg(unix)]
pub fn private_socket(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

/// A private folder of this user at that place: made, or there already, no link, and nobody else's.
#[cfg(unix)]
pub fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != own_uid()? {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not a folder of this user"));
    }
    tighten(folder).map(drop)
}

/// Where files have no owner that the standard library knows, nobody is a stranger.
#[cfg(not(unix))]
pub fn stranger(_: &Path) -> io::Result<Option<u32>> {
    Ok(None)
}

/// Where files have no modes nothing is changed.
#[cfg(not(unix))]
pub fn tighten(_: &Path) -> io::Result<Option<u32>> {
    Ok(None)
}

/// Where sockets have no modes nothing is changed.
#[cfg(not(unix))]
pub fn private_socket(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The folder is made; who may enter it is the system's decision.
#[cfg(not(unix))]
pub fn private_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn what_is_ours_is_made_private_and_a_link_is_left_alone() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, link) = (root.path().join("folder"), root.path().join("link"));
        private_folder(&folder).expect("made");
        fs::set_permissions(&folder, Permissions::from_mode(0o775)).expect("ours");
        std::os::unix::fs::symlink(&folder, &link).expect("writable");
        assert_eq!(tighten(&link).expect("readable"), None);
        assert!(private_folder(&link).is_err(), "a link may lead to anybody");
        private_folder(&folder).expect("ours");
        assert_eq!(fs::metadata(&folder).expect("there").mode() & 0o777, 0o700);
        assert_eq!(stranger(&folder).expect("readable"), None);
        assert!(may_act(own_uid().expect("known")).expect("known"));
    }
}
