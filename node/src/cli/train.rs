//! `potluck train`

use std::path::PathBuf;

use clap::Args;
use potluck_trainer::data::row;

use super::global::Global;
use super::train_flags::{self, Flags};
use super::{ask::ask, output, references};
use crate::api::answers::Trained;
use crate::api::ask::Ask;
use crate::api::proto;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::TrainSettings;

/// Train a LoRA adapter on rows and write it as a PEFT folder.
///
/// The data is JSON lines of one kind: {"prompt": "...", "completion": "..."}, of which the loss counts the completion;
/// {"messages": [{"role": "user", "content": "..."}, ...]}, written by the base's chat template, of which it counts every
/// assistant turn; or {"text": "..."}, of which it counts all. `potluck data check` shows what that means for a file.
///
/// During a run, OUT.run contains its checkpoint, metrics (metrics.jsonl), settings (training.json) and identity
/// (potluck.json). To resume an interrupted run from its last checkpoint, repeat the command: the result has the same
/// bits, even with another number of threads. The last three files end up in the adapter's folder; none of them is
/// published.
#[derive(Debug, Args)]
pub struct Train {
    /// Base model: folder, .gguf file, name, base id, OWNER/NAME on the hub, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    /// Training rows
    #[arg(long, value_name = "FILE.jsonl")]
    data: PathBuf,
    /// Rows to evaluate on at the end of the run, and during it with --eval-every
    #[arg(long, value_name = "FILE.jsonl")]
    held_out: Option<PathBuf>,
    /// Prompts whose answers should not change: rows of {"prompt": "..."} that the base answers itself before the run.
    /// An adapter with rehearsal disturbs others less when it is merged with them
    #[arg(long, value_name = "FILE.jsonl")]
    rehearsal: Option<PathBuf>,
    /// Adapter to continue from: folder, name or id. It decides the rank and the modules
    #[arg(long, value_name = "REF", conflicts_with_all = ["r", "target_modules", "exclude_modules", "layers_to_transform"])]
    from: Option<String>,
    /// The PEFT folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings from a file, such as the training.json of an earlier run, instead of all the flags below
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["Flags", "TrainSettings"])]
    config: Option<PathBuf>,
    /// Threads [default: all processors]; the result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
    #[command(flatten)]
    flags: Flags,
}

pub async fn run(global: &Global, verb: &Train) -> Outcome<()> {
    let trained = ask(global, verb.request(global)?).await?;
    let (potluck, base) = (program(global), output::shell(&verb.base));
    output::answer(global, proto::Train::SCHEMA, &trained, |trained, _| render(trained, &potluck, &base))
}

/// `potluck` and `base` are typed again in what to do next.
fn render(trained: &Trained, potluck: &str, base: &str) -> Vec<String> {
    let mut lines = vec![format!(
        "trained {} steps{}, loss {:.4}, {:.0} tokens per second",
        trained.steps,
        if trained.stopped_early { " (stopped early)" } else { "" },
        trained.loss,
        trained.tokens_per_second
    )];
    if trained.kept < trained.steps {
        lines.push(format!("kept the best state, that of step {}", trained.kept));
    }
    if let Some(measured) = &trained.held_out {
        lines.push(format!("held out: {}, loss {:.4}", output::exact(measured), measured.loss));
    }
    // An adapter that learned to answer is asked as it was taught.
    let chat = if trained.rows == row::Kind::Chat { "--chat " } else { "" };
    let folder = output::shell(&trained.folder.to_string_lossy());
    lines.push(format!("next: {potluck} generate --base {base} --adapter {folder} {chat}PROMPT"));
    lines.push(format!("next: {potluck} publish {folder} --name NAME"));
    lines.push(trained.folder.display().to_string());
    lines
}

/// How the same home is asked again.
fn program(global: &Global) -> String {
    let home = global.home.as_ref().map(|home| format!(" --home {}", output::shell(&home.to_string_lossy())));
    format!("potluck{}", home.unwrap_or_default())
}

impl Train {
    fn request(&self, global: &Global) -> Outcome<proto::Train> {
        Ok(proto::Train {
            base: references::base(global, &self.base)?,
            data: config::absolute(&self.data)?,
            held_out: self.held_out.as_deref().map(config::absolute).transpose()?,
            rehearsal: self.rehearsal.as_deref().map(config::absolute).transpose()?,
            from: self.from.as_deref().map(references::absolute).transpose()?,
            out: config::absolute(&self.out)?,
            settings: self.settings()?,
        })
    }

    fn settings(&self) -> Outcome<TrainSettings> {
        let settings = match &self.config {
            Some(path) => train_flags::read(path)?,
            None => self.flags.settings(),
        };
        if settings.eval_every > 0 && self.held_out.is_none() {
            return Err(Failure::new(Kind::Usage, "there are no rows to evaluate on")
                .hint("give them with --held-out FILE.jsonl, or leave out --eval-every"));
        }
        train_flags::check(&settings)?;
        Ok(TrainSettings { threads: self.threads.unwrap_or_else(config::processors), ..settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Verb};
    use crate::cli::snapshots::{check, check_failures, refusal};
    use crate::worker::proto::Measured;

    #[test]
    fn what_is_seen() {
        let trained = Trained {
            folder: "/home/me/my adapter".into(),
            rows: row::Kind::Chat,
            steps: 200,
            kept: 200,
            stopped_early: false,
            tokens_per_second: 1234.5,
            loss: 0.0123,
            held_out: None,
        };
        let seen = |trained: &Trained| render(trained, "potluck", "model.gguf");
        check("train", |_| seen(&trained));
        let held_out = Some(Measured { samples: 30, exact_match: Some(0.9), loss: 0.25 });
        let early = Trained { steps: 120, kept: 80, stopped_early: true, held_out, ..trained.clone() };
        check("train-stopped-early", |_| seen(&early));
        let train = |cli: &Cli, verb: &Verb| match verb {
            Verb::Train(train) => train.request(&cli.global).map(drop),
            _ => Ok(()),
        };
        let words = "train --base tiny --data rows.jsonl --out adapter --eval-every 10";
        check_failures("train-error", &[refusal(words, train)]);
    }
}
