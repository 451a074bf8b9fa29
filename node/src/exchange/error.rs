//! Why a pull failed.

use std::time::Duration;

use libp2p::PeerId;
use potluck_protocol::id::ManifestId;
use potluck_protocol::verify::VerifyError;

use crate::net::NetError;
use crate::store::StoreError;

/// What ended a pull. Whatever had arrived by then is kept, so that the next one goes on from there.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum PullError {
    #[error("manifest {} was found with none of {} peers within {} s", manifest.short(), asked.len(), waited.as_secs())]
    NotFound { manifest: ManifestId, asked: Vec<PeerId>, waited: Duration },
    #[error(
        "{why}: {missing} of {total} shards of manifest {} are missing; asked {}",
        manifest.short(), names(asked)
    )]
    Incomplete { manifest: ManifestId, missing: usize, total: usize, asked: Vec<PeerId>, why: Why },
    #[error("the pull of manifest {} was cancelled", .0.short())]
    Cancelled(ManifestId),
    /// Signed by the publisher and wrong: no other provider can have it right.
    #[error("the signed manifest contradicts itself: {0}")]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Net(#[from] NetError),
}

/// Why a pull ended before everything was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Deadline,
    /// No new shard for as long as the caller was patient.
    Stuck,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deadline => "time ran out",
            Self::Stuck => "no provider sends anything more",
        })
    }
}

fn names(peers: &[PeerId]) -> String {
    if peers.is_empty() {
        return "nobody, for nobody was connected".to_owned();
    }
    let shown: Vec<_> = peers.iter().take(8).map(ToString::to_string).collect();
    let more = if peers.len() > 8 { format!(" and {} more", peers.len() - 8) } else { String::new() };
    shown.join(", ") + &more
}
