//! The node's ed25519 key: made once, never replaced by the program.
//!
//! The file holds libp2p's own encoding of the key pair, so other libp2p tools read it. It repeats the public key, which
//! must fit the secret one: a damaged file does not silently become another identity.

use std::path::{Path, PathBuf};

use libp2p::PeerId;
use libp2p::identity::{Keypair, ed25519};
use potluck_protocol::signed::PublicKey;

use crate::failpoint::What;
use crate::home::Home;
use crate::store::{StoreError, durable};

/// An encoded ed25519 key pair has 68 bytes.
const FILE_MAX: u64 = 1024;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum IdentityError {
    #[error(
        "{} is no ed25519 key pair ({reason}): put back a copy of it, or move it away to become a new peer under a new \
         name",
        path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("{} can be read by others (mode {mode:o}): run `chmod 600 {0}`", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who this node is, to peers and as a publisher.
#[derive(Clone, Debug)]
pub struct Identity {
    keypair: ed25519::Keypair,
}

impl Identity {
    /// Reads the key of a home, or makes it if there is none.
    pub fn open(home: &Home) -> Result<Self, IdentityError> {
        let path = home.layout().identity();
        if let Some(bytes) = durable::read(&path, FILE_MAX)? {
            check_private(&path)?;
            return Self::decode(&bytes).map_err(|reason| IdentityError::Damaged { path, reason });
        }
        let identity = Self { keypair: ed25519::Keypair::generate() };
        let bytes = identity.encode().map_err(|reason| IdentityError::Damaged { path: path.clone(), reason })?;
        durable::write(&home.layout().tmp(), What::Identity, &path, &bytes)?;
        Ok(identity)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let keypair = Keypair::from_protobuf_encoding(bytes).map_err(|error| error.to_string())?;
        let keypair = keypair.try_into_ed25519().map_err(|error| error.to_string())?;
        let identity = Self { keypair };
        // One key, one encoding: what follows the fields that we know is damage too.
        if identity.encode()? == bytes { Ok(identity) } else { Err("unknown bytes".to_owned()) }
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        self.libp2p().to_protobuf_encoding().map_err(|error| error.to_string())
    }

    /// For signing manifests and announcements.
    pub fn keypair(&self) -> &ed25519::Keypair {
        &self.keypair
    }

    /// For the swarm.
    pub fn libp2p(&self) -> Keypair {
        self.keypair.clone().into()
    }

    /// The public key: who publishes what this node signs.
    pub fn public(&self) -> PublicKey {
        PublicKey::of(&self.keypair)
    }

    /// The same key as libp2p names it.
    pub fn peer_id(&self) -> PeerId {
        self.libp2p().public().to_peer_id()
    }
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), IdentityError> {
    let metadata = std::fs::metadata(path).map_err(StoreError::io("read", path))?;
    let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(IdentityError::Exposed { path: path.to_path_buf(), mode }) }
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), IdentityError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open(folder.path()).expect("free");
        let first = Identity::open(&home).expect("made");
        assert_eq!(Identity::open(&home).expect("read").peer_id(), first.peer_id());
        assert_eq!(first.public().peer_id(), Some(first.peer_id()));
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open(folder.path()).expect("free");
        Identity::open(&home).expect("made");
        let path = home.layout().identity();
        let good = std::fs::read(&path).expect("exists");
        let flips = (0..good.len() * 8).map(|bit| {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        let cuts = (0..good.len()).map(|len| good[..len].to_vec());
        let longer = [[good.as_slice(), b"x"].concat(), vec![0; 4096]];
        for bytes in flips.chain(cuts).chain(longer) {
            std::fs::write(&path, &bytes).expect("writable");
            assert!(Identity::open(&home).is_err());
            assert_eq!(std::fs::read(&path).expect("exists"), bytes);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open(folder.path()).expect("free");
        Identity::open(&home).expect("made");
        let path = home.layout().identity();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("ours");
        let error = Identity::open(&home).expect_err("exposed").to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
