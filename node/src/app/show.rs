//! `show`: all that is known of one thing, whether it is here or was only heard of.

use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};

use crate::api::answers::{Base, Presence, Shown};
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::channel::follower::describe::describe;
use crate::app::channel::steward::proposals::Proposals;
use crate::app::disk::Disk;
use crate::app::known_bases::KnownBases;
use crate::app::network::Network;
use crate::app::reference::{NAMED, Names, a};
use crate::app::resolver::Resolver;
use crate::app::search::offers::{Offers, measured};
use crate::failure::{Failure, Kind, Outcome};

/// How long peers are asked for the manifest of something that is not here: a person waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers `potluck show` and `potluck base show`.
#[derive(Clone)]
pub struct Shows {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) resolver: Arc<Resolver>,
    pub(in crate::app) proposals: Arc<Proposals>,
    pub(in crate::app) offers: Arc<Offers>,
}

impl Shows {
    /// Answers `potluck show`.
    pub async fn show(&self, reference: &str) -> Outcome<Shown> {
        let Some(id) = self.names.find_id(reference, &NAMED).await? else { return Err(self.unknown(reference)?) };
        if let Some(manifest) = self.disk.on_store(move |store| store.manifest(&id)).await? {
            let mut shown = self.describe_manifest(id, manifest.body());
            self.tell_presence(&mut shown).await?;
            let more = match &manifest.body().kind {
                ManifestKind::Proposal(proposal) => self.proposals.fate(id, proposal).await?,
                ManifestKind::Channel(_) => vec![self.next_of_channel(id)],
                _ => Vec::new(),
            };
            shown.notes.extend(more);
            return Ok(shown);
        }
        let heard: Vec<_> =
            self.names.heard_now().await?.into_iter().flatten().filter(|heard| heard.manifest == id).collect();
        // Who announces it may lie of it; what its manifest bears out is preferred.
        let words = self.offers.get(&id);
        let borne_out = heard.iter().find(|one| words.as_ref().is_some_and(|words| words.bears_out(one)));
        match borne_out.or(heard.first()) {
            Some(heard) => Ok(self.describe_heard(heard).await),
            None => Err(self.unknown(reference)?),
        }
    }

    /// How much of it is here.
    async fn tell_presence(&self, shown: &mut Shown) -> Outcome<()> {
        let id = shown.manifest;
        let lacking = self.disk.on_store(move |store| store.lacking(&id)).await?.unwrap_or_default();
        let missing = lacking.missing.len();
        shown.missing_shards = Some(missing);
        if missing == 0 && !lacking.unreadable {
            let checked = self.disk.store.is_well_formed(&id);
            shown.state = if checked { Presence::Checked } else { Presence::Unchecked };
            return Ok(());
        }
        shown.state = Presence::InPart;
        let again = match shown.kind {
            KindTag::Adapter | KindTag::Base => format!("`potluck pull {}`", id.short()),
            _ => "`potluck channel update CHANNEL`".to_owned(),
        };
        shown.notes.push(format!("shards that are missing: {missing}; {again} fetches them again"));
        Ok(())
    }

    /// What its manifest says, if a peer hands that out or a search has read it, else what its announcement does: what is
    /// not known is `null`, never empty.
    async fn describe_heard(&self, heard: &Announcement) -> Shown {
        let manifests = match &self.network {
            Some(network) => network.exchange.look_at(vec![heard.manifest], PATIENCE).await.found,
            None => Vec::new(),
        };
        let mut shown = match manifests.first() {
            Some(manifest) => self.describe_manifest(heard.manifest, manifest.body()),
            None => self.describe_announcement(heard),
        };
        shown.notes.extend(next(heard));
        shown
    }

    fn describe_announcement(&self, heard: &Announcement) -> Shown {
        let words = self.offers.get(&heard.manifest).filter(|words| words.bears_out(heard));
        let details = words.as_ref().map(|words| &words.details);
        Shown {
            manifest: heard.manifest,
            name: heard.name.to_string(),
            kind: heard.kind,
            publisher: heard.publisher,
            base: Some(heard.base),
            base_name: self.known.by_id(&heard.base).map(|base| base.name),
            bytes: words.as_ref().map_or(heard.total_bytes, |words| words.bytes),
            licence: details.map(|details| details.licence.clone()),
            description: details.map(|details| details.description.clone()),
            created: details.map(|details| details.created),
            rank: details.and_then(|details| details.rank),
            evaluations: details.map(|details| details.evaluations.clone()),
            notes: Vec::new(),
            body: None,
            missing_shards: None,
            state: Presence::HeardOf,
        }
    }

