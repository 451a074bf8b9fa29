//! `swarm.key`: the key of a private network, in the form that go-ipfs made common.

use std::io::Write;
use std::path::Path;

use libp2p::identity::ed25519;
use libp2p::pnet::{KeyParseError, PreSharedKey};
use potluck_protocol::id::Digest;
use potluck_trainer::files;

use super::FileError;
use super::files::{io_error, read};

/// The key of a home; `None` if the node is in no private network.
pub fn open(path: &Path) -> Result<Option<PreSharedKey>, FileError> {
    let Some(text) = read(path)? else { return Ok(None) };
    check_private(path)?;
    let wrong = |error: KeyParseError| FileError::Key { path: path.to_path_buf(), reason: reason(&error) };
    text.parse().map(Some).map_err(wrong)
}

/// Makes a key and its file. One that exists is left as it is.
pub fn create(path: &Path) -> Result<PreSharedKey, FileError> {
    let key = new_key();
    let mut file = files::create_private(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_path_buf() },
        _ => io_error("make", path)(source),
    })?;
    let written = file
        .write_all(key.to_key_file().as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| files::sync_parent(path));
    written.map_err(io_error("write", path))?;
    Ok(key)
}

/// A new random key.
fn new_key() -> PreSharedKey {
    // The one source of randomness that this crate has: a secret key that is used for nothing else.
    let secret = ed25519::Keypair::generate().secret();
    PreSharedKey::new(Digest::of(secret.as_ref()).0)
}

fn reason(error: &KeyParseError) -> String {
    match error {
        KeyParseError::InvalidKeyFile => "three lines are wanted: /key/swarm/psk/1.0.0/, /base16/, and the key",
        KeyParseError::InvalidKeyType => "its first line is not /key/swarm/psk/1.0.0/",
        KeyParseError::InvalidKeyEncoding => "its second line is not /base16/",
        KeyParseError::InvalidKeyLength => "its third line is not 64 hex digits long",
        KeyParseError::InvalidKeyChar(_) => "its third line holds something else than hex digits",
    }
    .to_owned()
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), FileError> {
    let metadata = std::fs::metadata(path).map_err(io_error("read", path))?;
    let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(FileError::Exposed { path: path.to_path_buf(), mode }) }
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), FileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_another_each_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("swarm.key");
        assert_eq!(open(&path).expect("no file is no error"), None);
        let key = create(&path).expect("made");
        assert_eq!(open(&path).expect("readable"), Some(key));
        assert!(matches!(create(&path), Err(FileError::Exists { .. })));
        assert_eq!(open(&path).expect("as it was"), Some(key));
        assert!(create(&folder.path().join("other.key")).expect("made") != key);
    }

    #[test]
    fn go_ipfs_files_are_read_and_others_explained() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("swarm.key");
        let write = |text: &str| {
            fs::write(&path, text).expect("writable");
            #[cfg(unix)]
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
            open(&path)
        };
        let hex = "0f".repeat(32);
        let good = write(&format!("/key/swarm/psk/1.0.0/\n/base16/\n{hex}")).expect("good");
        assert_eq!(good, Some(PreSharedKey::new([15; 32])));
        for (text, says) in [
            (String::new(), "three lines"),
            (format!("/key/swarm/psk/2/\n/base16/\n{hex}\n"), "first line"),
            (format!("/key/swarm/psk/1.0.0/\n/base64/\n{hex}\n"), "second line"),
            (format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", &hex[1..]), "third line"),
            (format!("/key/swarm/psk/1.0.0/\n/base16/\nx{}\n", &hex[1..]), "hex digits"),
        ] {
            let error = write(&text).expect_err("no key").to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains(&hex[2..]), "the key is not shown");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("swarm.key");
        create(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
        let error = open(&path).expect_err("exposed").to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
