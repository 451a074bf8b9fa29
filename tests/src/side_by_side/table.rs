//! Lines as a table in markdown, as it stands in `docs/benchmarks.md`, and as JSON.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::line::{Bound, Line, Unit, Verdict};

/// Where and when it was measured.
#[derive(Clone, Debug)]
pub struct About {
    pub processor: String,
    pub processors: usize,
    pub threads: usize,
    /// UTC.
    pub date: String,
    pub commit: String,
    pub quick: bool,
}

impl About {
    pub fn of_this_machine(threads: usize, quick: bool) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            processor: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            threads,
            date: said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])),
            commit: said(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root)),
            quick,
        }
    }
}

/// What a program prints, or `unknown`.
fn said(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub fn markdown(about: &About, lines: &[Line]) -> String {
    let About { processor, processors, threads, date, commit, quick } = about;
    let small = if *quick { ". Small shapes: nothing here is a measurement" } else { "" };
    let mut text =
        format!("{date}, commit {commit}, {processor}, {processors} processors, {threads} threads{small}.\n\n");
    text.push_str("| what | potluck | beside it | figure | limit | aim | |\n|---|---|---|---|---|---|---|\n");
    for line in lines {
        let bound = |bound: Option<Bound>| bound.map_or_else(String::new, |bound| limit(bound, line.unit));
        let figure =
            line.figure.as_ref().map_or_else(|reason| reason.replace('|', "/"), |&figure| number(figure, line.unit));
        let cells =
            [&line.what, &line.ours, &line.beside, &figure, &bound(line.limit), &bound(line.aim), verdict(line)];
        text.push_str(&format!("| {} |\n", cells.join(" | ").replace("\n", " ")));
    }
    text
}

fn verdict(line: &Line) -> &'static str {
    match line.verdict() {
        Verdict::Holds => "holds",
        Verdict::Fails => "**fails**",
        Verdict::Missing => "not measured",
        Verdict::Reported => "",
    }
}

fn limit(bound: Bound, unit: Unit) -> String {
    match bound {
        Bound::AtLeast(least) => format!(">= {}", number(least, unit)),
        Bound::AtMost(most) => format!("<= {}", number(most, unit)),
    }
}

fn number(figure: f64, unit: Unit) -> String {
    match unit {
        _ if figure.is_nan() => "unknown".to_owned(),
        Unit::Times => format!("{figure:.2}x"),
        Unit::Gigabytes => format!("{figure:.2} GB"),
        Unit::Difference => format!("{figure:.2e}"),
        Unit::Gigaflops => format!("{figure:.0} GFLOP/s"),
        Unit::Count => format!("{figure}"),
    }
}

pub fn json(about: &About, lines: &[Line], holds: bool) -> Value {
    let bound = |bound: Option<Bound>| match bound {
        None => Value::Null,
        Some(Bound::AtLeast(least)) => json!({ "at_least": least }),
        Some(Bound::AtMost(most)) => json!({ "at_most": most }),
    };
    let line = |line: &Line| {
        json!({
            "what": line.what, "potluck": line.ours, "beside": line.beside,
            "figure": line.figure.as_ref().ok(), "error": line.figure.as_ref().err(),
            "limit": bound(line.limit), "aim": bound(line.aim), "holds": line.holds(),
        })
    };
    json!({
        "schema": "potluck.side-by-side/1", "date": about.date, "commit": about.commit, "processor": about.processor,
        "processors": about.processors, "threads": about.threads, "quick": about.quick,
        "lines": lines.iter().map(line).collect::<Vec<_>>(), "holds": holds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(figure: Result<f64, String>) -> Line {
        Line {
            what: "a step".to_owned(),
            ours: "310 tokens/s".to_owned(),
            beside: "100 tokens/s".to_owned(),
            figure,
            unit: Unit::Times,
            limit: Some(Bound::AtLeast(3.0)),
            aim: Some(Bound::AtLeast(4.0)),
        }
    }

    #[test]
    fn a_row_has_all_cells() {
        let lines = [line(Ok(3.1)), line(Ok(2.9)), line(Err("cpu: killed | gone\nnow".to_owned()))];
        let text = markdown(&About::of_this_machine(2, false), &lines);
        let rows: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(rows[0], "| a step | 310 tokens/s | 100 tokens/s | 3.10x | >= 3.00x | >= 4.00x | holds |");
        assert!(rows[1].ends_with("| **fails** |"));
        assert!(rows[2].contains("| cpu: killed / gone now |") && rows[2].ends_with("| not measured |"));
    }

    #[test]
    fn json_says_what_holds() {
        let object = json(&About::of_this_machine(2, false), &[line(Ok(2.9)), line(Err("why".to_owned()))], false);
        assert_eq!(object["lines"][0]["holds"], false);
        assert_eq!(object["lines"][0]["limit"]["at_least"], 3.0);
        assert_eq!(object["lines"][1]["error"], "why");
    }
}
