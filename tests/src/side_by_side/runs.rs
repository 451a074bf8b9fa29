//! Runs the plan, one process at a time, and keeps what each answered.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Outcome;
use super::plan::Run;

/// Every answer, one JSON object a line.
const ANSWERS: &str = "runs.jsonl";
/// Of a process's last words.
const WORDS_MAX: usize = 300;

/// Answers by the runs' ids, or why there is none.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    answers: BTreeMap<String, Vec<Value>>,
    failures: BTreeMap<String, String>,
}

impl Runs {
    /// Runs everything. Only a folder that cannot be written is an error.
    pub fn run(plan: &[Run], out: &Path) -> Outcome<Self> {
        let mut runs = Self::default();
        let mut log = File::create(out.join(ANSWERS))?;
        for (run, round) in turns(plan) {
            eprint!("{} ... ", run.id);
            let started = Instant::now();
            let answer = execute(run, &out.join(format!("{}.stderr", run.id)));
            let seconds = started.elapsed().as_secs_f64();
            match &answer {
                Ok(value) => eprintln!("{}, {seconds:.0} s", summary(value)),
                Err(reason) => eprintln!("failed after {seconds:.0} s: {reason}"),
            }
            let command: Vec<_> = run.args.iter().map(|arg| arg.to_string_lossy()).collect();
            let (value, error) = (answer.as_ref().ok(), answer.as_ref().err());
            let line = json!({ "id": run.id, "round": round, "seconds": seconds, "arguments": command, "answer": value, "error": error });
            writeln!(log, "{line}")?;
            match answer {
                Ok(value) => runs.add(&run.id, value),
                Err(reason) => runs.fail(&run.id, reason),
            }
        }
        Ok(runs)
    }

    pub fn add(&mut self, id: &str, answer: Value) {
        self.answers.entry(id.to_owned()).or_default().push(answer);
    }

    pub fn fail(&mut self, id: &str, reason: String) {
        self.failures.insert(id.to_owned(), reason);
    }

    /// The answers of all rounds; if one round failed, or none was run, why.
    pub fn of(&self, id: &str) -> Result<&[Value], String> {
        if let Some(reason) = self.failures.get(id) {
            return Err(format!("{id}: {reason}"));
        }
        self.answers.get(id).map(Vec::as_slice).ok_or_else(|| format!("{id}: not run"))
    }
}

/// The runs of each section, all of them once, then all again: A B A B.
fn turns(plan: &[Run]) -> Vec<(&Run, usize)> {
    let mut turns = Vec::new();
    for group in plan.chunk_by(|a, b| a.sections[0] == b.sections[0]) {
        let rounds = group.iter().map(|run| run.rounds).max().unwrap_or(0);
        for round in 0..rounds {
            turns.extend(group.iter().filter(|run| round < run.rounds).map(|run| (run, round)));
        }
    }
    turns
}

/// The last line of its standard output, which is one JSON object.
fn execute(run: &Run, stderr: &Path) -> Result<Value, String> {
    let words = File::create(stderr).map_err(|error| format!("{}: {error}", stderr.display()))?;
    let mut command = Command::new(&run.program);
    command.args(&run.args).env_remove("POTLUCK_HOME").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", run.program.display()))?;
    let text = read_within(&mut child, run.time_max)?;
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("{}, {status}", last_words(stderr)));
    }
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| format!("its last line is no JSON: {error}"))
}

/// Reads standard output to its end; a process that takes longer is killed.
fn read_within(child: &mut Child, time_max: Duration) -> Result<String, String> {
    let mut output = child.stdout.take().ok_or("no pipe")?;
    let (done, wait) = sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned());
        // Nobody listens any more after the time was up.
        let _late = done.send(read);
    });
    match wait.recv_timeout(time_max) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            // It may have ended this very moment.
            let _ended = child.kill();
            let _ended = child.wait();
            Err(format!("killed after {} s", time_max.as_secs()))
        }
    }
}

/// potluck says its error on a line of its own; of others the last line.
fn last_words(stderr: &Path) -> String {
    let bytes = std::fs::read(stderr).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = lines.clone().find_map(|line| line.strip_prefix("error: "));
    said.or_else(|| lines.next_back()).unwrap_or_default().chars().take(WORDS_MAX).collect()
}

/// What is worth a look while it runs.
fn summary(value: &Value) -> String {
    let figure = |name: &str, unit: &str| value[name].as_f64().map(|figure| format!("{figure:.1} {unit}"));
    let loss = value["losses"].as_array().and_then(|losses| losses.last()?.as_f64());
    let parts = [
        figure("tokens_per_second", "tokens/s"),
        figure("prompt_tokens_per_second", "prompt tokens/s"),
        figure("new_tokens_per_second", "new tokens/s"),
        figure("peak_rss_mb", "MB"),
        loss.map(|loss| format!("last loss {loss:.4}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Section;
    use super::*;

    fn run(id: &str, section: &'static [Section], rounds: usize, script: &str) -> Run {
        let args = vec!["-c".into(), script.into()];
        Run {
            id: id.into(),
            sections: section,
            rounds,
            program: "/bin/sh".into(),
            args,
            time_max: Duration::from_secs(60),
        }
    }

    #[test]
    fn runs_of_a_section_take_turns() {
        let plan = [
            run("a", &[Section::Speed], 2, ""),
            run("b", &[Section::Speed, Section::Memory], 2, ""),
            run("c", &[Section::Memory], 1, ""),
        ];
        let order: Vec<_> = turns(&plan).into_iter().map(|(run, round)| (run.id.as_str(), round)).collect();
        assert_eq!(order, [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("c", 0)]);
    }

    #[cfg(unix)]
    #[test]
    fn a_run_that_fails_or_hangs_loses_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut hangs = run("hangs", &[Section::Speed], 1, "exec sleep 600");
        hangs.time_max = Duration::from_millis(50);
        let plan = [
            run("fails", &[Section::Speed], 1, "echo '{}'; echo why >&2; exit 3"),
            hangs,
            run("babbles", &[Section::Speed], 1, "echo hello"),
            run("answers", &[Section::Speed], 2, "echo progress; echo '{\"losses\":[1.5]}'"),
        ];
        let runs = Runs::run(&plan, folder.path()).expect("writable");
        assert!(runs.of("fails").expect_err("failed").contains("why"));
        assert!(runs.of("hangs").expect_err("hung").contains("killed"));
        assert!(runs.of("babbles").is_err() && runs.of("never").is_err());
        assert_eq!(runs.of("answers").expect("fine").len(), 2);
        let log = std::fs::read_to_string(folder.path().join(ANSWERS)).expect("written");
        assert_eq!(log.lines().count(), 5);
    }
}
