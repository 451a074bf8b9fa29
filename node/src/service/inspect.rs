//! Whether a complete manifest means what it says: the last step before it may be announced, merged or used.

use potluck_protocol::base::Architecture;
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::{AdapterInfo, Kind as ManifestKind, Manifest};
use potluck_protocol::verify::{Complete, WellFormed};

use potluck_trainer::base::Base;

use super::resolve::KnownBase;
use super::{Service, channel};
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{Store, StoreError};
use crate::worker::proto::BaseSource;

/// The settings file of a PEFT folder.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The tensors of a PEFT folder.
pub const MODEL_FILE: &str = "adapter_model.safetensors";

/// The path of the file that is wrong, and why.
type Wrong = (String, String);

impl Service {
    /// Checks a manifest that is here whole against its base, and notes that it is well-formed. // I6, I8
    pub(super) async fn inspect(&self, complete: Complete) -> Outcome<WellFormed> {
        let manifest = complete.manifest();
        if channel::is_record(&manifest.body().kind) {
            return self.inspect_record(complete).await;
        }
        let base = match manifest.body().base() {
            Some(base) => self.shapes_of(base).await?,
            None => None,
        };
        let base = base.ok_or_else(|| unknown_base(manifest.body()))?;
        self.on_store(move |store| {
            let architecture = architecture(&base)?;
            let read = |file: &_, table: &_| store.read_file(file, table);
            let checked = complete.inspect(read, |manifest, files| check(manifest, files, &architecture))?;
            let well_formed = checked.map_err(StoreError::from)?;
            store.commit_well_formed(&well_formed)?;
            Ok::<_, Failure>(well_formed)
        })
        .await
    }

    /// What says something about a channel: its files are what it says, and it fits nothing but its own lineage, which is
    /// looked at where it is used.
    async fn inspect_record(&self, complete: Complete) -> Outcome<WellFormed> {
        self.on_store(move |store| {
            let scans = store.scan(&complete, None)?;
            let well_formed = complete.inspect_scanned(&scans, |_| Ok(())).map_err(StoreError::from)?;
            store.commit_well_formed(&well_formed)?;
            Ok::<_, StoreError>(well_formed)
        })
        .await
    }

    /// A manifest that is here with every shard; an error names what is missing.
    pub(super) fn complete(store: &Store, id: &ManifestId) -> Outcome<Complete> {
        let mapped = store.mapped(id)?;
        let complete = mapped.complete(|shard| store.has_shard(shard))?;
        Ok(complete.map_err(StoreError::from)?)
    }
}

/// The shapes of a base, from the head of its files alone.
pub(super) fn architecture(base: &KnownBase) -> Outcome<Architecture> {
    match &base.source {
        BaseSource::Tiny => Ok(potluck_trainer::tiny::architecture()),
        BaseSource::Path(path) => Base::open(path)
            .map(|base| base.architecture().clone())
            .map_err(|error| crate::worker::failures::base(&error).context(format!("base `{}`", base.name))),
    }
}

pub(super) fn unknown_base(manifest: &Manifest) -> Failure {
    let base = manifest.base().map_or_else(|| "none".to_owned(), |base| base.to_string());
    Failure::new(Kind::Incompatible, format!("`{}` is for base {base}, which is not known here", manifest.name))
        .hint(format!("add that base with `potluck base add PATH`, or from the swarm with `potluck base add {base}`"))
}

/// What can be said of an adapter whose base is not here: digest and cut of its files, and whether the two fit each
/// other. Nothing is noted of it.
pub(super) fn check_apart(store: &Store, complete: &Complete) -> Outcome<()> {
    let read = |file: &_, table: &_| store.read_file(file, table);
    let checked = complete.inspect_apart(read, |manifest, files| {
        let (adapter, config, model) = two_files(manifest, files)?;
        let rank = potluck_trainer::peft::check_apart(config, model)
            .map_err(|error| (MODEL_FILE.to_owned(), error.to_string()))?;
        if rank == adapter.r as usize { Ok(()) } else { Err(other_settings()) }
    })?;
    checked.map_err(|error| StoreError::from(error).into())
}

/// An adapter holds exactly its two files.
fn two_files<'a>(manifest: &'a Manifest, files: &'a [Vec<u8>]) -> Result<(&'a AdapterInfo, &'a [u8], &'a [u8]), Wrong> {
    let ManifestKind::Adapter(adapter) = &manifest.kind else {
        return Err((String::new(), "no adapter".to_owned()));
    };
    let paths: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let ([CONFIG_FILE, MODEL_FILE], [config, model]) = (&paths[..], files) else {
        return Err((paths.join(", "), format!("an adapter is {CONFIG_FILE} and {MODEL_FILE}, and nothing else")));
    };
    Ok((adapter, config, model))
}

fn other_settings() -> Wrong {
    (CONFIG_FILE.to_owned(), "rank or target modules are not those of the manifest".to_owned())
}

/// They are what the manifest says of them.
fn check(manifest: &Manifest, files: &[Vec<u8>], architecture: &Architecture) -> Result<(), Wrong> {
    let (adapter, config, model) = two_files(manifest, files)?;
    let checked = potluck_trainer::peft::check(config, model, architecture)
        .map_err(|error| (MODEL_FILE.to_owned(), error.to_string()))?;
    let config = &checked.config;
    if config.r as u32 != adapter.r || config.target_modules.names() != adapter.target_modules {
        return Err(other_settings());
    }
    Ok(())
}
