//! Adapters from strangers: `adapter_config.json`, and the header and values beside it.

use std::sync::OnceLock;

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::JSON_MAX;
use potluck_trainer::base::{config, json};
use potluck_trainer::peft::{self, Inspected, Inspection, PeftError};
use serde_json::{Value, json as value};

use super::{Form, Memory, Outcome, Target, hold, seeds};

/// Bytes of data behind a header.
const DATA_MAX: usize = 256 << 10;
/// Bytes that come at once.
const PIECE: usize = 1_000;

/// What settings and headers are made of.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules", "exclude_modules",
    "layers_to_transform", "layers_pattern", "init_lora_weights", "bias", "none", "all-linear", "peft_type", "LORA",
    "(.*)*(.*)*x", ".*\\.q_proj", "q_proj", "dtype", "F32", "BF16", "F64", "shape", "data_offsets",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
];

pub fn target() -> Target {
    Target {
        name: "adapter",
        about: "adapter_config.json and the factors, with a base and without one",
        form: Form::Json,
        words: WORDS,
        seeds: inputs,
        // Every module is padded to one rank: eight times the file, or 64 MiB; two copies of a module are made.
        memory: Memory::new(600, 160 << 20),
        short: 400,
        run,
    }
}

fn architecture() -> &'static Architecture {
    static ONE: OnceLock<Architecture> = OnceLock::new();
    ONE.get_or_init(|| {
        let text = seeds::fixture("peft/base/config.json");
        config::architecture(&json::parse(&text, JSON_MAX).expect("JSON")).expect("a model")
    })
}

/// `config` is the settings (a text as it stands), `header` the header of the factors, `data` how many bytes follow it,
/// `byte` what they are.
fn run(bytes: &[u8]) -> Result<Outcome, String> {
    let Ok(input) = serde_json::from_slice::<Value>(bytes) else { return Outcome::refused("no input") };
    let written = |name: &str| match input.get(name) {
        Some(Value::String(text)) => text.clone().into_bytes(),
        other => other.map(Value::to_string).unwrap_or_default().into_bytes(),
    };
    let number = |name: &str| input.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (settings, header) = (written("config"), written("header"));
    let mut model = (header.len() as u64).to_le_bytes().to_vec();
    model.extend_from_slice(&header);
    model.resize(model.len() + (number("data") as usize).min(DATA_MAX), number("byte") as u8);
    let apart = inspect(&settings, &model, None);
    let whole = peft::check(&settings, &model, architecture());
    let inspected = inspect(&settings, &model, Some(architecture()));
    hold(whole.is_ok() == inspected.is_ok(), || "the two ways to check disagree".to_owned())?;
    let adapter = match (whole, apart) {
        (Ok(adapter), Ok(apart)) => {
            hold(adapter.config.r == apart.rank, || "it has another rank without its base".to_owned())?;
            adapter
        }
        (Ok(_), Err(error)) => return Err(format!("it fits a base and not itself: {error}")),
        (Err(_), Ok(_)) => return Outcome::accepted("apart"),
        (Err(error), Err(_)) => return Outcome::refused(error),
    };
    let files = peft::encode(&adapter, architecture()).map_err(|error| error.to_string())?;
    let again = peft::check(&files.config, &files.model, architecture());
    let again = again.map_err(|error| format!("what was read is written and refused: {error}"))?;
    let same = again.tensors.len() == adapter.tensors.len()
        && again.tensors.iter().zip(&adapter.tensors).all(|((name, one), (other_name, other))| {
            name == other_name && one.shape == other.shape && one.values == other.values
        });
    hold(same, || "what was read is written as another adapter".to_owned())?;
    Outcome::accepted("adapter")
}

/// As a daemon looks at an adapter: piece by piece.
fn inspect(settings: &[u8], model: &[u8], architecture: Option<&Architecture>) -> Result<Inspected, PeftError> {
    let mut inspection = Inspection::new(settings, architecture, model.len());
    model.chunks(PIECE).try_for_each(|piece| inspection.feed(piece))?;
    inspection.finish()
}

fn inputs() -> Vec<Vec<u8>> {
    let settings: Value = serde_json::from_slice(&seeds::fixture("peft/adapter/adapter_config.json")).expect("JSON");
    let model = seeds::fixture("peft/adapter/adapter_model.safetensors");
    let len = u64::from_le_bytes(*model.first_chunk().expect("a length")) as usize;
    let header: Value = serde_json::from_slice(&model[8..8 + len]).expect("a header");
    let data = model.len() - 8 - len;
    let plain = value!({"config": settings, "header": header, "data": data, "byte": 0});
    let small = value!({
        "config": {"peft_type": "LORA", "r": 1, "lora_alpha": 2, "rank_pattern": {"q_proj": 1}, "alpha_pattern": {},
                   "target_modules": ["q_proj"]},
        "header": {
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight":
                {"dtype": "F32", "shape": [1, architecture().hidden_size], "data_offsets": [0, 4 * architecture().hidden_size]},
        },
        "data": 4 * architecture().hidden_size, "byte": 60,
    });
    let all = [plain, small].map(|input| input.to_string().into_bytes());
    all.into()
}
