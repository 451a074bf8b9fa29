//! Small questions to one peer, each with one answer, within a bounded time.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::announce::Announcement;
use potluck_protocol::bulk::{Provider, Refusal, Reply, Request};
use potluck_protocol::catalogue::verify_records;
use potluck_protocol::id::{AnnouncementId, BaseId, ManifestId, ShardId};
use potluck_protocol::limits::HAVE_MAX;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::{self, Blame, VerifyError};
use tokio::time::timeout;

use super::limits::{BUSY_RETRY_MS, QUESTION, QUESTION_TRIES};
use crate::net::{FrameError, Handle, NetError, OpenError, Outbound};
use crate::task;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer broke the protocol: it could have known better.
    #[error("{0}")]
    Wrong(String),
    /// What came is what was asked for, and this version cannot read it.
    #[error(transparent)]
    Unreadable(VerifyError),
    #[error("it is busy")]
    Busy,
    #[error("it does not answer this question")]
    Refused,
    #[error("no answer within {} s", QUESTION.as_secs())]
    Timeout,
}

impl AskError {
    /// The peer is to blame, as opposed to being slow, gone or busy.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Frame(error) => error.is_fault(),
            Self::Wrong(_) => true,
            Self::Net(_) | Self::Unreadable(_) | Self::Busy | Self::Refused | Self::Timeout => false,
        }
    }
}

/// The signed manifest, verified; `None` if the peer does not have it.
pub async fn manifest(net: &Handle, peer: PeerId, id: ManifestId) -> Result<Option<Authentic<Manifest>>, AskError> {
    match one(net, peer, &Request::Manifest(id)).await? {
        Reply::Manifest(bytes) => verify::verify_manifest(id, &bytes).map(Some).map_err(judge),
        Reply::Refused(Refusal::NotFound) => Ok(None),
        other => Err(unexpected(&other)),
    }
}

fn judge(error: VerifyError) -> AskError {
    match error.blame() {
        Blame::Nobody => AskError::Unreadable(error),
        Blame::Peer | Blame::Publisher => AskError::Wrong(error.to_string()),
    }
}

/// Which of the shards the peer has, in order.
pub async fn have(net: &Handle, peer: PeerId, shards: &[ShardId]) -> Result<Vec<bool>, AskError> {
    let mut all = Vec::with_capacity(shards.len());
    for some in shards.chunks(HAVE_MAX) {
        match one(net, peer, &Request::Have(some.to_vec())).await? {
            Reply::Have(flags) if flags.len() == some.len() => all.extend(flags),
            other => return Err(unexpected(&other)),
        }
    }
    Ok(all)
}

/// Other peers that are said to have the manifest, with their addresses; those that make no sense, or that the peer is not
/// believed, are left out.
pub async fn providers(net: &Handle, peer: PeerId, id: ManifestId) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, AskError> {
    match one(net, peer, &Request::Providers(id)).await? {
        Reply::Providers(providers) => Ok(net.filter_believed(peer, parse_providers(providers)).await?),
        other => Err(unexpected(&other)),
    }
}

/// What the peer stands behind of a base, each verified; what only a later version knows is left out.
pub async fn announcements(line: &mut Line, base: BaseId) -> Result<Vec<Authentic<Announcement>>, AskError> {
    let known = line.net.known().clone();
    let here = move |id: &AnnouncementId| known.with(|catalogue| catalogue.get(&base, id).cloned());
    match line.ask(&Request::Announcements(base)).await? {
        Reply::Announcements(records) => match task::blocking(move || verify_records(base, &records, here)).await {
            Ok(page) => page.map(|page| page.records).map_err(|error| AskError::Wrong(error.to_string())),
            // A panic of ours is not the peer's fault.
            Err(_) => Err(AskError::Timeout),
        },
        other => Err(unexpected(&other)),
    }
}

/// Whom the peer has met lately; what makes no sense is left out.
pub async fn peers(net: &Handle, peer: PeerId) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, AskError> {
    match one(net, peer, &Request::Peers).await? {
        Reply::Peers(peers) => Ok(parse_providers(peers)),
        other => Err(unexpected(&other)),
    }
}

fn parse_providers(providers: Vec<Provider>) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let one = |provider: Provider| {
        let addresses = provider.addresses.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok());
        Some((PeerId::from_bytes(&provider.peer).ok()?, addresses.collect()))
    };
    providers.into_iter().filter_map(one).collect()
}

/// One question to a peer, on a stream of its own.
async fn one(net: &Handle, peer: PeerId, request: &Request) -> Result<Reply, AskError> {
    Line::new(net, peer).ask(request).await
}

/// Questions to one peer, one after another on one stream: whoever has many takes one place of its.
pub struct Line {
    net: Handle,
    peer: PeerId,
    stream: Option<Outbound>,
}

impl Line {
    /// The stream is opened for the first question.
    pub fn new(net: &Handle, peer: PeerId) -> Self {
        Self { net: net.clone(), peer, stream: None }
    }

    /// One question with its answer, in [`QUESTION`]: a peer that says `Busy` is asked again within it.
    async fn ask(&mut self, request: &Request) -> Result<Reply, AskError> {
        let question = async {
            for _ in 0..QUESTION_TRIES {
                let retry_ms = match self.ask_once(request).await? {
                    Reply::Refused(Refusal::Busy { retry_ms }) => retry_ms,
                    reply => return Ok(reply),
                };
                tokio::time::sleep(Duration::from_millis(retry_ms.clamp(50, 2_000).into())).await;
            }
            Err(AskError::Busy)
        };
        timeout(QUESTION, question).await.unwrap_or(Err(AskError::Timeout))
    }

    async fn ask_once(&mut self, request: &Request) -> Result<Reply, AskError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => match self.net.open(self.peer).await {
                Ok(stream) => stream,
                // It is we who are busy with this peer.
                Err(NetError::Open { error: OpenError::TooMany, .. }) => {
                    return Ok(Reply::Refused(Refusal::Busy { retry_ms: BUSY_RETRY_MS }));
                }
                Err(error) => return Err(error.into()),
            },
        };
        let reply = stream.ask(request).await?;
        // A peer that has no place for a stream says so and ends it.
        if !matches!(reply, Reply::Refused(Refusal::Busy { .. })) {
            self.stream = Some(stream);
        }
        Ok(reply)
    }
}

/// An answer to another question. A refusal is an answer to every one.
pub(super) fn unexpected(reply: &Reply) -> AskError {
    let what = match reply {
        Reply::Manifest(_) => "a manifest",
        Reply::Have(_) => "flags",
        Reply::Shard { .. } => "a shard",
        Reply::Providers(_) => "providers",
        Reply::Refused(_) => return AskError::Refused,
        Reply::Announcements(_) => "announcements",
        Reply::Differing(_) => "a comparison of catalogues",
        Reply::Records(_) => "records of a catalogue",
        Reply::Peers(_) => "peers",
    };
    AskError::Wrong(format!("it answered another question than the one that was asked, with {what}"))
}
