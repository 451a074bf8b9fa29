//! How the parts fail, as far as somebody decides by it. What a person reads, and with which exit code a command ends, is
//! made of it in `failures.rs` and nowhere else.
//!
//! Who is at fault is asked of the error itself: a publisher, whose work is refused then; nobody who is here now; or this
//! node, whose trouble is nobody's fault and ends the request.

use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::lineage::LineageError;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::verify::{Blame, VerifyError};
use tokio::task::JoinError;

use crate::app::unasked::Over;
use crate::exchange::PullError;
use crate::failure::Failure;
use crate::home::HomeError;
use crate::identity::IdentityError;
use crate::net::NetError;
use crate::store::StoreError;
use crate::text;

/// Why a manifest with what it names is not here, or not what it says.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It was asked of peers.
    #[error("{error}")]
    Pull {
        error: PullError,
        /// How many of the peers that were asked are reached through a relay only, which carries no shards.
        relayed: usize,
    },
    /// It was asked of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} is not here, and this node is not connected to a network", .0.short())]
    OffNetwork(ManifestId),
    /// It would fill the disk.
    #[error("{what}: {} are needed and {} are free", text::bytes(*needed), text::bytes(*free))]
    NoRoom { what: &'static str, needed: u64, free: u64 },
    /// Nobody here has chosen it, and what may be fetched of that kind in a day is used up.
    #[error(
        "it has {}, and {} are left of the {} a day that are fetched unasked",
        text::bytes(*needed), text::bytes(over.left), text::bytes(over.per_day)
    )]
    OverBudget { needed: u64, over: Over },
    /// Its base is not here to hold it against.
    #[error("`{name}` is for base {base}, which is not known here")]
    UnknownBase { name: String, base: String },
    /// The base that is here to hold it against cannot be read. That is no word on what was held against it.
    #[error(transparent)]
    OurBase(Box<Failure>),
    #[error("an internal task failed: {0}")]
    Crashed(JoinError),
}

impl ObjectError {
    /// Of something whose base is not here.
    pub fn unknown_base(manifest: &Manifest) -> Self {
        let base = manifest.base().map_or_else(|| "none".to_owned(), |base| base.to_string());
        Self::UnknownBase { name: manifest.name.to_string(), base }
    }

    /// Nobody who can be asked now has it whole: later, or of others, it may be had.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Pull { error, .. } => matches!(error, PullError::NotFound { .. } | PullError::Incomplete { .. }),
            Self::Store(error) => matches!(error, StoreError::NoManifest(_) | StoreError::NoShard(_)),
            Self::OffNetwork(_) => true,
            Self::NoRoom { .. }
            | Self::OverBudget { .. }
            | Self::UnknownBase { .. }
            | Self::OurBase(_)
            | Self::Crashed(_) => false,
        }
    }

    /// Nobody was here to be asked: that nothing came says nothing.
    pub fn asked_nobody(&self) -> bool {
        let Self::Pull { error: PullError::NotFound { asked, .. } | PullError::Incomplete { asked, .. }, .. } = self
        else {
            return false;
        };
        asked.is_empty()
    }

    /// Signed, and not to be read by this version: a later one may, and anybody can sign bytes that none can.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.verify_error(), Some(VerifyError::Unreadable { .. }))
    }

    /// What it states does not fit on the disk. Whoever states it may lie.
    pub fn is_no_room(&self) -> bool {
        match self {
            Self::NoRoom { .. } => true,
            Self::Pull { error: PullError::Store(error), .. } | Self::Store(error) => error.is_no_space(),
            _ => false,
        }
    }

    /// Its publisher signed what does not hold: nobody else can have it right.
    pub fn is_publishers_fault(&self) -> bool {
        self.verify_error().is_some_and(|error| error.blame() == Blame::Publisher)
    }

    /// The request was cancelled.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Pull { error, .. } => matches!(error, PullError::Cancelled(_)),
            Self::OurBase(failure) => failure.is_interrupted(),
            _ => false,
        }
    }

    fn verify_error(&self) -> Option<&VerifyError> {
        match self {
            Self::Pull { error: PullError::Verify(error) | PullError::Store(StoreError::Verify(error)), .. }
            | Self::Store(StoreError::Verify(error)) => Some(error),
            _ => None,
        }
    }
}

/// Why a base cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("base {} is not here, and this node is not connected to a network", .0.short())]
    OffNetwork(BaseId),
    /// A manifest of something else stands where one of a base should.
    #[error("`{0}` is no base")]
    NotABase(String),
    /// What is in it is not what its publisher signed.
    #[error("what {publisher} published as `{name}` is not used: {reason}")]
    Wrong { publisher: String, name: String, reason: String },
    /// It cannot be used here, and another publication of the same base perhaps can.
    #[error(transparent)]
    Unusable(Box<Failure>),
    /// Nothing depends on why.
    #[error(transparent)]
    Other(Box<Failure>),
}

