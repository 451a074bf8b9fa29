//! The settings of `potluck train`: flags with PEFT's and the Hugging Face trainer's names, or a file with the same.

use std::path::Path;

use clap::Args;
use potluck_protocol::limits::JSON_MAX;
use potluck_trainer::fit::watch::{EarlyStopping, Keep};

use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::{TrainSettings, named};

/// The settings' own flags, and those that together make one setting.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    settings: TrainSettings,
    /// Stop after this many evaluations in a row without improvement
    #[arg(long, value_name = "N", requires = "eval_every")]
    early_stopping: Option<u32>,
    /// Decrease of the held-out loss that counts as an improvement; small ones accumulate
    #[arg(long, default_value_t = 0.0, value_name = "LOSS", requires = "early_stopping")]
    min_delta: f64,
    /// The state that becomes the adapter: `best` (lowest held-out loss) or `last` [default: best with --eval-every]
    #[arg(long, value_name = "STATE", value_parser = named::<Keep>())]
    keep: Option<Keep>,
}

impl Flags {
    /// What the flags say together.
    pub fn settings(&self) -> TrainSettings {
        let watched = if self.settings.eval_every > 0 { Keep::Best } else { Keep::Last };
        TrainSettings {
            early_stopping: self.early_stopping.map(|patience| EarlyStopping { patience, min_delta: self.min_delta }),
            keep: self.keep.unwrap_or(watched),
            ..self.settings.clone()
        }
    }
}

/// Settings from a file.
pub fn read(path: &Path) -> Outcome<TrainSettings> {
    let bytes = potluck_trainer::files::read(path, JSON_MAX as u64)
        .map_err(|error| Failure::io(format!("read {}", path.display()), &error))?;
    let wrong = |reason: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("{}: {reason}", path.display()))
            .hint("take the training.json beside an adapter that `potluck train` wrote, and change what should differ")
    };
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error))
}

/// What the types do not say, with the flag that says it.
pub fn check(settings: &TrainSettings) -> Outcome<()> {
    let positive = [
        ("--r", u64::from(settings.r)),
        ("--max-steps", settings.max_steps),
        ("--batch-size", settings.batch_size as u64),
        ("--gradient-accumulation", settings.gradient_accumulation as u64),
        ("--micro-batch-tokens", settings.micro_batch_tokens.unwrap_or(1) as u64),
        ("--max-length", settings.max_length as u64),
        ("--rehearsal-tokens", settings.rehearsal_tokens as u64),
        ("--early-stopping", settings.early_stopping.map_or(1, |stopping| stopping.patience).into()),
    ];
    if let Some((flag, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(Failure::new(Kind::Usage, format!("{flag} is 0")).hint(format!("give {flag} a number above 0")));
    }
    let TrainSettings { learning_rate, weight_decay, max_grad_norm, lora_dropout, .. } = *settings;
    if !(learning_rate.is_finite() && learning_rate >= 0.0 && weight_decay >= 0.0 && max_grad_norm > 0.0) {
        return Err(Failure::new(Kind::Usage, "a rate, decay or norm is negative or not a number")
            .hint("e.g. `--learning-rate 2e-4 --weight-decay 0 --max-grad-norm 1`"));
    }
    if !(0.0..1.0).contains(&lora_dropout) {
        return Err(Failure::new(Kind::Usage, format!("--lora-dropout {lora_dropout} is not at least 0 and below 1"))
            .hint("e.g. `--lora-dropout 0.05`"));
    }
    if settings.eval_every == 0 && (settings.early_stopping.is_some() || settings.keep == Keep::Best) {
        return Err(Failure::new(Kind::Usage, "nothing is evaluated during the run")
            .hint("give --eval-every STEPS and --held-out FILE.jsonl"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use potluck_trainer::fit::config::Train;
    use potluck_trainer::lora::config::Targets;

    use super::*;
    use crate::worker::proto::Layers;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        flags: Flags,
    }

    fn typed(text: &str) -> Result<TrainSettings, String> {
        let words = std::iter::once("train").chain(text.split_whitespace());
        Typed::try_parse_from(words).map(|typed| typed.flags.settings()).map_err(|error| error.to_string())
    }

    #[test]
    fn no_flag_means_what_an_empty_file_means() {
        assert_eq!(typed("").unwrap(), TrainSettings::default());
        assert_eq!(serde_json::from_str::<TrainSettings>("{}").unwrap(), TrainSettings::default());
    }

    #[test]
    fn what_is_typed_comes_back_from_its_file() {
        let settings = typed(
            "--r 4 --use-rslora --lora-dropout 0.1 --target-modules .*\\.(up|down)_proj --layers-to-transform 0-2,5 \
             --train b --micro-batch-tokens 512 --recompute full --dtype f32 --eval-every 5 --early-stopping 3 --min-delta 0.01",
        )
        .unwrap();
        assert_eq!(settings.layers_to_transform, Some(Layers(vec![0, 1, 2, 5])));
        assert_eq!((settings.keep, settings.train), (Keep::Best, Train::B));
        assert_eq!(settings.target_modules, Targets::Pattern(r".*\.(up|down)_proj".to_owned()));
        check(&settings).unwrap();
        let file = serde_json::to_string_pretty(&settings).unwrap();
        assert_eq!(serde_json::from_str::<TrainSettings>(&file).unwrap(), settings);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (text, says) in [
            ("--layers-to-transform 3-1", "0-9,20"),
            ("--layers-to-transform 0-4000000000", "0-9,20"),
            ("--target-modules (", "no regular expression"),
            ("--train c", "[possible values: both, a, b]"),
            ("--keep first", "[possible values: last, best]"),
            ("--min-delta 1", "--early-stopping"),
        ] {
            let error = typed(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for text in ["--lora-dropout 1", "--keep best", "--micro-batch-tokens 0"] {
            let failure = check(&typed(text).unwrap()).unwrap_err();
            assert!(failure.kind == Kind::Usage && failure.hint.is_some(), "{text}: {failure}");
        }
    }
}
