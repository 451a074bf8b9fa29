//! A report on rows, in lines for people.

use potluck_trainer::data::check::{Preview, Report};

use crate::cli::output::{self, Terminal};

/// Lines of a list that people are shown; `--json` has more.
const SHOWN: usize = 10;

/// What stands around trained and around masked text.
#[derive(Clone, Copy)]
struct Marks {
    trained: [&'static str; 2],
    masked: [&'static str; 2],
}

impl Marks {
    const PLAIN: Self = Self { trained: ["[[", "]]"], masked: ["", ""] };
    /// Bold green, and dim.
    const COLOUR: Self = Self { trained: ["\u{1b}[1;32m", "\u{1b}[0m"], masked: ["\u{1b}[2m", "\u{1b}[0m"] };

    /// Colour on a terminal, brackets elsewhere.
    fn of(terminal: Terminal) -> Self {
        if terminal.is_terminal { Self::COLOUR } else { Self::PLAIN }
    }
}

pub fn render(report: &Report, terminal: Terminal) -> Vec<String> {
    let marks = Marks::of(terminal);
    let mut lines = vec![format!("{} rows: {}", report.rows, report.kind_name())];
    lines.extend(render_sizes(report));
    lines.extend(render_remarks(report));
    lines.extend(report.tokenizer.as_deref().map(output::plain));
    lines.extend(report.template.map(|digest| format!("chat template {digest}")));
    lines.extend(report.ending.as_deref().map(output::plain));
    lines.extend(report.data.map(|digest| format!("data {digest}")));
    report.preview.iter().for_each(|preview| lines.extend(render_preview(preview, marks)));
    if report.bad_rows > 0 {
        lines.push(format!("{} rows cannot be trained on:", report.bad_rows));
        let bad = report.bad.iter().take(SHOWN);
        lines.extend(bad.map(|bad| format!("  line {}: {}", bad.line, output::plain(&bad.reason))));
        lines.extend(more(report.bad_rows));
    }
    lines
}

/// Lengths, samples and micro-batches.
fn render_sizes(report: &Report) -> Vec<String> {
    let lengths = report.lengths.as_ref().map(|lengths| {
        format!(
            "tokens a row: mean {:.1}, median {}, 90 % up to {}, 99 % up to {}, longest {} (line {})",
            lengths.mean, lengths.p50, lengths.p90, lengths.p99, lengths.longest, lengths.longest_line
        )
    });
    let mut lines: Vec<_> = lengths.into_iter().collect();
    if report.samples > 0 {
        let share = report.trained_tokens as f64 / report.tokens.max(1) as f64;
        let (samples, tokens, trained) = (report.samples, report.tokens, report.trained_tokens);
        lines.push(format!(
            "{samples} samples, {tokens} tokens, {trained} of them trained ({})",
            output::percent(share)
        ));
        let packing = &report.packing;
        let fill = tokens as f64 / (packing.micro_batches * packing.batch_tokens).max(1) as f64;
        lines.push(format!(
            "micro-batches of {} tokens: {}, {} full",
            packing.batch_tokens,
            packing.micro_batches,
            output::percent(fill)
        ));
    }
    lines
}

/// What a person may want to look at, though none of it keeps rows from being trained on but refused lengths.
fn render_remarks(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let mut remark = |head: String, rows: Vec<String>, count: usize| {
        if count > 0 {
            lines.push(list(&head, &rows, count));
        }
    };
    let group = |lines: &Vec<usize>| lines.iter().map(usize::to_string).collect::<Vec<_>>().join(" = ");
    let what = if report.cut_rows == report.overlong_rows { "cut" } else { "refused" };
    remark(
        format!("{} rows over {} tokens, {what}", report.overlong_rows, report.max_length),
        report.overlong.iter().map(|row| format!("{} ({})", row.line, row.tokens)).collect(),
        report.overlong_rows,
    );
    remark(
        format!(
            "{} rows are longer than the {} positions that the base was made for (max_position_embeddings): the base was not trained on later positions",
            report.beyond_rows,
            report.positions.unwrap_or_default()
        ),
        report.beyond.iter().map(|row| format!("{} ({})", row.line, row.tokens)).collect(),
        report.beyond_rows,
    );
    remark(
        format!("{} rows are duplicates", report.duplicate_rows),
        report.duplicates.iter().map(group).collect(),
        report.duplicates.len(),
    );
    remark(
        format!("{} rows have the same prompt and different answers", report.contradicting_rows),
        report.contradictions.iter().map(group).collect(),
        report.contradictions.len(),
    );
    remark(
        format!("{} rows have a blank text", report.blank_rows),
        report.blank.iter().map(|blank| format!("{} ({})", blank.line, blank.what)).collect(),
        report.blank_rows,
    );
    remark(
        format!(
            "{} rows have a token that would span the start of an answer: the answer is encoded separately",
            report.apart_rows
        ),
        report.apart.iter().map(usize::to_string).collect(),
        report.apart_rows,
    );
    remark(
        format!(
            "{} rows already contain the begin or end of text, so a template has been applied; it is not added twice",
            report.written_rows
        ),
        report.written.iter().map(usize::to_string).collect(),
        report.written_rows,
    );
    lines
}

/// `rows` are some of `count`.
fn list(head: &str, rows: &[String], count: usize) -> String {
    let rows = &rows[..rows.len().min(SHOWN)];
    let more = if count > SHOWN { ", ..." } else { "" };
    format!("{head}: lines {}{more}", rows.join(", "))
}

fn more(count: usize) -> Option<String> {
    (count > SHOWN).then(|| format!("  and {} more (--json lists up to 100)", count - SHOWN))
}

/// The text of a row in its own lines, with the marks around each line of a piece so that none is left open.
fn render_preview(preview: &Preview, marks: Marks) -> Vec<String> {
    let mut text = String::new();
    for piece in &preview.pieces {
        let [open, close] = if piece.trained { marks.trained } else { marks.masked };
        let lines: Vec<_> = piece.text.split('\n').map(output::plain).collect();
        // What looks like a token and is none is told apart.
        let close = if piece.lookalike { format!("{close}(text)") } else { close.to_owned() };
        let marked = |line: &String| if line.is_empty() { String::new() } else { format!("{open}{line}{close}") };
        text.push_str(&lines.iter().map(marked).collect::<Vec<_>>().join("\n"));
    }
    let end = if preview.whole { "" } else { " ..." };
    let mut lines = vec![format!("--- line {}", preview.line)];
    lines.extend(format!("{text}{end}").lines().map(|line| format!("  {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use potluck_trainer::data::check::Piece;

    use super::*;
    use crate::cli::snapshots::check;
    use potluck_trainer::data::check::{Lengths, Packing, Tokens};
    use potluck_trainer::data::row::Kind;

    #[test]
    fn trained_text_stands_in_marks_and_cannot_steer_the_terminal() {
        let piece = |trained, text: &str| Piece { trained, text: text.to_owned(), lookalike: false };
        let pieces = vec![piece(false, "<|user|>\nhi\u{1b}[2J\n"), piece(true, "a\n\nb<|end|>"), piece(false, "\n")];
        let preview = Preview { line: 7, pieces, whole: true };
        let plain = render_preview(&preview, Marks::PLAIN);
        assert_eq!(plain, ["--- line 7", "  <|user|>", "  hi [2J", "  [[a]]", "  ", "  [[b<|end|>]]"]);
        let colour = render_preview(&preview, Marks::COLOUR);
        assert_eq!(colour[3], "  \u{1b}[1;32ma\u{1b}[0m");
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let rows = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(list("x", &rows(2), 2), "x: lines 0, 1");
        assert_eq!(list("x", &rows(20), 20), "x: lines 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...");
    }

    #[test]
    fn what_is_seen() {
        let piece = |trained, text: &str| Piece { trained, text: text.to_owned(), lookalike: false };
        let pieces = vec![piece(false, "<|user|>\nhi\n"), piece(true, "hello<|end|>")];
        let report = Report {
            kind: Some(Kind::Chat),
            rows: 300,
            samples: 299,
            tokens: 29_000,
            trained_tokens: 7_000,
            lengths: Lengths::of((1..=300).map(|line| (line, 90 + line % 20)).collect()),
            max_length: 100,
            overlong: vec![Tokens { line: 19, tokens: 109 }],
            overlong_rows: 1,
            packing: Packing { micro_batches: 8, batch_tokens: 4096 },
            preview: vec![Preview { line: 7, pieces, whole: true }],
            ..Report::default()
        };
        check("data-check", |terminal| render(&report, terminal));
        check("data-check-empty", |terminal| render(&Report::default(), terminal));
    }
}
