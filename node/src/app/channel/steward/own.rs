//! A channel of this node's own key: what the key has signed elsewhere is taken up, and what was promised is finished.
//!
//! This home may not know all that its key has signed: it was restored from a copy, or a copy of it ran. That is taken up
//! before anything is signed, so that there are never two versions for one height.

use potluck_protocol::codec;
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::Lineage;

use crate::app::call::Call;
use crate::app::channel::follower::describe::describe_halt;
use crate::app::channel::follower::limits::PATIENCE;
use crate::app::channel::steward::Steward;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{ChannelRecord, Halt, Promise, StoreError};

/// A channel of this node's own key, with nothing left half done.
pub struct Own {
    pub record: ChannelRecord,
    pub lineage: Lineage,
    /// A version that an earlier command had promised and this one has finished.
    pub finished: Option<ManifestId>,
    /// Peers were asked whether this key has signed more than this home knows.
    pub asked: bool,
}

impl Steward {
    /// The channel of that name or id, if this node is its steward; what its key signed elsewhere is taken up first, and what
    /// was promised here is finished.
    pub async fn load_own_channel(&self, call: &Call<'_>, reference: &str) -> Outcome<Own> {
        let record = self.names.find_channel(reference)?;
        self.check_steward(&record).await?;
        self.publisher.check_alone()?;
        let asked = self.adopt_signed_versions(call, &record).await?;
        let record = self.disk.store.channel(&record.id).unwrap_or(record);
        let (record, finished) = self.drafts.finish_promised(call, record).await?;
        let head = self.drafts.promised_version(&record.id)?.map(|(id, _)| id).or(record.current);
        let lineage = self.lineages.read(record.id, head).await?;
        Ok(Own { record, lineage, finished, asked })
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

    /// Takes up the highest version of the channel that is here or announced; whether peers were asked.
    async fn adopt_signed_versions(&self, call: &Call<'_>, record: &ChannelRecord) -> Outcome<bool> {
        let opened = self.lineages.read(record.id, None).await?;
        let asked = self.ask_for_own(call, record).await?;
        let gathered = self.chains.gather(call, &opened, PATIENCE).await?;
        if let Some((first, second)) = gathered.conflict {
            let halt = Halt::Equivocation { first, second };
            return Err(self.halts.halt_and_prove(call, record.clone(), &opened, halt).await?);
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
        let Some(head) = chain.lineage.head() else { return Ok(asked) };
        let (height, id) = (head.version.height, head.id);
        if self.disk.store.promised(&record.id).is_none_or(|kept| kept.height < height) {
            self.versions.ensure_adapters(call, &chain.lineage, PATIENCE).await?;
        }
        self.adopt_version(record, height, id).await?;
        Ok(asked)
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

    /// Waits, once in the life of a process, until what peers know of the channel has come; whether anybody could be asked.
    async fn ask_for_own(&self, call: &Call<'_>, record: &ChannelRecord) -> Outcome<bool> {
        if self.asked.contains(&record.id) {
            return Ok(true);
        }
        if let Some(network) = &self.network {
            let here = |peers: Vec<crate::net::PeerInfo>| peers.iter().any(|peer| peer.agent.is_some());
            if network.handle.expects_peers() || here(network.handle.peers().await?) {
                call.phase(format!("asking peers for versions of `{}`", record.name)).await;
                let genesis = self.lineages.read(record.id, None).await?.spec().genesis;
                self.chains.catch_up(call, genesis, record.id).await?;
            }
            if here(network.handle.peers().await?) {
                self.asked.insert(record.id);
                return Ok(true);
            }
        }
        call.phase(format!(
            "no peer could be asked for newer versions of `{}`: if this home was restored from a copy, connect it first",
            record.name
        ))
        .await;
        Ok(false)
    }
}
