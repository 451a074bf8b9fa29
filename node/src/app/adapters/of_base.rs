//! Whether an adapter is of a base: asked in one place, by ids, before any shape is looked at. // I6
//!
//! A published adapter's manifest names its base, and so does the note in every folder that was written here. A folder
//! without that note (another program's) is held against the shapes of the base alone, by whoever opens it.
//!
//! | verb | adapter | base | asks here |
//! |---|---|---|---|
//! | `generate`, `eval` | `--adapter` | `--base`, a base or a channel's version | [`Adapters::adapters_to_run`] |
//! | `train` | `--from` | `--base` | [`Adapters::find_of`] |
//! | `merge`, with `--fold` and without | `REF`s | `--base` | [`Adapters::find_of`] |
//! | `publish` | the folder | `--base`, else the one that the folder notes | [`Adapters::check_of`] |
//! | `channel propose` | `ADAPTER` | genesis and versions of `--to` | [`another_base`] |
//!
//! Verbs that name no base beside an adapter: `pull`, `verify` and a steward's look at proposals hold an adapter against
//! the base of its manifest (`inspect.rs`), and what makes a version or takes one (`channel release`, `follow`, `export`)
//! asks the lineage (`channel/`).

use potluck_protocol::id::BaseId;
use potluck_protocol::lineage::Lineage;

use crate::api::proto::WeightedRef;
use crate::app::adapters::{Adapters, FoundAdapter};
use crate::app::call::Call;
use crate::app::known_bases::KnownBase;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::note;
use crate::worker::proto::{AdapterSource, BaseSource};

/// What an adapter says of its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// How a person knows the adapter: a name in backticks, or a folder.
    pub adapter: String,
    pub base: BaseId,
    /// What the base is called, if that is known.
    pub base_name: Option<String>,
    /// The base is here under that name.
    pub here: bool,
}

/// What the adapter is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To compute with: a view of its base will do, and so will a version that is folded from it.
    Run,
    /// To make something that states that base.
    Make,
}

/// What a model is run on: a base, or a version live, as its adapters on what it is folded from.
pub struct ToRun {
    pub source: BaseSource,
    pub adapters: Vec<AdapterSource>,
    pub of: Of,
}

/// The weights that an adapter meets.
pub enum Of {
    Base(KnownBase),
    Version(Box<Lineage>),
}

impl Adapters {
    /// The adapter of a reference, which must be of that base if it says which one it is of.
    pub async fn find_of(
        &self,
        call: &Call<'_>,
        reference: &str,
        base: &KnownBase,
        wanted: Use,
    ) -> Outcome<FoundAdapter> {
        let found = self.find(reference).await?;
        self.check_of(call, &found, base, wanted).await?;
        Ok(found)
    }

    /// The same of an adapter that was found. A base is read whole at most once for it, and only if it has to be.
    pub async fn check_of(
        &self,
        call: &Call<'_>,
        adapter: &FoundAdapter,
        base: &KnownBase,
        wanted: Use,
    ) -> Outcome<()> {
        let Some(own) = self.own_base(adapter).await? else { return Ok(()) };
        let id = self.bases.id(call, base).await?;
        if own.base == id || (wanted == Use::Run && self.stands_for(id, own.base).await?) {
            return Ok(());
        }
        Err(another_base(&own, id, Some(&base.name)))
    }

    /// Adapters as folders with their weights, each of what it is to run on.
    pub async fn adapters_to_run(
        &self,
        call: &Call<'_>,
        adapters: &[WeightedRef],
        of: &Of,
    ) -> Outcome<Vec<AdapterSource>> {
        let mut sources = Vec::with_capacity(adapters.len());
        for adapter in adapters {
            let found = match of {
                Of::Base(base) => self.find_of(call, &adapter.reference, base, Use::Run).await?,
                Of::Version(lineage) => {
                    let found = self.find(&adapter.reference).await?;
                    match self.own_base(&found).await?.filter(|own| !lineage.is_of(&own.base)) {
                        Some(own) => {
                            return Err(another_base(&own, weights_of(lineage), Some(lineage.name().as_str())));
                        }
                        None => found,
                    }
                }
            };
            sources.push(AdapterSource { folder: found.folder, weight: adapter.weight as f32 });
        }
        Ok(sources)
    }

    /// Which base an adapter is of, as far as it says.
    pub async fn own_base(&self, adapter: &FoundAdapter) -> Outcome<Option<Own>> {
        let Some(id) = adapter.manifest else {
            let called = adapter.folder.display().to_string();
            let noted = note::read(&adapter.folder)?;
            return Ok(noted.map(|noted| self.describe_own(called, noted.of.id, Some(noted.of.name))));
        };
        let manifest = self.disk.manifest(id).await?;
        let body = manifest.body();
        Ok(body.base().map(|base| self.describe_own(format!("`{}`", body.name), base, None)))
    }

    /// With what the base is called here, else what it was called elsewhere.
    pub fn describe_own(&self, adapter: String, base: BaseId, elsewhere: Option<String>) -> Own {
        let here = self.known.by_id(&base).map(|known| known.name);
        Own { adapter, base, here: here.is_some(), base_name: here.or(elsewhere) }
    }

    /// Whether a base is a view of another one, or a version that is folded from it, by what is noted here.
    async fn stands_for(&self, id: BaseId, of: BaseId) -> Outcome<bool> {
        if self.disk.store.base(&id).is_some_and(|record| record.view_of == Some(of)) {
            return Ok(true);
        }
        let version = self.names.find_version(&id.to_string()).await?;
        Ok(version.is_some_and(|lineage| lineage.is_of(&of)))
    }
}

/// The weights that a lineage ends with.
fn weights_of(lineage: &Lineage) -> BaseId {
    lineage.head().map_or(lineage.spec().genesis, |head| head.version.base)
}

/// The one thing that is said of an adapter and a base that do not belong together.
pub fn another_base(own: &Own, wanted: BaseId, wanted_name: Option<&str>) -> Failure {
    let Own { adapter, base, base_name, here } = own;
    let named = |id: &BaseId, name: Option<&str>| match name {
        Some(name) => format!("{} ({name})", id.short()),
        None => id.short(),
    };
    let message =
        format!("{adapter} is for base {}, not {}", named(base, base_name.as_deref()), named(&wanted, wanted_name));
    let failure = Failure::new(Kind::Incompatible, message);
    match base_name.as_deref().filter(|_| *here) {
        Some(name) => failure.hint(format!("give its own base, which is known here: `--base {name}`")),
        None => failure
            .hint(format!("give its own base with --base PATH, or fetch it from peers with `potluck base add {base}`")),
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;

    #[test]
    fn both_bases_are_named() {
        let (base, other) = (BaseId(Digest::of(b"one")), BaseId(Digest::of(b"other")));
        let own = Own { adapter: "`sql`".to_owned(), base, base_name: Some("tiny".to_owned()), here: true };
        let failure = another_base(&own, other, Some("smol"));
        let expected = format!("`sql` is for base {} (tiny), not {} (smol)", base.short(), other.short());
        assert_eq!((failure.kind, failure.message), (Kind::Incompatible, expected));
        assert!(failure.hint.is_some_and(|hint| hint.contains("--base tiny")));
        let unnamed = another_base(&Own { base_name: None, here: false, ..own }, other, None);
        assert_eq!(unnamed.message, format!("`sql` is for base {}, not {}", base.short(), other.short()));
        assert!(unnamed.hint.is_some_and(|hint| hint.contains(&base.to_string())));
    }
}
