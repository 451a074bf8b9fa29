//! The shapes of a base's tensors: read from `state.log`, where they were noted when the worker read the base. This process
//! opens no model: a worker's process ends without harm if the files of one are cut short under it.

use potluck_protocol::base::Architecture;

use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::errors::ObjectError;
use crate::app::known_bases::{KnownBase, changed};
use crate::app::worker::Worker;
use crate::failure::Failure;
use crate::store::BaseShapes;
use crate::worker::answers::Identified;
use crate::worker::proto::BaseSource;

/// Knows the shapes of bases.
#[derive(Clone)]
pub struct Shapes {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) worker: Worker,
}

impl Shapes {
    /// Of a base that is known here. A home of an earlier version has not noted them: then the worker reads the base, once.
    pub async fn of(&self, call: &Call<'_>, base: &KnownBase) -> Result<Architecture, ObjectError> {
        if base.source == BaseSource::Tiny {
            return Ok(potluck_trainer::tiny::architecture());
        }
        if let Some(noted) = base.id.and_then(|id| self.disk.store.shapes(&id)) {
            return Ok(noted.architecture);
        }
        let ours = |failure: Failure| ObjectError::OurBase(Box::new(failure));
        let identified = self.worker.read_whole(call, &base.source).await;
        let identified = identified.map_err(|failure| ours(failure.context(format!("base `{}`", base.name))))?;
        if let Some(id) = base.id.filter(|id| *id != identified.base) {
            return Err(ours(changed(base, id, identified.base)));
        }
        self.note(&identified).await?;
        Ok(identified.shapes)
    }

    /// Remembers the shapes of a base that was read.
    pub async fn note(&self, identified: &Identified) -> Result<(), ObjectError> {
        let shapes = noted(identified);
        self.disk.try_store(move |store| store.set_shapes(shapes)).await
    }
}

/// What is noted of a base that was read.
pub fn noted(identified: &Identified) -> BaseShapes {
    BaseShapes { base: identified.base, architecture: identified.shapes.clone(), dtype: identified.dtype }
}
