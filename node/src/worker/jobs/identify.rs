//! A base read whole: checked, and identified by its weights.

use potluck_protocol::tensor::DType;
use potluck_trainer::base::Base;

use super::open;
use crate::failure::{Failure, Outcome};
use crate::worker::answers::{Described, Identified};
use crate::worker::failures;
use crate::worker::proto::BaseSource;

pub fn identify(source: &BaseSource) -> Outcome<Identified> {
    let base = open::base(source)?;
    base.check_finite().map_err(|error| failures::base(&error))?;
    let id = base.id().map_err(|error| failures::base(&error))?;
    let files = match source {
        BaseSource::Tiny => Vec::new(),
        BaseSource::Path(path) => {
            list_files(path).map_err(|error| Failure::io(format!("list {}", path.display()), &error))?
        }
    };
    let described = Described { shapes: base.architecture().clone(), dtype: dtype(&base)? };
    let (architecture, parameters) = (described.architecture(), described.parameters());
    let Described { shapes, dtype } = described;
    Ok(Identified { base: id, architecture, parameters, dtype, files, shapes })
}

/// What the head of a base's files says. No weight is read for it.
pub fn describe(source: &BaseSource) -> Outcome<Described> {
    let base = open::base(source)?;
    Ok(Described { shapes: base.architecture().clone(), dtype: dtype(&base)? })
}

/// The same of the base inside this program, which needs no worker: it is no file that could be cut short.
pub fn describe_tiny() -> Outcome<Described> {
    describe(&BaseSource::Tiny)
}

/// The type of the first block's matrices: what a person calls the type of the base.
fn dtype(base: &Base) -> Outcome<DType> {
    let tensor = base.tensor("model.layers.0.mlp.down_proj.weight");
    tensor.map(|tensor| tensor.dtype).map_err(|error| Failure::new(crate::failure::Kind::Verification, error))
}

/// The files by which a later change is noticed.
fn list_files(path: &std::path::Path) -> std::io::Result<Vec<String>> {
    if path.is_file() {
        return Ok(vec![path.to_string_lossy().into_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let counts = path.extension().is_some_and(|extension| extension == "safetensors" || extension == "json");
        if path.is_file() && counts {
            files.push(path.to_string_lossy().into_owned());
        }
    }
    files.sort();
    Ok(files)
}
