//! A channel of this node's own key: what the key has signed elsewhere is taken up, and what was promised is finished.
//!
//! This home may not know all that its key has signed: it was restored from a copy, or a copy of it ran. So before anything
//! is signed the highest version by the key is looked for in the store, in the promises, in the catalogue, and with peers,
//! and is taken up. What is announced and cannot be had, and a home that has met peers and can ask none, end the command:
//! there are never two versions for one height.

use potluck_protocol::codec;
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::Lineage;

use crate::app::call::Call;
use crate::app::channel::follower::describe::describe_halt;
use crate::app::channel::follower::limits::{LOOK, PATIENCE};
use crate::app::channel::steward::Steward;
use crate::app::network::Network;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::peers::Remembered;
use crate::net::PeerInfo;
use crate::store::{ChannelRecord, Promise, StoreError};

/// A channel of this node's own key, with nothing left half done.
pub struct Own {
    pub record: ChannelRecord,
    pub lineage: Lineage,
    /// A version that an earlier command had promised and this one has finished.
    pub finished: Option<ManifestId>,
    /// Peers were asked whether this key has signed more than this home knows.
    pub asked: bool,
    /// Announced versions by this key that nobody hands out, and that a person said are none of this channel.
    pub waived: Vec<ManifestId>,
}

impl Steward {
    /// The channel of that name or id, if this node is its steward; what its key signed elsewhere is taken up first, and what
    /// was promised here is finished. `offline` is a person's word that there is no other copy of this home to ask about.
    pub async fn load_own_channel(&self, call: &Call<'_>, reference: &str, offline: bool) -> Outcome<Own> {
        let record = self.names.find_channel(reference)?;
        self.check_steward(&record).await?;
        self.publisher.check_alone()?;
        let (asked, waived) = self.adopt_signed_versions(call, &record, offline).await?;
        let record = self.disk.store.channel(&record.id).unwrap_or(record);
        let (record, finished) = self.drafts.finish_promised(call, record).await?;
        let head = self.drafts.promised_version(&record.id)?.map(|(id, _)| id).or(record.current);
        let lineage = self.lineages.read(record.id, head).await?;
        Ok(Own { record, lineage, finished, asked, waived })
    }

    async fn check_steward(&self, record: &ChannelRecord) -> Outcome<()> {
        let steward = self.lineages.read(record.id, None).await?.steward();
        if steward != self.identity.public() {
            let peer = steward.peer_id().map_or_else(String::new, |peer| format!(" ({peer})"));
            return Err(Failure::new(
                Kind::Denied,
                format!("the steward of channel `{}` is {}{peer}, and this node is another", record.name, steward.0),
            )
            .hint(
                "continue from any of its versions in a channel of your own: `potluck channel open NAME --genesis VERSION`",
            ));
        }
        match &record.halted {
            Some(halt) => Err(Failure::new(
                Kind::Verification,
                format!("channel `{}` is halted and takes no more versions: {}", record.name, describe_halt(halt)),
            )
            .hint("open another one from its last good version: `potluck channel open NAME --genesis VERSION`")),
            None => Ok(()),
        }
    }

    /// Takes up the highest version of the channel that is here or announced; whether peers were asked, and what was
    /// announced and could not be had.
    async fn adopt_signed_versions(
        &self,
        call: &Call<'_>,
        record: &ChannelRecord,
        offline: bool,
    ) -> Outcome<(bool, Vec<ManifestId>)> {
        let opened = self.lineages.read(record.id, None).await?;
        let asked = self.ask_for_own(call, record, offline).await?;
        let mut gathered = self.chains.gather(call, &opened, PATIENCE).await?;
        if offline {
            // Whoever says so vouches that these are none of the channel's.
            gathered.withheld = 0;
        }
        if let Some(found) = gathered.conflict {
            return Err(self.halts.halt_and_prove(call, record.clone(), &opened, found).await?);
        }
        if !offline && !gathered.unobtained.is_empty() {
            return Err(unobtained(record, &gathered.unobtained));
        }
        let chain = gathered.chain(opened);
        if let Some(broken) = chain.broken {
            return Err(broken
                .context(format!(
                    "a newer version of `{}` signed by this node's key is known, but cannot be continued from",
                    record.name
                ))
                .hint("nothing was signed: run the command again when a peer that has the version is connected"));
        }
        let Some(head) = chain.lineage.head() else { return Ok((asked, gathered.unobtained)) };
        let (height, id) = (head.version.height, head.id);
        if self.disk.store.promised(&record.id).is_none_or(|kept| kept.height < height) {
            self.versions.ensure_adapters(call, &chain.lineage, PATIENCE).await?;
            say_restored(call, record, height).await;
        }
        self.adopt_version(record, height, id).await?;
        Ok((asked, gathered.unobtained))
    }