impl BaseError {
    /// Whether another publication may do better. What is our own trouble would be the same with it.
    pub fn is_theirs(&self) -> bool {
        match self {
            Self::Object(error) => error.is_missing() || error.is_publishers_fault(),
            Self::NotABase(_) | Self::Wrong { .. } | Self::Unusable(_) => true,
            Self::OffNetwork(_) | Self::Other(_) => false,
        }
    }

    /// Nobody who can be asked now sends it whole.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Object(error) if error.is_missing())
    }

    /// What one publication states does not fit on the disk: another may state less.
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::Object(error) if error.is_no_room())
    }

    /// Nobody can be asked for it.
    pub fn is_off_network(&self) -> bool {
        matches!(self, Self::OffNetwork(_) | Self::Object(ObjectError::OffNetwork(_)))
    }
}

impl From<Failure> for BaseError {
    fn from(failure: Failure) -> Self {
        Self::Other(Box::new(failure))
    }
}

impl From<NetError> for BaseError {
    fn from(error: NetError) -> Self {
        Failure::from(error).into()
    }
}

/// Why a link of a channel's chain is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Its signer's fault.
    #[error("manifest {} does not belong there: {error}", id.short())]
    NotOf { id: ManifestId, error: LineageError },
    #[error("{} is no version of the channel", .0.short())]
    NoVersion(ManifestId),
}

impl ChannelError {
    /// The request was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Object(error) if error.is_cancelled())
    }
}

/// What a worker's failure says of the files that it was given.
#[derive(Debug)]
pub enum WorkerError {
    /// They are not what they should be, or are not there.
    Wrong(Failure),
    /// This program cannot do it with these files, and perhaps with others.
    Unable(Failure),
    /// It would be the same with any.
    Ours(Failure),
}

/// Why a home does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("an internal task failed: {0}")]
    Crashed(JoinError),
}

impl OpenError {
    /// Another process has it: one may wait for it.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Home(HomeError::Locked { .. }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use potluck_protocol::codec::CodecError;
    use potluck_protocol::id::Digest;

    use super::*;
    use crate::failure::Kind;

    fn pull(error: PullError) -> ObjectError {
        ObjectError::Pull { error, relayed: 0 }
    }

    fn content() -> VerifyError {
        VerifyError::Content { path: "adapter_model.safetensors".to_owned(), reason: "not finite".to_owned() }
    }

    #[test]
    fn what_anybody_can_sign_or_state_ends_nobodys_work() {
        let id = ManifestId(Digest::of(b"later"));
        let error = CodecError::TooLong { what: "manifest", len: 2, max: 1 };
        let unreadable = pull(VerifyError::Unreadable { manifest: id, error }.into());
        assert!(unreadable.is_unreadable() && !unreadable.is_publishers_fault() && !unreadable.is_missing());
        assert!(!pull(content().into()).is_unreadable());
        let no_room = || ObjectError::NoRoom { what: "shards", needed: 2, free: 1 };
        assert!(no_room().is_no_room() && BaseError::from(no_room()).is_no_room() && !unreadable.is_no_room());
    }

    #[test]
    fn a_publisher_is_blamed_for_what_they_signed_and_nothing_else() {
        let own = || Box::new(Failure::new(Kind::Verification, "base `small`: model.safetensors is damaged"));
        let theirs =
            [pull(content().into()), pull(StoreError::from(content()).into()), StoreError::from(content()).into()];
        for error in theirs {
            assert!(error.is_publishers_fault() && !error.is_missing(), "{error}");
            assert!(BaseError::from(error).is_theirs());
        }
        let id = ManifestId(Digest::of(b"x"));
        let ours: [ObjectError; 4] = [
            ObjectError::OurBase(own()),
            StoreError::NotWellFormed(id).into(),
            StoreError::Index("damaged".to_owned()).into(),
            ObjectError::NoRoom { what: "shards", needed: 2, free: 1 },
        ];
        for error in ours {
            assert!(!error.is_publishers_fault() && !error.is_missing() && !error.is_cancelled(), "{error}");
            assert!(!BaseError::from(error).is_theirs());
        }
        assert_eq!(Failure::from(ObjectError::OurBase(own())), *own(), "and it is told as what it is");
    }

    #[test]
    fn what_is_missing_may_be_had_another_time() {
        let manifest = ManifestId(Digest::of(b"x"));
        let nobody = PullError::NotFound { manifest, asked: Vec::new(), waited: Duration::ZERO };
        for error in [pull(nobody), StoreError::NoManifest(manifest).into(), ObjectError::OffNetwork(manifest)] {
            assert!(error.is_missing() && !error.is_publishers_fault(), "{error}");
        }
        let cancelled = pull(PullError::Cancelled(manifest));
        assert!(cancelled.is_cancelled() && !cancelled.is_missing());
        assert!(ChannelError::from(cancelled).is_cancelled());
    }
}
