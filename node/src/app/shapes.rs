//! The shapes of a base's tensors: read from `state.log`, where they were noted when the worker read the base. This process
//! opens no model: a worker's process ends without harm if the files of one are cut short under it.

use potluck_protocol::base::Architecture;
use potluck_protocol::id::BaseId;
use potluck_protocol::tensor::DType;

use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::errors::ObjectError;
use crate::app::known_bases::{KnownBase, unchanged};
use crate::app::worker::Worker;
use crate::store::BaseShapes;
use crate::worker::answers::{Described, Identified};
use crate::worker::proto::{BaseSource, Task};

/// Knows the shapes of bases.
#[derive(Clone)]
pub struct Shapes {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) worker: Worker,
}

impl Shapes {
    /// Of a base that is known here, as they were noted: its id names its weights, and so its shapes, whatever became of its
    /// files. A home of an earlier version has not noted them: then they are read.
    pub async fn of(&self, call: &Call<'_>, base: &KnownBase) -> Result<Architecture, ObjectError> {
        if base.source == BaseSource::Tiny {
            return Ok(potluck_trainer::tiny::architecture());
        }
        match base.id.and_then(|id| self.disk.store.shapes(&id)) {
            Some(noted) => Ok(noted.architecture),
            None => Ok(self.read(call, base).await?.shapes),
        }
    }

    /// What the files of a base hold now: as noted if they are as they were, else as they say.
    pub async fn now(&self, call: &Call<'_>, base: &KnownBase) -> Result<Described, ObjectError> {
        let record = base.id.and_then(|id| self.disk.store.base(&id)).filter(unchanged);
        match record.and_then(|record| self.disk.store.shapes(&record.id)) {
            Some(noted) => Ok(Described { shapes: noted.architecture, dtype: noted.dtype }),
            None => self.read(call, base).await,
        }
    }

    /// Reads the head of a base's files, in a worker. It is noted if the files are those that the base was known by.
    async fn read(&self, call: &Call<'_>, base: &KnownBase) -> Result<Described, ObjectError> {
        let task = Task::Describe { base: base.source.clone() };
        let described: Described = self
            .worker
            .compute(call, 1, task)
            .await
            .map_err(|failure| ObjectError::OurBase(Box::new(failure.context(format!("base `{}`", base.name)))))?;
        if let Some(record) = base.id.and_then(|id| self.disk.store.base(&id)).filter(unchanged) {
            self.try_note(&record.id, &described.shapes, described.dtype).await;
        }
        Ok(described)
    }

    /// Remembers the shapes of a base that was read.
    pub async fn note(&self, identified: &Identified) -> Result<(), ObjectError> {
        let shapes = noted(identified);
        self.disk.try_store(move |store| store.set_shapes(shapes)).await
    }

    /// The same where somebody only looks: what cannot be noted is read again the next time.
    pub async fn try_note(&self, base: &BaseId, shapes: &Architecture, dtype: DType) {
        let shapes = BaseShapes { base: *base, architecture: shapes.clone(), dtype };
        if let Err(error) = self.disk.try_store(move |store| store.set_shapes(shapes)).await {
            tracing::warn!("the shapes of base {} are not noted: {error}", base.short());
        }
    }
}

/// What is noted of a base that was read.
pub fn noted(identified: &Identified) -> BaseShapes {
    BaseShapes { base: identified.base, architecture: identified.shapes.clone(), dtype: identified.dtype }
}