    /// What its manifest says of it; as long as nobody has looked, nothing of it is here.
    fn describe_manifest(&self, id: ManifestId, manifest: &Manifest) -> Shown {
        let (mut rank, mut evaluations) = (None, Vec::new());
        let notes = match &manifest.kind {
            ManifestKind::Adapter(adapter) => {
                rank = Some(adapter.r);
                evaluations = adapter.evaluations.iter().map(measured).collect();
                let mut notes = vec![format!("rank {}, modules {}", adapter.r, adapter.target_modules.join(", "))];
                notes.extend(adapter.training.as_ref().map(|training| {
                    format!("trained {} steps on {} tokens, seed {}", training.steps, training.tokens, training.seed)
                }));
                notes
            }
            ManifestKind::Base(base) => vec![base.architecture.to_string()],
            ManifestKind::Dataset(dataset) => vec![format!("{} rows", dataset.rows)],
            ManifestKind::Channel(_)
            | ManifestKind::Proposal(_)
            | ManifestKind::Version(_)
            | ManifestKind::Proof(_) => describe(&manifest.kind),
        };
        Shown {
            manifest: id,
            name: manifest.name.to_string(),
            kind: KindTag::from(&manifest.kind),
            publisher: manifest.publisher,
            base: manifest.base(),
            base_name: manifest.base().and_then(|base| self.known.by_id(&base)).map(|base| base.name),
            bytes: manifest.total_bytes(),
            licence: Some(manifest.licence.clone()),
            description: Some(manifest.description.clone()),
            created: Some(manifest.created),
            rank,
            evaluations: Some(evaluations),
            notes,
            body: Some(Box::new(manifest.clone())),
            missing_shards: None,
            state: Presence::HeardOf,
        }
    }

    fn next_of_channel(&self, id: ManifestId) -> String {
        match self.disk.store.channel(&id) {
            Some(channel) => format!("its versions: `potluck channel show {}`", channel.name),
            None => format!("it is not followed here: `potluck channel follow {}`", id.short()),
        }
    }

    /// Something else may have that id.
    fn unknown(&self, reference: &str) -> Outcome<Failure> {
        if let Some(base) = self.names.known_base(reference)? {
            return Ok(Failure::new(
                Kind::NotFound,
                format!("`{reference}` is base `{}`, which is not published here", base.name),
            )
            .hint(format!("see it with `potluck base show {reference}`")));
        }
        Ok(Failure::new(Kind::NotFound, format!("nothing called `{reference}` is known here"))
            .hint("find things with `potluck search`; fetch one by its whole id with `potluck pull ID`"))
    }

    /// Answers `potluck base show`, of a base or a channel.
    pub async fn show_base(&self, call: &Call<'_>, reference: &str) -> Outcome<Base> {
        if self.names.known_base(reference)?.is_none() && self.names.known_channel(reference)?.is_some() {
            return Err(Failure::new(Kind::Usage, format!("`{reference}` is a channel, not a base"))
                .hint(format!("show its versions with `potluck channel show {reference}`")));
        }
        if let Some(failure) = self.no_base_but(reference).await? {
            return Err(failure);
        }
        let known = self.resolver.find_base(call, reference).await?;
        self.bases.describe_known(call, &known).await
    }

    /// What to say of something that is no base and has the name or the id; nothing, if it may be one.
    async fn no_base_but(&self, reference: &str) -> Outcome<Option<Failure>> {
        if self.names.known_base(reference)?.is_some() || self.names.find_version(reference).await?.is_some() {
            return Ok(None);
        }
        let Some(kind) = self.names.find_known(reference, &NAMED).await?.map(|known| known.kind) else {
            return Ok(None);
        };
        let hint = match kind {
            KindTag::Base => return Ok(None),
            KindTag::Channel => format!(
                "see its rules with `potluck show {reference}`, follow it with `potluck channel follow {reference}`"
            ),
            _ => format!("see it with `potluck show {reference}`"),
        };
        let message = format!("`{reference}` is {}, and no base of that name or id is known here", a(kind));
        Ok(Some(Failure::new(Kind::NotFound, message).hint(hint)))
    }
}

/// What to type to have it, if a verb takes such a thing: none takes a dataset.
fn next(heard: &Announcement) -> Option<String> {
    match heard.kind {
        KindTag::Base => Some(format!("fetch it with `potluck base add {}`", heard.base.short())),
        KindTag::Channel => Some(format!("take its versions with `potluck channel follow {}`", heard.manifest.short())),
        KindTag::Adapter => Some(format!("fetch it with `potluck pull {}`", heard.manifest.short())),
        KindTag::Proposal | KindTag::Version | KindTag::Proof => {
            Some("it comes with its channel: `potluck channel follow CHANNEL`".to_owned())
        }
        KindTag::Dataset => None,
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{BaseId, Digest};
    use potluck_protocol::signed::PublicKey;

    use super::*;

    #[test]
    fn only_what_a_verb_takes_is_said_to_be_fetched() {
        let (keypair, name) = (libp2p::identity::ed25519::Keypair::generate(), "three".parse().expect("a name"));
        let (manifest, base) = (ManifestId(Digest::of(b"it")), BaseId(Digest::of(b"base")));
        let publisher = PublicKey::of(&keypair);
        let (kind, manifest_len, total_bytes, sequence) = (KindTag::Adapter, 1, 1, 1);
        let adapter = Announcement { manifest, manifest_len, kind, name, base, total_bytes, publisher, sequence };
        assert_eq!(next(&adapter), Some(format!("fetch it with `potluck pull {}`", manifest.short())));
        assert_eq!(next(&Announcement { kind: KindTag::Dataset, ..adapter }), None);
    }
}
