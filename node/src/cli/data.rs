//! `potluck data check`

mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use potluck_trainer::data::check::Report;
use potluck_trainer::data::tokenise::Overlong;

use super::global::Global;
use super::{ask::ask, output, references};
use crate::api::ask::Ask;
use crate::api::proto;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::{CheckSettings, TrainSettings, named};

/// Check training data.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Read rows as training does, and report lengths, trained and masked text, unusable rows and duplicates
    ///
    /// The exit code is 0 if `potluck train` accepts the file, 2 if not.
    Check(Check),
}

#[derive(Debug, Args)]
pub struct Check {
    /// Rows: JSON lines of {"prompt", "completion"}, of {"messages": [{"role", "content"}]}, or of {"text"}
    #[arg(value_name = "FILE.jsonl")]
    data: PathBuf,
    /// Base model whose tokenizer and chat template are used
    #[arg(long, value_name = "REF")]
    base: String,
    /// Longest row in tokens, as for `potluck train`
    #[arg(long, default_value_t = TrainSettings::default().max_length, value_name = "TOKENS")]
    max_length: usize,
    /// What to do with a longer row, as for `potluck train`
    #[arg(long, default_value_t, value_parser = named::<Overlong>())]
    overlong: Overlong,
    /// Tokens of a micro-batch, to estimate how many the rows fill [default: 4 times --max-length]
    #[arg(long, value_name = "TOKENS")]
    batch_tokens: Option<usize>,
    /// Rows to show, trained text in [[ ]] or in green
    #[arg(long, default_value_t = 3, value_name = "N")]
    preview: usize,
}

pub async fn run(global: &Global, verb: &Data) -> Outcome<()> {
    let Data::Check(check) = verb;
    let report = ask(global, check.request(global)?).await?;
    output::answer(global, proto::DataCheck::SCHEMA, &report, show::render)?;
    verdict(&check.data.display().to_string(), &report)
}

/// A file that training would refuse is a failure, after the whole report.
fn verdict(file: &str, report: &Report) -> Outcome<()> {
    if report.trainable() {
        return Ok(());
    }
    let first = report.bad.first().map(|bad| format!(", first {file}:{}: {}", bad.line, bad.reason));
    let message = format!("{} rows cannot be trained on{}", report.bad_rows, first.unwrap_or_default());
    Err(Failure::new(Kind::Usage, message)
        .hint("fix or remove these rows; for long ones use a larger --max-length or --overlong cut"))
}

impl Check {
    fn request(&self, global: &Global) -> Outcome<proto::DataCheck> {
        let batch_tokens = self.batch_tokens.unwrap_or(self.max_length.saturating_mul(4));
        if self.max_length < 2 || batch_tokens == 0 {
            return Err(Failure::new(Kind::Usage, "--max-length is below 2 or --batch-tokens is 0")
                .hint("e.g. `--max-length 1024`: a token is learned from the one before it"));
        }
        Ok(proto::DataCheck {
            base: references::base(global, &self.base)?,
            data: config::absolute(&self.data)?,
            settings: CheckSettings {
                max_length: self.max_length,
                overlong: self.overlong,
                batch_tokens,
                preview: self.preview,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::snapshots::check_failures;
    use potluck_trainer::data::check::Line;

    #[test]
    fn what_is_seen_of_rows_that_cannot_be_used() {
        let bad = vec![Line { line: 3, reason: "unknown field `instruction`".to_owned() }];
        let report = Report { rows: 2, bad, bad_rows: 1, ..Report::default() };
        let failure = verdict("rows.jsonl", &report).expect_err("one row is bad");
        check_failures("data-check-error", &[("data check rows.jsonl --base tiny", failure)]);
    }
}
