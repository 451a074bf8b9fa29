//! How the errors of the node's parts look at its edge: kind and hint.

use potluck_protocol::verify::VerifyError;

use crate::app::errors::{BaseError, ChannelError, ObjectError, OpenError, WorkerError};
use crate::exchange::PullError;
use crate::failure::{Failure, Kind};
use crate::home::{FileError, HomeError};
use crate::identity::IdentityError;
use crate::net::NetError;
use crate::store::StoreError;

/// A blocking task panicked: a bug, reported as what it is.
pub fn crashed(error: tokio::task::JoinError) -> Failure {
    Failure::new(Kind::Failed, format!("an internal task failed: {error}"))
        .hint("please report this with the lines above it")
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        match &error {
            HomeError::Locked { .. } => {
                Self::new(Kind::Conflict, &error).hint("stop that process, or use another home with `--home DIR`")
            }
            HomeError::NotAHome { root, .. } => Self::new(Kind::Usage, &error)
                .hint(format!("give an empty folder or one of its own: `--home {}`", root.join("potluck").display())),
            HomeError::NoFolder { .. } => Self::new(Kind::Usage, &error).hint("give a folder with `--home DIR`"),
            HomeError::Anothers { .. } => {
                Self::new(Kind::Denied, &error).hint("run as that user, or use a home of your own with `--home DIR`")
            }
            HomeError::Io { source, .. } => Self { message: error.to_string(), ..Self::io("", source) },
            HomeError::Failpoint(_) => Self::new(Kind::Usage, &error),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match &error {
            FileError::Io { source, .. } => Self { message: error.to_string(), ..Self::io("", source) },
            FileError::Exposed { .. } => Self::new(Kind::Denied, &error),
            FileError::Exists { .. } => Self::new(Kind::Conflict, &error)
                .hint("copy that file to the other nodes; to change the key of them all, move it away first"),
            FileError::Key { .. } => Self::new(Kind::Usage, &error)
                .hint("make one with `potluck network new-key`, or copy swarm.key from another node of the network"),
            FileError::TooLong { .. } | FileError::Line { .. } | FileError::TooMany { .. } => {
                Self::new(Kind::Usage, &error)
            }
        }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Store(error) => error.into(),
            other => Self::new(Kind::Verification, other),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let pull_again = "`potluck store verify` names what is damaged; `potluck pull ID` fetches it again";
        match &error {
            StoreError::NoSpace { .. } => Self::new(Kind::NoSpace, &error).hint(
                "free some space on that disk, then run the same command again: nothing that was acknowledged is lost",
            ),
            StoreError::Io { source, .. } => Self { message: error.to_string(), ..Self::io("", source) },
            StoreError::Newer { .. } => Self::new(Kind::Incompatible, &error),
            StoreError::LogDamaged { .. } | StoreError::LogMissing { .. } | StoreError::Index(_) => {
                Self::new(Kind::Verification, &error)
            }
            StoreError::NoManifest(_) | StoreError::NoShard(_) => Self::new(Kind::NotFound, &error).hint(pull_again),
            StoreError::NotWellFormed(_) => {
                Self::new(Kind::Verification, &error).hint("check it with `potluck verify ID`")
            }
            StoreError::Exists(_) => {
                Self::new(Kind::Conflict, &error).hint("choose another folder, or remove that one")
            }
            StoreError::Changed(_) => {
                Self::new(Kind::Conflict, &error).hint("run the command again when nothing writes there")
            }
            StoreError::Verify(_) => Self::new(Kind::Verification, &error).hint(pull_again),
            StoreError::SequenceEnd => Self::new(Kind::Failed, &error),
            StoreError::Codec(_) => Self::new(Kind::Verification, &error),
        }
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        let kind = match &error {
            NetError::Stopped | NetError::Interrupted => Kind::Unreachable,
            NetError::Listen { .. } => Kind::Conflict,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Self {
        let kind = match &error {
            PullError::NotFound { .. } => Kind::NotFound,
            PullError::Incomplete { .. } => Kind::Timeout,
            PullError::Cancelled(_) => Kind::Interrupted,
            PullError::Verify(VerifyError::Unreadable { .. }) => Kind::Incompatible,
            PullError::Verify(_) | PullError::Store(StoreError::Verify(_)) => Kind::Verification,
            PullError::Store(StoreError::NoSpace { .. }) => Kind::NoSpace,
            PullError::Store(_) | PullError::Net(_) => Kind::Failed,
        };
        let failure = Self::new(kind, &error);
        match &error {
            PullError::NotFound { asked, .. } if asked.is_empty() => {
                failure.hint("connect to somebody first: `potluck up --bootstrap ADDRESS`")
            }
            PullError::NotFound { .. } => failure.hint("check the id, or try again when its publisher is online"),
            PullError::Incomplete { .. } | PullError::Cancelled(_) => {
                failure.hint("run the same command again: it goes on from what is here")
            }
            PullError::Store(StoreError::NoSpace { .. }) => {
                failure.hint("free some space, then run the same command again: it goes on from what is here")
            }
            PullError::Verify(VerifyError::Unreadable { .. }) => {
                failure.hint("update potluck, then run the same command again")
            }
            PullError::Verify(_) | PullError::Store(_) | PullError::Net(_) => failure,
        }
    }
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Pull { error, relayed: 0 } => error.into(),
            ObjectError::Pull { error, relayed } => Self::from(error).hint(format!(
                "{relayed} of the peers asked can be reached only through a relay, and relays carry no shards; the pull continues from what is here once a node with an open port has the adapter too: run the same command again \
                 then"
            )),
            ObjectError::Store(error) => error.into(),
            ObjectError::OffNetwork(_) => {
                Self::new(Kind::Unreachable, error).hint("run `potluck up --bootstrap ADDRESS` in another terminal")
            }
            ObjectError::NoRoom { .. } => Self::new(Kind::NoSpace, error)
                .hint("free some space on the disk of the home folder, or use another one with `--home DIR`"),
            ObjectError::OverBudget { .. } => Self::new(Kind::NoSpace, error).hint(
                "ask for it: `potluck channel update NAME` fetches whatever a version needs; or start the daemon with a larger `--unasked-per-day SIZE`",
            ),
            ObjectError::UnknownBase { ref base, .. } => Self::new(Kind::Incompatible, &error).hint(format!(
                "add that base with `potluck base add PATH`, or from peers with `potluck base add {base}`"
            )),
            ObjectError::OurBase(failure) => *failure,
            ObjectError::Crashed(error) => crashed(error),
        }
    }
}

