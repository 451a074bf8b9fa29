//! What a steward's key has signed for a channel and this home does not know: the home was restored from a copy, or a copy
//! of it ran. It is taken up before anything is signed, so that there are never two versions for one height.

use potluck_protocol::codec;
use potluck_protocol::id::ManifestId;

use super::super::super::{Call, Service};
use super::super::follower::limits::PATIENCE;
use crate::failure::Outcome;
use crate::store::{ChannelRecord, Halt, Promise, StoreError};

impl Service {
    /// Takes up the highest version of the channel that is here or announced; whether peers were asked.
    pub(super) async fn take_up_signed(&self, call: &Call<'_>, record: &ChannelRecord) -> Outcome<bool> {
        let opened = self.lineage(record.id, None).await?;
        let asked = self.ask_for_own(call, record).await?;
        let gathered = self.gather(call, &opened, PATIENCE).await?;
        if let Some((first, second)) = gathered.conflict {
            let halt = Halt::Equivocation { first, second };
            return Err(self.halt_and_prove(call, record.clone(), &opened, halt).await?);
        }
        let chain = gathered.chain(opened);
        if let Some(broken) = chain.broken {
            return Err(broken
                .context(format!(
                    "a newer version of `{}` by this node's key is known, and cannot be gone on from",
                    record.name
                ))
                .hint("nothing was signed: run the command again when a peer that has the version is connected"));
        }
        let Some(head) = chain.lineage.head() else { return Ok(asked) };
        let (height, id) = (head.version.height, head.id);
        if self.store.promised(&record.id).is_none_or(|kept| kept.height < height) {
            self.kept_adapters(call, &chain.lineage, PATIENCE).await?;
        }
        self.adopted(record, height, id).await?;
        Ok(asked)
    }

    /// The version binds this node as if it had promised it.
    async fn adopted(&self, record: &ChannelRecord, height: u32, id: ManifestId) -> Outcome<()> {
        let channel = record.id;
        self.on_store(move |store| {
            let manifest = store.manifest(&id)?.ok_or(StoreError::NoManifest(id))?;
            store.take_up(Promise { channel, height, body: codec::encode(manifest.body())? })
        })
        .await
    }

    /// Waits, once in the life of a process, until what peers know of the channel has come; whether anybody could be asked.
    async fn ask_for_own(&self, call: &Call<'_>, record: &ChannelRecord) -> Outcome<bool> {
        if self.watching.was_asked(&record.id) {
            return Ok(true);
        }
        if let Some(network) = &self.network {
            let here = |peers: Vec<crate::net::PeerInfo>| peers.iter().any(|peer| peer.agent.is_some());
            if network.handle.expects_peers() || here(network.handle.peers().await?) {
                call.phase(format!("asking peers for versions of `{}`", record.name)).await;
                let genesis = self.lineage(record.id, None).await?.spec().genesis;
                self.catch_up(call, genesis, record.id).await?;
            }
            if here(network.handle.peers().await?) {
                self.watching.asked(record.id);
                return Ok(true);
            }
        }
        call.phase(format!(
            "nobody could be asked whether newer versions of `{}` exist: if this home was restored from a copy, connect it first",
            record.name
        ))
        .await;
        Ok(false)
    }
}
