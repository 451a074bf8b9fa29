//! Opening bases, adapters and models from what a job names.

use potluck_trainer::backend::Residency;
use potluck_trainer::backend::candle::CandleBackend;
use potluck_trainer::base::Base;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::model::decoder::Model;

use crate::failure::Outcome;
use crate::worker::failures;
use crate::worker::proto::{AdapterSource, BaseSource};

/// The backend that runs on every machine.
pub type Cpu = CandleBackend<f32>;

/// Bytes of a base in f32 up to which it is widened to generate: no contributor's machine is short of that.
const WIDENED_MAX: u64 = 2 << 30;

/// Opens a base; headers are checked, values are not.
pub fn base(source: &BaseSource) -> Outcome<Base> {
    match source {
        BaseSource::Tiny => potluck_trainer::tiny::base().map_err(|error| failures::base(&error)),
        BaseSource::Path(path) => Base::open(path).map_err(|error| failures::base(&error)),
    }
}

/// A base as a model to train on: quantised weights stay as they are.
pub fn model(base: &Base) -> Outcome<Model<Cpu>> {
    Model::load(Cpu::new(), base).map_err(|error| failures::model(&error))
}

/// A base as a model to generate with. Token by token, widening every quantised matrix anew costs more than the
/// products; a base that is small enough is widened once.
pub fn model_to_generate(base: &Base) -> Outcome<Model<Cpu>> {
    let parameters: u64 = base.architecture().tensors().iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
    let residency = if parameters * 4 <= WIDENED_MAX { Residency::Widened } else { Residency::Quantised };
    Model::load_as(Cpu::new(), base, residency).map_err(|error| failures::model(&error))
}

/// PEFT folders, checked against the base. // I6
pub fn adapters(base: &Base, sources: &[AdapterSource]) -> Outcome<Vec<(Adapter, f32)>> {
    let read = |source: &AdapterSource| {
        let adapter = potluck_trainer::peft::read(&source.folder, base.architecture());
        Ok((adapter.map_err(|error| failures::peft(&source.folder, &error))?, source.weight))
    };
    sources.iter().map(read).collect()
}

/// Adapters on a model.
pub fn attach(model: &Model<Cpu>, adapters: &[(Adapter, f32)]) -> Outcome<Attached<Cpu>> {
    let weighted: Vec<_> = adapters.iter().map(|(adapter, weight)| (adapter, *weight)).collect();
    Attached::load(model.backend(), model.architecture(), &weighted).map_err(|error| failures::lora(&error))
}
