//! The demo's progress: phases in order, and one bar for each volunteer while they train.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::ipc::Progress;
use crate::lock::lock;

/// Between two lines of one volunteer where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub struct Show {
    quiet: bool,
    terminal: bool,
    bars: MultiProgress,
    started: Instant,
}

impl Show {
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { quiet, terminal, bars: MultiProgress::new(), started: Instant::now() }
    }

    pub fn phase(&self, text: &str) {
        if !self.quiet {
            // If standard error is closed there is nobody to tell.
            let _closed = writeln!(std::io::stderr().lock(), "[{:3.0} s] {text}", self.started.elapsed().as_secs_f64());
        }
    }

    /// The progress of one volunteer's training.
    pub fn training(&self, skill: &str) -> Training<'_> {
        Training { show: self, skill: skill.to_owned(), bar: Mutex::new(None), last: Mutex::new(None) }
    }
}

/// One volunteer's bar, or its lines.
pub struct Training<'a> {
    show: &'a Show,
    skill: String,
    bar: Mutex<Option<ProgressBar>>,
    last: Mutex<Option<Instant>>,
}

impl Training<'_> {
    pub fn report(&self, progress: &Progress) {
        let Progress::Step { step, steps, loss, tokens_per_second, .. } = progress else { return };
        if self.show.quiet {
            return;
        }
        let text = format!("{:>8}  loss {loss:.4}  {tokens_per_second:.0} tok/s", self.skill);
        if self.show.terminal {
            let mut bar = lock(&self.bar);
            let bar = bar.get_or_insert_with(|| self.new_bar(*steps));
            bar.set_position(*step);
            bar.set_message(text);
            if step >= steps {
                bar.finish();
            }
            return;
        }
        let mut last = lock(&self.last);
        if step >= steps || last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            *last = Some(Instant::now());
            self.show.phase(&format!("{text}  step {step} of {steps}"));
        }
    }

    fn new_bar(&self, steps: u64) -> ProgressBar {
        let bar = self.show.bars.add(ProgressBar::new(steps));
        // The template is a constant: if it were wrong, the default style is shown.
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos:>5}/{len} {msg}") {
            bar.set_style(style);
        }
        bar
    }
}
