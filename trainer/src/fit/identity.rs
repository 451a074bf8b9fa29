//! What makes a run the same run, part by part, so that a refusal can say which part differs.

mod written;

use potluck_protocol::base::Architecture;
use serde::{Deserialize, Serialize};

use super::config::FitConfig;
use crate::data::sample::Sample;
pub use written::cpu_engine;

/// What the caller knows of where a run's inputs come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    /// Names the base's weights: a base id.
    pub base: &'a str,
    /// Names the chat template, if rows were rendered by one.
    pub template: &'a str,
    /// Names the arithmetic: other kernels or float types give other bits.
    pub engine: &'a str,
}

/// Digests of everything that decides a run's bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunId {
    base: String,
    template: String,
    engine: String,
    data: String,
    held_out: String,
    start: String,
    settings: String,
}

impl RunId {
    /// `start` is the flat adapter before the first step.
    pub fn new(
        config: &FitConfig,
        source: Source<'_>,
        architecture: &Architecture,
        samples: &[Sample],
        held_out: &[Sample],
        start: &[f32],
    ) -> Self {
        let list = |samples: &[Sample]| digest(samples.iter().map(|sample| written::sample(sample).into_bytes()));
        let text = |text: &str| digest([text.as_bytes().to_vec()]);
        Self {
            base: digest([source.base.as_bytes().to_vec(), written::architecture(architecture).into_bytes()]),
            template: text(source.template),
            engine: text(source.engine),
            data: list(samples),
            held_out: list(held_out),
            start: digest(start.chunks(1 << 16).map(|part| part.iter().flat_map(|x| x.to_le_bytes()).collect())),
            settings: text(&written::settings(config)),
        }
    }

    /// In words, the parts in which another run differs; empty if it is this one.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            (&self.base, &other.base, "another base"),
            (&self.engine, &other.engine, "another backend or float type"),
            (&self.template, &other.template, "another template"),
            (&self.data, &other.data, "other data"),
            (&self.held_out, &other.held_out, "other held-out data"),
            (&self.start, &other.start, "another start"),
            (&self.settings, &other.settings, "other settings"),
        ];
        parts.into_iter().filter(|(a, b, _)| a != b).map(|(.., words)| words).collect()
    }
}

/// Length first, so that no two lists of parts read the same.
fn digest(parts: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 training run/2");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(&part);
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small::architecture;
    use crate::model::block::Recompute;

    #[test]
    fn a_difference_is_named() {
        let config = FitConfig::default();
        let source = Source { base: "b", template: "t", engine: "e" };
        let sample = |id: u32| Sample::completing(vec![id, 2], 1);
        let of = |config: &FitConfig, source: Source<'_>, id: u32, start: f32| {
            RunId::new(config, source, &architecture(), &[sample(id)], &[], &[start])
        };
        let first = of(&config, source, 1, 0.0);
        let check = |other: RunId, words: &[&str]| assert_eq!(first.differences(&other), words);
        check(of(&config, source, 1, 0.0), &[]);
        check(of(&FitConfig { checkpoint_every: 1, ..config.clone() }, source, 1, 0.0), &[]);
        check(of(&FitConfig { recompute: Recompute::Full, ..config.clone() }, source, 1, 0.0), &[]);
        check(of(&FitConfig { seed: 1, ..config.clone() }, source, 1, 0.0), &["other settings"]);
        check(of(&config, source, 5, 0.0), &["other data"]);
        check(of(&config, source, 1, 0.5), &["another start"]);
        check(of(&config, Source { template: "u", ..source }, 1, 0.0), &["another template"]);
        check(
            of(&config, Source { base: "c", engine: "f", ..source }, 1, 0.0),
            &["another base", "another backend or float type"],
        );
    }
}
