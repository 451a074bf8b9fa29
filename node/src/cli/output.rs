//! Answers: one JSON object as the last line of standard output, or lines for people.

use std::io::Write;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::args::Global;
use crate::failure::{Failure, Kind, Outcome};

/// Prints the object on one line. A closed pipe is no error: the reader had enough.
pub fn json(value: &Value) {
    line(&value.to_string());
}

/// Prints one line for a person.
pub fn line(text: &str) {
    let _closed_pipe = writeln!(std::io::stdout().lock(), "{text}");
}

/// With `--json` the answer as it is, else what `human` makes of it.
pub fn answer<T: DeserializeOwned>(global: &Global, answer: Value, human: impl FnOnce(T) -> Vec<String>) -> Outcome<()> {
    if global.json {
        json(&answer);
        return Ok(());
    }
    let typed = serde_json::from_value(answer).map_err(|error| {
        Failure::new(Kind::Incompatible, format!("the answer is not what this version expects: {error}"))
            .hint("daemon and command are of different versions: restart the daemon with `potluck up`")
    })?;
    human(typed).iter().for_each(|text| line(text));
    Ok(())
}

/// Sizes for people: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A share as percent: `97.5 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Rows under a head, columns as wide as their widest cell, the first column to the left and the others to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([head[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let render = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![render(&mut head.iter().copied())];
    lines.push("-".repeat(lines[0].chars().count().max(widths.iter().sum::<usize>() + 2 * (widths.len().max(1) - 1))));
    lines.extend(rows.iter().map(|row| render(&mut row.iter().map(String::as_str))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["dates".into(), "0.0 %".into()], vec!["a longer name".into(), "97.5 %".into()]];
        let lines = table(&["skill", "base"], &rows);
        assert_eq!(lines, ["skill            base", "---------------------", "dates           0.0 %", "a longer name  97.5 %"]);
    }
}
