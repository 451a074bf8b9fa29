//! Opening bases, adapters and models from what a job names.

use potluck_trainer::backend::candle::CandleBackend;
use potluck_trainer::backend::{Backend, Residency};
use potluck_trainer::base::Base;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::model::decoder::Model;

use crate::failure::{Failure, Kind, Outcome};
use crate::worker::failures;
use crate::worker::proto::{AdapterSource, BackendName, BaseSource, Engine, EngineType, Instructions};

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

/// A base as a model to generate with.
pub fn model_to_generate(base: &Base) -> Outcome<Model<Cpu>> {
    Model::load_as(Cpu::new(), base, residency_to_generate(base)).map_err(|error| failures::model(&error))
}

/// How a base lies in memory to generate with. Token by token, widening every quantised matrix anew costs more than the
/// products; a base that is small enough is widened once.
pub fn residency_to_generate(base: &Base) -> Residency {
    let parameters: u64 = base.architecture().tensors().iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
    if parameters * 4 <= WIDENED_MAX { Residency::Widened } else { Residency::Quantised }
}

/// Work with a model, whatever backend it is on.
pub trait ModelWork {
    type Output;
    fn run<B: Backend>(self, model: &Model<B>) -> Outcome<Self::Output>;
}

/// Loads a base on an engine and works with it: the one place where an [`Engine`] becomes a backend.
pub fn with_model<W: ModelWork>(base: &Base, engine: Engine, residency: Residency, work: W) -> Outcome<W::Output> {
    match (engine.backend, engine.dtype, engine.instructions) {
        (BackendName::Candle, EngineType::F32, Instructions::Auto) => {
            work.run(&load(CandleBackend::<f32>::new(), base, residency)?)
        }
        (BackendName::Candle, EngineType::Bf16, _) => {
            Err(absent("the candle backend works in f32 alone").hint("take `--dtype f32`, or `--backend cpu`"))
        }
        (BackendName::Candle, EngineType::F32, _) => Err(absent("the candle backend chooses its instructions itself")
            .hint("leave `--instructions` out, or take `--backend cpu`")),
        (BackendName::Cpu, ..) => {
            Err(absent("this build has no cpu backend").hint("take `--backend candle --dtype f32`"))
        }
    }
}

fn load<B: Backend>(backend: B, base: &Base, residency: Residency) -> Outcome<Model<B>> {
    Model::load_as(backend, base, residency).map_err(|error| failures::model(&error))
}

fn absent(what: &str) -> Failure {
    Failure::new(Kind::Incompatible, what)
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
pub fn attach<B: Backend>(model: &Model<B>, adapters: &[(Adapter, f32)]) -> Outcome<Attached<B>> {
    let weighted: Vec<_> = adapters.iter().map(|(adapter, weight)| (adapter, *weight)).collect();
    Attached::load(model.backend(), model.architecture(), &weighted).map_err(|error| failures::lora(&error))
}
