//! Taking newer versions: everything is looked at first, and one record, written last, puts the new one in force.

use std::time::Duration;

use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::Lineage;

use crate::api::answers::InForce;
use crate::app::call::Call;
use crate::app::channel::follower::Follower;
use crate::app::channel::follower::chain::{Found, height_of};
use crate::app::channel::follower::halt::halted;
use crate::app::channel::follower::limits::PATIENCE;
use crate::app::channel::follower::proofs::Claims;
use crate::app::errors::ChannelError;
use crate::failure::{Failure, Kind, Outcome};
use crate::seconds::Seconds;
use crate::store::ChannelRecord;

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A person: waits for announcements, and ends what a rollback holds.
    Person(Duration),
    /// The daemon, of its own accord.
    Daemon,
}

/// What it came to.
pub struct Updated {
    pub record: ChannelRecord,
    /// Up to what is in force.
    pub lineage: Lineage,
    /// The height before.
    pub from: u32,
    /// Bytes of adapters and records that came over the network.
    pub fetched_bytes: u64,
}

impl Follower {
    /// Answers `potluck channel update`.
    pub async fn update_asked(&self, call: &Call<'_>, channel: &str, timeout_seconds: Seconds) -> Outcome<InForce> {
        let record = self.names.find_channel(channel)?;
        let updated = self.update(call, record.id, Asked::Person(timeout_seconds.duration())).await?;
        Ok(updated.in_force())
    }

    /// Takes the highest version that holds. An error leaves the one before in force, or says why no more was taken.
    pub async fn update(&self, call: &Call<'_>, id: ManifestId, asked: Asked) -> Outcome<Updated> {
        let _turn = self.turns.take(id).await;
        let mut record = self.find_followed(id)?;
        if let Some(halt) = &record.halted {
            return Err(halted(&record, halt));
        }
        // Here since it was followed; one that was damaged since is fetched again.
        self.objects.ensure_present(call, id, asked.patience()).await?;
        let spec = self.disk.manifest(id).await?;
        let opened = Lineage::open(&spec).map_err(|error| ChannelError::NotOf { id, error })?;
        if matches!(asked, Asked::Person(_)) {
            call.phase(format!("looking for versions of `{}`", record.name)).await;
            self.chains.catch_up(call, opened.spec().genesis, id).await?;
        }
        let gathered = self.chains.gather(call, &opened, asked.patience()).await?;
        if let Some(found) = gathered.conflict {
            return Err(self.halts.halt_and_prove(call, record.clone(), &opened, found).await?);
        }
        let chain = gathered.chain(opened);
        let before = record.current;
        // Whoever proves what does not hold, or does not answer, holds up no version.
        let taking = self.take(call, &mut record, &chain.lineage, asked);
        let (taken, claims) = tokio::join!(taking, self.auditor.read_proofs(&chain.lineage));
        self.obey_proofs(call, id, &chain.lineage, claims, before, asked).await?;
        let (from, bytes) = taken?;
        let fetched_bytes = gathered.fetched_bytes + bytes;
        match chain.broken {
            Some(broken) => {
                let (height, name) = (chain.lineage.next_height() - 1, &record.name);
                let next = if chain.withheld {
                    format!(
                        "see who is connected with `potluck peers`, and run `potluck channel update {name}` again later: the \
                         steward, or whoever follows the channel, has it"
                    )
                } else {
                    format!("`potluck channel show {name}` shows what is known")
                };
                Err(broken.context(format!("`{name}`")).hint(format!("version {height} is in force; {next}")))
            }
            None => Ok(Updated { record, lineage: chain.lineage, from, fetched_bytes }),
        }
    }

    /// The record of a channel that must be followed here.
    pub fn find_followed(&self, id: ManifestId) -> Outcome<ChannelRecord> {
        self.disk.store.channel(&id).ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("channel {} is not followed here", id.short()))
                .hint(format!("follow it with `potluck channel follow {id}`"))
        })
    }

    /// Takes what is new, and ends what a rollback holds; the height before, and the bytes that came.
    async fn take(
        &self,
        call: &Call<'_>,
        record: &mut ChannelRecord,
        lineage: &Lineage,
        asked: Asked,
    ) -> Outcome<(u32, u64)> {
        let from = height_of(lineage, record.current).ok_or_else(|| lost(record))?;
        let mut bytes = 0;
        if lineage.next_height() > from + 1 {
            bytes = self.put_in_force(call, record, lineage, from, asked).await?;
        }
        if record.held {
            record.held = false;
            let noted = record.clone();
            self.disk.on_store(move |store| store.set_channel(noted)).await?;
        }
        Ok((from, bytes))
    }

    /// Halts the channel if a proof against its steward holds, whatever came of its versions. `before` was in force when the
    /// proofs were read.
    async fn obey_proofs(
        &self,
        call: &Call<'_>,
        id: ManifestId,
        lineage: &Lineage,
        claims: Claims,
        before: Option<ManifestId>,
        asked: Asked,
    ) -> Outcome<()> {
        let Some(record) = self.disk.store.channel(&id).filter(|record| record.halted.is_none()) else { return Ok(()) };
        let head = lineage.head().map(|head| head.id);
        let important: Vec<_> = before.into_iter().chain(record.current).chain(head).collect();
        match self.auditor.judge_proofs(call, lineage, claims, &important, asked.patience()).await? {
            None => Ok(()),
            Some(proven) => {
                let record = self.halts.halt(record, proven.halt).await?;
                self.auditor.keep(call, &proven).await;
                Err(halted(&record, &proven.halt))
            }
        }
    }

    /// Puts the lineage's head in force; the bytes that came for it.
    async fn put_in_force(
        &self,
        call: &Call<'_>,
        record: &mut ChannelRecord,
        lineage: &Lineage,
        from: u32,
        asked: Asked,
    ) -> Outcome<u64> {
        self.versions.shapes(call, lineage.spec()).await?;
        let bytes = self.versions.ensure_adapters(call, lineage, asked.patience()).await?;
        if record.audit
            && let Some((version, digest)) = self.auditor.audit_new(call, lineage, from, asked.patience()).await?
        {
            let found = Found::mismatch(version, digest);
            return Err(self.halts.halt_and_prove(call, record.clone(), lineage, found).await?);
        }
        record.current = lineage.head().map(|head| head.id);
        record.held = false;
        let noted = record.clone();
        self.disk.on_store(move |store| store.set_channel(noted)).await?;
        Ok(bytes)
    }
}

impl Asked {
    /// How long each record and adapter is looked for.
    pub fn patience(self) -> Duration {
        match self {
            Self::Person(patience) => patience,
            Self::Daemon => PATIENCE,
        }
    }
}

impl Updated {
    /// What the request answers.
    pub fn in_force(self) -> InForce {
        let (record, head) = (self.record, self.lineage.head());
        InForce {
            channel: record.id,
            name: record.name,
            steward: self.lineage.steward(),
            genesis: self.lineage.spec().genesis,
            from: self.from,
            height: head.map_or(0, |head| head.version.height),
            version: record.current,
            base: head.map_or(self.lineage.spec().genesis, |head| head.version.base),
            adapters: self.lineage.inputs().len(),
            audit: record.audit,
            fetched_bytes: self.fetched_bytes,
        }
    }
}

fn lost(record: &ChannelRecord) -> Failure {
    Failure::new(
        Kind::Verification,
        format!("the records of the version in force of `{}` are damaged or missing", record.name),
    )
    .hint("`potluck store verify` names what is damaged; follow the channel again when its records can be had")
}
