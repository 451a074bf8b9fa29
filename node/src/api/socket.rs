//! Where the local socket is.

use std::path::{Path, PathBuf};

use interprocess::local_socket::{GenericFilePath, Name, ToFsName};
use potluck_protocol::id::Digest;
use potluck_trainer::files;
use potluck_trainer::files::replace;

use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::owner;

/// Unix allows about 104 bytes for a socket's path.
const PATH_MAX: usize = 100;

/// Where a daemon says that its socket is, if that is not in the home: whoever asks may have another temporary folder.
const NOTE: &str = "daemon.at";
/// Bytes of a note: no socket's path is longer.
const NOTE_MAX: u64 = 4096;

fn inside(home: &Path) -> PathBuf {
    home.join("daemon.sock")
}

/// Where a daemon tries to make its socket, in turn: inside the home, or, where that path is too long for a socket, in a
/// private folder of its own in the temporary folder, then in the user's folder for sockets, named by the home's path.
fn places(home: &Path) -> Vec<PathBuf> {
    let inside = inside(home);
    if inside.as_os_str().len() <= PATH_MAX {
        return vec![inside];
    }
    outside(home, [Some(config::temporary()), config::runtime()].into_iter().flatten())
}

fn outside(home: &Path, folders: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let tag = Digest::of(home.as_os_str().as_encoded_bytes()).short();
    folders.map(|folder| folder.join(format!("potluck-{tag}")).join("daemon.sock")).collect()
}

/// Makes the folder for a home's socket, and says where the socket is to be. The temporary folder is everybody's, and
/// whoever makes a folder there first can put a socket of their own in place of ours: only one that is this user's alone
/// will do.
pub fn prepare(home: &Path) -> Outcome<PathBuf> {
    first_private(home, places(home))
}

fn first_private(home: &Path, places: Vec<PathBuf>) -> Outcome<PathBuf> {
    let mut reasons = Vec::new();
    for path in places {
        let folder = path.parent().unwrap_or(home);
        if path.as_os_str().len() > PATH_MAX {
            reasons.push(format!("{} is too long for a socket", path.display()));
            continue;
        }
        // The home itself is private already.
        match if folder == home { Ok(()) } else { owner::private_folder(folder) } {
            Ok(()) => return Ok(path),
            Err(error) => reasons.push(format!("{}: {error}", folder.display())),
        }
    }
    let message = format!("there is no private place for the local socket: {}", reasons.join("; "));
    Err(Failure::new(Kind::Denied, message).hint(
        "use a home with a shorter path (`--home DIR`), or set XDG_RUNTIME_DIR to a folder of yours with a short path",
    ))
}

/// Leaves word where the socket is.
pub fn note(home: &Path, path: &Path) -> std::io::Result<()> {
    if path == inside(home) {
        return Ok(());
    }
    replace(&home.join(NOTE), path.as_os_str().as_encoded_bytes())
}

/// The path at which a daemon of this home has made its socket, if it runs.
pub fn locate(home: &Path) -> PathBuf {
    let first = places(home).swap_remove(0);
    if first == inside(home) {
        return first;
    }
    let note = files::read(&home.join(NOTE), NOTE_MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // Without a note no daemon has run.
    note.map_or(first, PathBuf::from)
}

/// The path in the form that the socket library takes.
pub fn name(path: &Path) -> std::io::Result<Name<'_>> {
    path.to_fs_name::<GenericFilePath>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_home_still_has_a_short_socket() {
        let short = Path::new("/home/me");
        assert_eq!(places(short), [short.join("daemon.sock")]);
        let long = Path::new("/").join("x".repeat(150));
        let short_folder = || std::iter::once(PathBuf::from("/tmp"));
        assert!(outside(&long, short_folder())[0].as_os_str().len() <= PATH_MAX);
        assert_ne!(outside(&long, short_folder()), outside(&long.join("y"), short_folder()));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_somebody_else_may_have_made_is_passed_over_for_one_of_this_user_alone() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        // A short path, wherever the tests' temporary folder is.
        let root = tempfile::Builder::new().prefix("p").tempdir_in("/tmp").expect("a folder");
        let home = root.path().join("x".repeat(150));
        let [taken, own] = ["taken", "own"].map(|name| root.path().join(name));
        for folder in [&taken, &own] {
            std::fs::create_dir(folder).expect("writable");
        }
        let places = outside(&home, [taken.clone(), own.clone()].into_iter());
        // What stands there first leads elsewhere.
        let [first, second] = [0, 1].map(|n| places[n].parent().expect("a folder").to_owned());
        std::os::unix::fs::symlink(&own, &first).expect("writable");
        std::fs::create_dir(&second).expect("writable");
        std::fs::set_permissions(&second, PermissionsExt::from_mode(0o777)).expect("ours");
        assert_eq!(first_private(&home, places.clone()).expect("a place"), places[1]);
        assert_eq!(std::fs::metadata(&second).expect("there").mode() & 0o777, 0o700);
        let refused = first_private(&home, places[..1].to_vec()).expect_err("no place");
        assert_eq!(refused.kind, Kind::Denied);
        assert!(refused.message.contains("is not a folder of this user"), "{}", refused.message);
        assert!(refused.hint.is_some_and(|hint| hint.contains("--home")));
        let long = outside(&home, std::iter::once(root.path().join("y".repeat(150))));
        assert!(first_private(&home, long).expect_err("no place").message.contains("too long"));
    }

    #[test]
    fn a_client_with_another_temporary_folder_finds_the_socket_by_its_note() {
        let root = tempfile::tempdir().expect("a folder");
        let home = root.path().join("x".repeat(150));
        std::fs::create_dir(&home).expect("writable");
        assert!(!locate(&home).exists(), "no daemon has run");
        note(&home, Path::new("/elsewhere/daemon.sock")).expect("writable");
        assert_eq!(locate(&home), Path::new("/elsewhere/daemon.sock"));
        note(root.path(), &inside(root.path())).expect("nothing to note");
        assert!(!root.path().join(NOTE).exists());
    }
}
