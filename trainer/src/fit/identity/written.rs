//! The texts of which a run's identity is made.
//!
//! They are written out here field by field, and never change: a run that an earlier version began is recognised by the
//! same bytes. (They are what Rust's `Debug` made of these types when the first runs were identified; numbers, texts,
//! options and lists are still written as the standard library's `Debug` writes them.)
//!
//! A setting that comes later is added behind the others, and only where it is not at its default: a run that does not use
//! it keeps its identity.

use potluck_protocol::base::{Architecture, Family};

use crate::backend::cpu::Precision;
use crate::backend::cpu::instructions::Instructions;
use crate::data::sample::Sample;
use crate::fit::config::{FitConfig, Train};
use crate::fit::watch::{EarlyStopping, Keep};
use crate::lora::config::{LoraConfig, Targets};
use crate::optim::AdamW;
use crate::optim::schedule::{Schedule, Shape};

/// A sample's ids and labelled spans.
pub(super) fn sample(sample: &Sample) -> String {
    format!("Sample {{ ids: {:?}, labels: {:?} }}", sample.ids, sample.labels())
}

/// The shape of a base.
pub(super) fn architecture(architecture: &Architecture) -> String {
    let Architecture {
        family: Family::Llama,
        vocab_size,
        hidden_size,
        intermediate_size,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        rms_norm_eps,
        rope_theta,
        tie_word_embeddings,
    } = architecture;
    let (eps, theta) = (u32::from(*rms_norm_eps), u32::from(*rope_theta));
    format!(
        "Architecture {{ family: Llama, vocab_size: {vocab_size}, hidden_size: {hidden_size}, intermediate_size: \
         {intermediate_size}, num_hidden_layers: {num_hidden_layers}, num_attention_heads: {num_attention_heads}, \
         num_key_value_heads: {num_key_value_heads}, head_dim: {head_dim}, rms_norm_eps: F32Bits({eps}), rope_theta: \
         F32Bits({theta}), tie_word_embeddings: {tie_word_embeddings} }}"
    )
}

/// Every setting that decides a run's bits. How often a run saves and what it computes twice changes none: these two stand
/// at 0 and `None`.
pub(super) fn settings(config: &FitConfig) -> String {
    let FitConfig {
        lora,
        optimizer: AdamW { lr, beta1, beta2, eps, weight_decay },
        schedule: Schedule { shape, warmup_steps },
        epochs,
        max_steps,
        batch_size,
        accumulation,
        micro_batch_tokens,
        max_grad_norm,
        train,
        seed,
        eval_every,
        early_stopping,
        keep,
        checkpoint_every: _,
        recompute: _,
    } = config;
    let (lora, shape, train, keep) = (self::lora(lora), self::shape(*shape), self::train(*train), self::keep(*keep));
    let early_stopping = self::early_stopping(*early_stopping);
    format!(
        "FitConfig {{ lora: {lora}, optimizer: AdamW {{ lr: {lr:?}, beta1: {beta1:?}, beta2: {beta2:?}, eps: {eps:?}, \
         weight_decay: {weight_decay:?} }}, schedule: Schedule {{ shape: {shape}, warmup_steps: {warmup_steps} }}, epochs: \
         {epochs}, max_steps: {max_steps:?}, batch_size: {batch_size}, accumulation: {accumulation}, micro_batch_tokens: \
         {micro_batch_tokens:?}, max_grad_norm: {max_grad_norm:?}, train: {train}, seed: {seed}, eval_every: {eval_every}, \
         early_stopping: {early_stopping}, keep: {keep}, checkpoint_every: 0, recompute: None }}"
    )
}

/// The cpu backend's arithmetic, as [`super::Source::engine`] names it.
pub fn cpu_engine(precision: Precision, instructions: Instructions) -> String {
    let precision = match precision {
        Precision::F32 => "F32",
        Precision::Bf16 => "Bf16",
    };
    let instructions = match instructions {
        Instructions::Portable => "Portable",
        Instructions::Neon => "Neon",
        Instructions::Avx2 => "Avx2",
        Instructions::Avx512 => "Avx512",
        Instructions::Avx512Bf16 => "Avx512Bf16",
    };
    format!("cpu {precision} {instructions}")
}

fn lora(config: &LoraConfig) -> String {
    let LoraConfig { r, lora_alpha, use_rslora, lora_dropout, target_modules, exclude_modules, layers_to_transform } =
        config;
    let targets = targets(target_modules);
    format!(
        "LoraConfig {{ r: {r}, lora_alpha: {lora_alpha:?}, use_rslora: {use_rslora}, lora_dropout: {lora_dropout:?}, \
         target_modules: {targets}, exclude_modules: {exclude_modules:?}, layers_to_transform: {layers_to_transform:?} }}"
    )
}

fn targets(targets: &Targets) -> String {
    match targets {
        Targets::AllLinear => "AllLinear".to_owned(),
        Targets::Names(names) => format!("Names({names:?})"),
        Targets::Pattern(pattern) => format!("Pattern({pattern:?})"),
    }
}

fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Constant => "Constant",
        Shape::Linear => "Linear",
        Shape::Cosine => "Cosine",
    }
}

fn train(train: Train) -> &'static str {
    match train {
        Train::Both => "Both",
        Train::A => "A",
        Train::B => "B",
    }
}

