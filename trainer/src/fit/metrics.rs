//! `metrics.jsonl`: one line for each step and each evaluation, each of them once, however often the run was killed.
//!
//! ```text
//! {"step":1,"loss":2.31,"lr":0.0002,"grad_norm":0.8,"tokens":812,"tokens_per_second":3100.0,"seconds":0.26}
//! {"step":50,"eval_loss":1.92,"best":true,"seconds":1.1}
//! ```
//! Lines are appended as steps are done. A checkpoint is written only after the lines before it are durable; a run that
//! goes on from it cuts off what comes after.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fit::progress::{Evaluated, StepDone};

/// Bytes of a line that is read back; ours are a few hundred.
const LINE_MAX: u64 = 1 << 12;

/// The file, open at its end.
pub struct Metrics {
    file: File,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Step { step: u64, loss: f64, lr: f64, grad_norm: f64, tokens: usize, tokens_per_second: f64, seconds: f64 },
    Evaluated { step: u64, eval_loss: f64, best: bool, seconds: f64 },
}

/// What is needed of a line to know whether it stays.
#[derive(Deserialize)]
struct Place {
    step: u64,
    eval_loss: Option<f64>,
}

impl Metrics {
    /// Opens the file and keeps the lines of steps up to `step` and of evaluations up to `evaluated`.
    pub fn open(path: &Path, step: u64, evaluated: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let kept = kept(&file, step, evaluated)?;
        file.set_len(kept)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file })
    }

    /// Appends a step's line.
    pub fn step(&mut self, done: &StepDone) -> io::Result<()> {
        let StepDone { step, loss, lr, grad_norm, tokens, seconds, .. } = *done;
        let tokens_per_second = tokens as f64 / seconds.max(1e-9);
        self.append(&Line::Step { step, loss, lr, grad_norm, tokens, tokens_per_second, seconds })
    }

    /// Appends an evaluation's line.
    pub fn evaluated(&mut self, evaluated: &Evaluated) -> io::Result<()> {
        let Evaluated { step, loss, best, seconds } = *evaluated;
        self.append(&Line::Evaluated { step, eval_loss: loss, best, seconds })
    }

    /// Makes what was appended durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// In one write, so that a kill leaves whole lines.
    fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.write_all(&bytes)
    }
}

/// Length of the lines that stay: up to the first one that is later, cut in half or unreadable.
fn kept(file: &File, step: u64, evaluated: u64) -> io::Result<u64> {
    let (mut reader, mut kept, mut line) = (BufReader::new(file), 0, Vec::new());
    loop {
        line.clear();
        let read = io::Read::take(&mut reader, LINE_MAX).read_until(b'\n', &mut line)?;
        let place = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Place>(line).ok());
        let stays = |place: Place| place.step <= if place.eval_loss.is_some() { evaluated } else { step };
        if !place.is_some_and(stays) {
            return Ok(kept);
        }
        kept += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> StepDone {
        StepDone {
            step,
            steps: 9,
            loss: 1.0 / step as f64,
            lr: 1e-3,
            grad_norm: 0.5,
            tokens: 10,
            seconds: 0.5,
            tokens_per_second: 0.0,
            seconds_left: 0.0,
        }
    }

    fn evaluated(step: u64) -> Evaluated {
        Evaluated { step, loss: 2.0, best: true, seconds: 1.0 }
    }

    fn steps(path: &Path) -> Vec<(u64, bool)> {
        let text = std::fs::read_to_string(path).unwrap();
        let place = |line: &str| serde_json::from_str::<Place>(line).unwrap();
        text.lines().map(place).map(|place| (place.step, place.eval_loss.is_some())).collect()
    }

    #[test]
    fn a_resumed_run_has_each_line_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::open(&path, 0, 0).unwrap();
        for n in 1..=4 {
            metrics.step(&step(n)).unwrap();
            if n == 2 {
                metrics.evaluated(&evaluated(n)).unwrap();
            }
        }
        // A line that the kill cut in half.
        metrics.file.write_all(b"{\"step\":5,\"lo").unwrap();
        let mut metrics = Metrics::open(&path, 3, 2).unwrap();
        metrics.step(&step(4)).unwrap();
        assert_eq!(steps(&path), [(1, false), (2, false), (2, true), (3, false), (4, false)]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(
            r#"{"step":1,"loss":1.0,"lr":0.001,"grad_norm":0.5,"tokens":10,"tokens_per_second":20.0,"seconds":0.5}"#
        ));
        // The evaluation at the checkpoint's own step had not been finished when it was saved.
        drop(Metrics::open(&path, 2, 0).unwrap());
        assert_eq!(steps(&path), [(1, false), (2, false)]);
        drop(Metrics::open(&path, 0, 0).unwrap());
        assert_eq!(steps(&path), []);
    }
}