impl From<BaseError> for Failure {
    fn from(error: BaseError) -> Self {
        match error {
            BaseError::Object(error) => error.into(),
            BaseError::OffNetwork(id) => Self::new(Kind::Unreachable, error).hint(format!(
                "fetch it with `potluck base add {id} --bootstrap ADDRESS`, or run `potluck up` in another terminal"
            )),
            BaseError::NotABase(_) => {
                Self::new(Kind::Incompatible, error).hint("fetch an adapter with `potluck pull ID`")
            }
            BaseError::Wrong { .. } => Self::new(Kind::Verification, error)
                .hint("see who else offers that base with `potluck search --kind base --base ID`"),
            BaseError::Unusable(failure) | BaseError::Other(failure) => *failure,
        }
    }
}

/// A base that a new channel would begin with: whether nobody has it or nobody can be asked, it is not there.
pub fn no_genesis(error: BaseError) -> Failure {
    let off_network = error.is_off_network();
    let failure = Failure::from(error);
    if off_network { Failure { kind: Kind::NotFound, ..failure } } else { failure }
}

impl From<ChannelError> for Failure {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Object(error) => error.into(),
            ChannelError::NotOf { .. } | ChannelError::NoVersion(_) => Self::new(Kind::Verification, error),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Home(error) => error.into(),
            OpenError::Store(error) => error.into(),
            OpenError::Identity(error) => error.into(),
            OpenError::Crashed(error) => crashed(error),
        }
    }
}

/// The other way round, and only here: what comes from a worker's process is a failure with its exit code.
impl From<Failure> for WorkerError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Verification | Kind::NotFound => Self::Wrong(failure),
            Kind::Failed | Kind::Timeout | Kind::Incompatible => Self::Unable(failure),
            Kind::Usage | Kind::Unreachable | Kind::NoSpace | Kind::Denied | Kind::Conflict | Kind::Interrupted => {
                Self::Ours(failure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use potluck_protocol::id::{BaseId, Digest, ManifestId};

    use super::*;

    #[test]
    fn a_pull_that_found_nobody_and_one_that_stopped_have_codes_of_their_own() {
        let manifest = ManifestId(Digest::of(b"nothing"));
        let nobody = PullError::NotFound { manifest, asked: Vec::new(), waited: Duration::ZERO };
        assert_eq!(Failure::from(nobody).kind, Kind::NotFound);
        assert_eq!(Failure::from(PullError::Cancelled(manifest)).kind, Kind::Interrupted);
    }

    #[test]
    fn a_genesis_that_nobody_can_be_asked_for_is_not_there() {
        let base = BaseId(Digest::of(b"nothing"));
        assert_eq!(Failure::from(BaseError::OffNetwork(base)).kind, Kind::Unreachable);
        let failure = no_genesis(BaseError::OffNetwork(base));
        assert_eq!(failure, Failure { kind: Kind::NotFound, ..BaseError::OffNetwork(base).into() });
        let full = ObjectError::NoRoom { what: "shards", needed: 2, free: 1 };
        assert_eq!(no_genesis(full.into()).kind, Kind::NoSpace);
    }

    #[test]
    fn what_a_worker_says_of_its_files_is_told_from_its_own_trouble() {
        let of = |kind| WorkerError::from(Failure::new(kind, "why"));
        assert!(matches!(of(Kind::Verification), WorkerError::Wrong(_)));
        for kind in [Kind::Incompatible, Kind::Timeout, Kind::Failed] {
            assert!(matches!(of(kind), WorkerError::Unable(_)), "nobody is to blame, and others are tried");
        }
        assert!(
            matches!(of(Kind::NoSpace), WorkerError::Ours(_)) && matches!(of(Kind::Interrupted), WorkerError::Ours(_))
        );
    }
}
