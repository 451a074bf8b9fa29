//! What a REF means, made usable: a base that is found, fetched or folded.

use std::sync::Arc;

use crate::app::adapters::of_base::{Of, ToRun};
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::errors::BaseError;
use crate::app::known_bases::KnownBase;
use crate::app::objects::FIND_SECONDS;
use crate::app::reference::{Names, no_base_called};
use crate::app::versions::Versions;
use crate::failure::Outcome;
use crate::store::BaseRecord;
use crate::worker::proto::BaseSource;

/// Finds what a command is to compute with, and makes it be here.
#[derive(Clone)]
pub struct Resolver {
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) versions: Arc<Versions>,
}

impl Resolver {
    /// A base by path, name, id, or `tiny`. A version of a channel is folded into one, once; a base that is named by its id,
    /// or the start of one that was heard of, and is not here, is fetched from the swarm.
    pub async fn find_base(&self, call: &Call<'_>, reference: &str) -> Result<KnownBase, BaseError> {
        if let Some(known) = self.names.known_base(reference)? {
            return Ok(known);
        }
        if let Some(version) = self.names.find_version(reference).await? {
            return self.versions.folder(call, &version).await;
        }
        let Some(id) = self.names.heard_base(reference).await? else {
            return Err(no_base_called(reference).into());
        };
        let fetched = self.bases.fetch_by_id(call, id, None, FIND_SECONDS.into()).await?;
        let BaseRecord { id, name, path, .. } = fetched.record;
        Ok(KnownBase { name: name.to_string(), id: Some(id), source: BaseSource::Path(path.into()) })
    }

    /// A base or a version to run a model on.
    pub async fn to_run(&self, call: &Call<'_>, reference: &str) -> Outcome<ToRun> {
        let base = |known: KnownBase| ToRun { source: known.source.clone(), adapters: Vec::new(), of: Of::Base(known) };
        if let Some(known) = self.names.known_base(reference)? {
            return Ok(base(known));
        }
        let Some(version) = self.names.find_version(reference).await? else {
            return Ok(base(self.find_base(call, reference).await?));
        };
        let (source, adapters) = self.versions.stack(call, &version).await?;
        Ok(ToRun { source, adapters, of: Of::Version(Box::new(version)) })
    }
}