fn early_stopping(stopping: Option<EarlyStopping>) -> String {
    match stopping {
        None => "None".to_owned(),
        Some(EarlyStopping { patience, min_delta }) => {
            format!("Some(EarlyStopping {{ patience: {patience}, min_delta: {min_delta:?} }})")
        }
    }
}

fn keep(keep: Keep) -> &'static str {
    match keep {
        Keep::Last => "Last",
        Keep::Best => "Best",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small;
    use crate::model::block::Recompute;

    #[test]
    fn samples_and_architectures_are_written_as_ever() {
        let two = Sample::new((0..5).collect(), [1..2, 3..5]);
        assert_eq!(sample(&two), "Sample { ids: [0, 1, 2, 3, 4], labels: [1..2, 3..5] }");
        assert_eq!(sample(&Sample::new(Vec::new(), [])), "Sample { ids: [], labels: [] }");
        assert_eq!(
            architecture(&small::architecture()),
            "Architecture { family: Llama, vocab_size: 6, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, \
             num_attention_heads: 4, num_key_value_heads: 2, head_dim: 2, rms_norm_eps: F32Bits(925353388), rope_theta: \
             F32Bits(1176256512), tie_word_embeddings: true }"
        );
    }

    #[test]
    fn default_settings_are_written_as_ever() {
        assert_eq!(
            settings(&FitConfig::default()),
            "FitConfig { lora: LoraConfig { r: 16, lora_alpha: 32.0, use_rslora: false, lora_dropout: 0.0, target_modules: \
             AllLinear, exclude_modules: [], layers_to_transform: None }, optimizer: AdamW { lr: 0.0002, beta1: 0.9, beta2: \
             0.999, eps: 1e-8, weight_decay: 0.0 }, schedule: Schedule { shape: Cosine, warmup_steps: 0 }, epochs: 1, \
             max_steps: None, batch_size: 8, accumulation: 1, micro_batch_tokens: None, max_grad_norm: Some(1.0), train: \
             Both, seed: 0, eval_every: 0, early_stopping: None, keep: Last, checkpoint_every: 0, recompute: None }"
        );
    }

    /// Every field away from its default, texts that are escaped among them.
    #[test]
    fn all_settings_are_written_as_ever() {
        let config = FitConfig {
            lora: LoraConfig {
                r: 4,
                lora_alpha: 8.5,
                use_rslora: true,
                lora_dropout: 0.05,
                target_modules: Targets::Pattern(r".*\.[0-4]\.mlp\.up_proj".to_owned()),
                exclude_modules: vec!["k_proj".to_owned(), "a\"b".to_owned()],
                layers_to_transform: Some(vec![0, 3]),
            },
            optimizer: AdamW { lr: 1.0, beta1: 0.5, beta2: 0.95, eps: 1e-6, weight_decay: 0.01 },
            schedule: Schedule { shape: Shape::Linear, warmup_steps: 10 },
            epochs: 2,
            max_steps: Some(200),
            batch_size: 3,
            accumulation: 4,
            micro_batch_tokens: Some(512),
            max_grad_norm: None,
            train: Train::A,
            seed: u64::MAX,
            eval_every: 50,
            early_stopping: Some(EarlyStopping { patience: 3, min_delta: 0.01 }),
            keep: Keep::Best,
            checkpoint_every: 7,
            recompute: Recompute::Full,
        };
        assert_eq!(
            settings(&config),
            "FitConfig { lora: LoraConfig { r: 4, lora_alpha: 8.5, use_rslora: true, lora_dropout: 0.05, target_modules: \
             Pattern(\".*\\\\.[0-4]\\\\.mlp\\\\.up_proj\"), exclude_modules: [\"k_proj\", \"a\\\"b\"], \
             layers_to_transform: Some([0, 3]) }, optimizer: AdamW { lr: 1.0, beta1: 0.5, beta2: 0.95, eps: 1e-6, \
             weight_decay: 0.01 }, schedule: Schedule { shape: Linear, warmup_steps: 10 }, epochs: 2, max_steps: \
             Some(200), batch_size: 3, accumulation: 4, micro_batch_tokens: Some(512), max_grad_norm: None, train: A, seed: \
             18446744073709551615, eval_every: 50, early_stopping: Some(EarlyStopping { patience: 3, min_delta: 0.01 }), \
             keep: Best, checkpoint_every: 0, recompute: None }"
        );
    }

    #[test]
    fn every_variant_has_the_word_that_it_always_had() {
        let shapes = [Shape::Constant, Shape::Linear, Shape::Cosine].map(shape);
        let trains = [Train::Both, Train::A, Train::B].map(train);
        assert_eq!((shapes, trains), (["Constant", "Linear", "Cosine"], ["Both", "A", "B"]));
        assert_eq!([Keep::Last, Keep::Best].map(keep), ["Last", "Best"]);
        assert_eq!(targets(&Targets::AllLinear), "AllLinear");
        assert_eq!(
            targets(&Targets::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()])),
            r#"Names(["q_proj", "v_proj"])"#
        );
        let engines = Instructions::ALL.map(|instructions| cpu_engine(Precision::F32, instructions));
        let words = ["Portable", "Neon", "Avx2", "Avx512", "Avx512Bf16"];
        assert_eq!(engines, words.map(|word| format!("cpu F32 {word}")));
        assert_eq!(cpu_engine(Precision::Bf16, Instructions::Avx512Bf16), "cpu Bf16 Avx512Bf16");
    }
}
