//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::global::Global;
use super::output;
use crate::ipc::{Progress, Unit};

/// Between two lines of the same phase where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the reports of one request.
pub struct Reporter {
    quiet: bool,
    /// Standard output is for one JSON object: generated text comes within it.
    json: bool,
    terminal: bool,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Reporter {
    pub fn new(global: &Global) -> Self {
        let Global { quiet, json, .. } = *global;
        Self { quiet, json, terminal: std::io::stderr().is_terminal(), bar: None, last_line: None }
    }

    /// Shows one report. Text that a model generates goes to standard output, everything else to standard error.
    pub fn report(&mut self, progress: Progress) {
        if let Progress::Text { text } = progress {
            if !self.json {
                output::generated(&text, std::io::stdout().is_terminal());
            }
            return;
        }
        if self.quiet {
            return;
        }
        match progress {
            Progress::Phase { text } => self.phase(&text),
            Progress::Count { what, done, total, unit } => {
                let (so_far, all) = match unit {
                    Unit::Bytes => (output::bytes(done), output::bytes(total)),
                    Unit::Items => (done.to_string(), total.to_string()),
                };
                self.advance(done, total, &format!("{what}: {so_far} of {all}"));
            }
            Progress::Step { step, steps, loss, tokens_per_second, seconds_left } => {
                let left = indicatif::HumanDuration(Duration::from_secs_f64(seconds_left.clamp(0.0, 1e9)));
                let text =
                    format!("step {step} of {steps}  loss {loss:.4}  {tokens_per_second:.0} tok/s  {left:#} left");
                self.advance(step, steps, &text);
            }
            Progress::Text { .. } => {}
        }
    }

    fn phase(&mut self, text: &str) {
        self.clear();
        self.last_line = None;
        note(text);
    }

    fn advance(&mut self, done: u64, total: u64, text: &str) {
        if self.terminal {
            let bar = self.bar.get_or_insert_with(|| new_bar(total));
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(output::plain(text));
            if done >= total {
                self.clear();
                note(text);
            }
        } else if done >= total || self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            note(text);
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A line for a person, beside the answer.
pub fn note(text: &str) {
    use std::io::Write;
    let _closed = writeln!(std::io::stderr().lock(), "{}", output::plain_lines(text));
}

fn new_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
    // The template is a constant: if it were wrong, the default style is shown.
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
        bar.set_style(style);
    }
    bar
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.clear();
    }
}
