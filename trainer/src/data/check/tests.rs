//! Reports on small files whose every figure can be counted by hand.

use proptest::prelude::*;

use super::*;
use crate::base::{Template, small};

const OPTIONS: Options =
    Options { max_length: 8, overlong: Overlong::Refuse, batch_tokens: 8, preview: 2, positions: None };

fn tokenizer() -> Tokenizer {
    // "!" is the end of text, and of a turn.
    let template = "{% for m in messages %}{{ m.content }}!{% endfor %}";
    small::tokenizer().with_template(Template::new(template.to_owned()))
}

fn report(text: &str, options: &Options) -> Report {
    let (rows, bad) = jsonl::survey_from(Path::new("d"), text.as_bytes()).unwrap();
    examine(rows.as_ref(), bad, &tokenizer(), options).unwrap()
}

fn row(prompt: &str, completion: &str) -> String {
    format!("{{\"prompt\":\"{prompt}\",\"completion\":\"{completion}\"}}\n")
}

#[test]
fn all_that_is_wrong_is_reported_not_only_the_first() {
    let text = [
        row("a", "b"),
        "{\"prompt\":\"a\"}\n".to_owned(),
        row("a", "b"),
        row("a", "c"),
        row("aaaaaaaa", "b"),
        row(" ", "a"),
        "{\"text\":\"a\"}\n".to_owned(),
        row("c", " "),
        row("aaaaaaaaa", "b"),
    ]
    .concat();
    let found = report(&text, &OPTIONS);
    assert!(!found.trainable());
    assert_eq!(found.bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [2, 5, 7, 9]);
    assert_eq!((found.kind, found.rows, found.samples, found.bad_rows), (Some(Kind::Completion), 7, 5, 4));
    assert_eq!(found.overlong, [(5, 10), (9, 11)].map(Tokens::from));
    assert_eq!((found.duplicates, found.duplicate_rows), (vec![vec![1, 3]], 2));
    assert_eq!((found.contradictions, found.contradicting_rows), (vec![vec![1, 3, 4]], 3));
    assert_eq!(
        found.blank.iter().map(|blank| (blank.line, &*blank.what)).collect::<Vec<_>>(),
        [(6, "prompt"), (8, "completion")]
    );
    let cut = report(&text, &Options { overlong: Overlong::Cut, ..OPTIONS });
    assert_eq!((cut.overlong_rows, cut.cut_rows, cut.bad_rows, cut.samples), (2, 2, 2, 7));
}

#[test]
fn trained_and_masked_text_are_told_apart() {
    let found = report(&row("ab", "ca"), &OPTIONS);
    let piece = |trained, text: &str| Piece { trained, text: text.to_owned(), lookalike: false };
    assert!(found.trainable());
    assert_eq!(found.preview, [Preview { line: 1, pieces: vec![piece(false, "ab"), piece(true, "ca!")], whole: true }]);
    assert_eq!((found.tokens, found.trained_tokens), (4, 3));
    let turn = |role: &str, content: &str| format!("{{\"role\":\"{role}\",\"content\":\"{content}\"}}");
    let turns = [turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "ab")];
    let found = report(&format!("{{\"messages\":[{}]}}", turns.join(",")), &OPTIONS);
    let pieces = [piece(false, "a!"), piece(true, "b!"), piece(false, "c!"), piece(true, "ab!")];
    assert_eq!(found.preview[0].pieces, pieces);
    assert_eq!(found.template, tokenizer().template().map(Template::digest));
    let bare = survey(&format!("{{\"messages\":[{}]}}", turns.join(",")));
    let error = examine(bare.0.as_ref(), bare.1, &small::tokenizer(), &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("no chat template"), "{error}");
}

#[test]
fn rows_that_reach_beyond_the_bases_positions_are_counted() {
    let text = [row("aaa", "b"), row("a", "b"), row("aaaa", "b")].concat();
    let found = report(&text, &Options { positions: Some(4), ..OPTIONS });
    assert_eq!(
        (found.beyond, found.beyond_rows, found.positions),
        ([(1, 5), (3, 6)].map(Tokens::from).into(), 2, Some(4))
    );
    let cut = Options { positions: Some(4), max_length: 4, overlong: Overlong::Cut, ..OPTIONS };
    assert_eq!(report(&text, &cut).beyond_rows, 0, "as they are trained on");
    assert_eq!(report(&text, &OPTIONS).beyond_rows, 0, "a base that does not say it");
}

fn survey(text: &str) -> (Option<Rows>, Vec<BadLine>) {
    jsonl::survey_from(Path::new("d"), text.as_bytes()).unwrap()
}

#[test]
fn lengths_are_by_nearest_rank() {
    let rows = (1..=200).map(|n| (n, n)).collect();
    let lengths = Lengths::of(rows).unwrap();
    assert_eq!(
        (lengths.p50, lengths.p90, lengths.p99, lengths.longest, lengths.longest_line),
        (100, 180, 198, 200, 200)
    );
    assert_eq!(lengths.mean, 100.5);
    assert_eq!(Lengths::of(vec![(3, 7), (4, 7)]).unwrap().longest_line, 3, "the first of equals");
    assert_eq!(Lengths::of(Vec::new()), None);
}

#[test]
fn texts_are_windows_and_a_file_without_rows_is_no_panic() {
    let found = report(&format!("{{\"text\":\"{}\"}}", "c".repeat(20)), &OPTIONS);
    assert_eq!((found.rows, found.samples, found.overlong_rows, found.trained_tokens), (1, 3, 0, 20));
    assert_eq!(found.packing, Packing { batch_tokens: 8, micro_batches: 3 });
    let found = report("{\n[]\n", &OPTIONS);
    assert_eq!((found.kind, found.rows, found.bad_rows, found.trainable()), (None, 0, 2, false));
}

proptest! {
    #[test]
    fn a_report_is_bounded_whatever_the_file(count in 1usize..400, same in any::<bool>()) {
        let text: String = (0..count).map(|n| row(&"a".repeat(if same { 1 } else { n % 7 }), "b")).collect();
        let found = report(&text, &OPTIONS);
        prop_assert_eq!(found.rows, count);
        prop_assert!(found.duplicates.iter().map(Vec::len).sum::<usize>() <= LISTED_MAX);
        prop_assert!(found.preview.len() <= OPTIONS.preview);
        if same {
            prop_assert_eq!(found.duplicate_rows, count * usize::from(count > 1));
        }
    }
}
