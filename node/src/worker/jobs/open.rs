//! Opening bases, adapters and models from what a job names.

use potluck_trainer::backend::candle::CandleBackend;
use potluck_trainer::backend::cpu::instructions::Instructions;
use potluck_trainer::backend::cpu::{CpuBackend, Precision};
use potluck_trainer::backend::{Backend, Residency};
use potluck_trainer::base::Base;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::lora::attached::Attached;
use potluck_trainer::model::decoder::Model;

use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::{AdapterSource, Auto, BackendName, BaseSource, Engine};
use crate::worker::{bounded, failures};

/// Bytes of a base in f32 up to which it is widened to generate: no contributor's machine is short of that.
const WIDENED_MAX: u64 = 2 << 30;

/// Opens a base; headers are checked, values are not.
pub fn base(source: &BaseSource) -> Outcome<Base> {
    match source {
        BaseSource::Tiny => potluck_trainer::tiny::base().map_err(|error| failures::base(&error)),
        BaseSource::Path(path) => bounded::open(|| Base::open(path).map_err(|error| failures::base(&error))),
    }
}

/// What a model is loaded for, where the engine leaves the float type open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// bf16 where the processor multiplies it: several times faster, and the trained factors are f32 all the same.
    Train,
    /// f32: answers and measurements that do not depend on the machine more than they must.
    Run,
}

/// The cpu backend as an engine asks for it.
pub fn cpu(engine: Engine, purpose: Purpose) -> Outcome<CpuBackend> {
    let instructions = match engine.instructions {
        Auto::Auto => Instructions::best(),
        Auto::Is(instructions) => instructions,
    };
    let precision = match (engine.dtype, purpose) {
        (Auto::Is(precision), _) => precision,
        (Auto::Auto, Purpose::Train) if instructions >= Instructions::Avx512Bf16 => Precision::Bf16,
        (Auto::Auto, Purpose::Train | Purpose::Run) => Precision::F32,
    };
    CpuBackend::new(instructions, precision).ok_or_else(|| {
        absent("this processor lacks the instructions that were asked for")
            .hint("leave `--instructions` out: the best that it has are found at run time")
    })
}

/// A base as a model to generate and to measure with.
pub fn model_to_generate(base: &Base) -> Outcome<Model<CpuBackend>> {
    load(cpu(Engine::default(), Purpose::Run)?, base, Residency::Quantised)
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

/// Loads a base on an engine and works with it: the one place where an [`Engine`] becomes a backend. Also says what
/// the engine came to, with nothing left open.
pub fn with_model<W: ModelWork>(
    base: &Base,
    engine: Engine,
    purpose: Purpose,
    residency: Residency,
    work: W,
) -> Outcome<(W::Output, Engine)> {
    match (engine.backend, engine.dtype, engine.instructions) {
        (BackendName::Cpu, ..) => {
            let backend = cpu(engine, purpose)?;
            let (dtype, instructions) = (Auto::Is(backend.precision()), Auto::Is(backend.instructions()));
            let settled = Engine { dtype, instructions, ..engine };
            Ok((work.run(&load(backend, base, residency)?)?, settled))
        }
        (BackendName::Candle, Auto::Auto | Auto::Is(Precision::F32), Auto::Auto) => {
            let output = work.run(&load(CandleBackend::<f32>::new(), base, residency)?)?;
            Ok((output, Engine { dtype: Auto::Is(Precision::F32), ..engine }))
        }
        (BackendName::Candle, Auto::Is(Precision::Bf16), _) => {
            Err(absent("the candle backend works in f32 alone").hint("take `--dtype f32`, or `--backend cpu`"))
        }
        (BackendName::Candle, _, _) => Err(absent("the candle backend chooses its instructions itself")
            .hint("leave `--instructions` out, or take `--backend cpu`")),
    }
}

/// A base as a model on a backend.
pub fn load<B: Backend>(backend: B, base: &Base, residency: Residency) -> Outcome<Model<B>> {
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
    attach_borrowed(model, &weighted)
}

/// The same with adapters that somebody else keeps.
pub fn attach_borrowed<B: Backend>(model: &Model<B>, weighted: &[(&Adapter, f32)]) -> Outcome<Attached<B>> {
    Attached::load(model.backend(), model.architecture(), weighted).map_err(|error| failures::lora(&error))
}
