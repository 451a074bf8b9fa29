//! Starts children of [`crate::crash`], kills them, and has a further process look at what they left.
//!
//! The looking is done in a process of its own because this one starts others all the time, and what it holds open (a
//! lock, say) they hold too until they run their own program.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use potluck_node::failpoint;

use crate::crash::{Ack, Outcome, draw};

/// When a child is killed: so many microseconds after so many acknowledgements.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub acks: u64,
    pub micros: u64,
}

impl Moment {
    /// The first instants of a process as often as its hundreds of milliseconds.
    pub fn of(seed: u64) -> Self {
        let micros = 1 << (8 + draw(&format!("scale {seed}"), 9));
        Self { acks: draw(&format!("acks {seed}"), 9), micros: draw(&format!("moment {seed}"), micros) }
    }
}

/// `potluck-tests`, as a program to start.
#[derive(Clone, Debug)]
pub struct Killer {
    program: PathBuf,
}

impl Killer {
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    fn command(&self, verb: &str, root: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(verb).arg(root).env_remove(failpoint::VARIABLE).stderr(Stdio::piped());
        command
    }

    /// Works in `root` until the failpoint, or to the end.
    pub fn run(&self, root: &Path, seed: u64, steps: u64, failpoint: Option<&str>) -> Outcome<(Vec<Ack>, ExitStatus)> {
        let mut command = self.command("crash-child", root);
        command.args([seed.to_string(), steps.to_string()]);
        command.envs(failpoint.map(|text| (failpoint::VARIABLE, text)));
        let output = command.output()?;
        Ok((acks(&String::from_utf8(output.stdout)?)?, output.status))
    }

    /// Works in `root` until killed at the moment.
    pub fn kill(&self, root: &Path, seed: u64, moment: Moment) -> Outcome<Vec<Ack>> {
        let mut command = self.command("crash-child", root);
        let mut child = command.args([seed.to_string(), "100000".to_owned()]).stdout(Stdio::piped()).spawn()?;
        let mut out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut text = String::new();
        for _ in 0..moment.acks {
            out.read_line(&mut text)?;
        }
        // The moment itself is what is tested: nothing tells when it has come.
        std::thread::sleep(Duration::from_micros(moment.micros));
        child.kill()?;
        out.read_to_string(&mut text)?;
        if child.wait()?.success() {
            return Err("the child ended before it was killed".into());
        }
        acks(&text)
    }

    /// Looks for everything that was acknowledged, as the next process would.
    pub fn look(&self, root: &Path, acks: &[Ack], when: &str) -> Outcome<()> {
        let mut child = self.command("crash-check", root).stdin(Stdio::piped()).spawn()?;
        // It reads everything before it can fail.
        child.stdin.take().ok_or("no pipe")?.write_all(&serde_json::to_vec(acks)?)?;
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{when}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// One a line; a line that the kill cut in half acknowledges nothing.
fn acks(text: &str) -> Outcome<Vec<Ack>> {
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    Ok(whole.map(serde_json::from_str).collect::<Result<_, _>>()?)
}