    /// The version binds this node as if it had promised it.
    async fn adopt_version(&self, record: &ChannelRecord, height: u32, id: ManifestId) -> Outcome<()> {
        let channel = record.id;
        self.disk
            .on_store(move |store| {
                let manifest = store.manifest(&id)?.ok_or(StoreError::NoManifest(id))?;
                store.take_up(Promise { channel, height, body: codec::encode(manifest.body())? })
            })
            .await
    }

    /// Asks peers, whenever something is to be signed, what they know of the channel; whether one of them answered. A node
    /// that has met peers does not sign without having asked one, unless a person says so.
    async fn ask_for_own(&self, call: &Call<'_>, record: &ChannelRecord, offline: bool) -> Outcome<bool> {
        if !offline {
            if let Some(network) = &self.network
                && self.ask_peers(call, record, network).await?
            {
                return Ok(true);
            }
            if self.has_met_peers().await? {
                return Err(nobody_asked(record));
            }
        }
        call.phase(format!(
            "no peer was asked for newer versions of `{}`: if this home was restored from a copy, connect it first",
            record.name
        ))
        .await;
        Ok(false)
    }

    /// Whether a peer said what it knows of the channel's topic. Takes it up.
    async fn ask_peers(&self, call: &Call<'_>, record: &ChannelRecord, network: &Network) -> Outcome<bool> {
        let here = |peers: Vec<PeerInfo>| peers.iter().any(|peer| peer.agent.is_some());
        let handle = &network.handle;
        if !handle.expects_peers() && !here(handle.peers().await?) {
            return Ok(false);
        }
        call.phase(format!("asking peers for versions of `{}`", record.name)).await;
        let genesis = self.lineages.read(record.id, None).await?.spec().genesis;
        if !here(handle.peers().await?) {
            self.chains.catch_up(call, genesis, record.id).await?;
        }
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(Failure::interrupted()),
            answered = network.exchange.inquire(genesis, LOOK) => Ok(answered > 0),
        }
    }

    /// Whether others may know of this key's versions: the node remembers peers, or has heard of what others publish.
    async fn has_met_peers(&self) -> Outcome<bool> {
        let own = self.identity.public();
        let peers = self.disk.home.layout().peers();
        let heard = |heard: Vec<potluck_protocol::announce::Announcement>| heard.iter().any(|one| one.publisher != own);
        Ok(self.disk.on_store(move |_| Ok::<_, StoreError>(Remembered::any(&peers))).await?
            || heard(self.disk.heard().await?))
    }
}

/// The state of this home is older than what its key has signed.
async fn say_restored(call: &Call<'_>, record: &ChannelRecord, height: u32) {
    let restored = format!(
        "this home does not remember signing version {height} of `{}`, which its key has signed: it was restored from a \
         copy, and goes on from that version; stop any other copy of it",
        record.name
    );
    tracing::warn!("{restored}");
    call.phase(restored).await;
}

/// Versions by our own key that exist, and may be of any height.
pub fn unobtained(record: &ChannelRecord, versions: &[ManifestId]) -> Failure {
    let (count, first) = (versions.len(), versions.first().map_or_else(String::new, ToString::to_string));
    Failure::new(
        Kind::Unreachable,
        format!(
            "{count} versions that this node's key has announced are not in this home (it was restored from a copy?), and \
             no peer hands them out: whether one of them is the next version of `{}` is not known, and nothing was \
             signed. The newest is {first}",
            record.name
        ),
    )
    .hint(
        "connect a peer that has them, e.g. a follower of the channel, and run the command again; if you know that none \
         of them is of this channel, `--offline` signs all the same",
    )
}

fn nobody_asked(record: &ChannelRecord) -> Failure {
    Failure::new(
        Kind::Unreachable,
        format!(
            "no peer could be asked whether this node's key has signed newer versions of `{}`, and nothing was signed: two \
             versions for one height would halt the channel for everybody",
            record.name
        ),
    )
    .hint(
        "run `potluck up --bootstrap ADDRESS` with the address of a peer, and the command again; if this home was never \
         restored from a copy nor copied, `--offline` signs without asking",
    )
}
