//! `potluck data check`, and what training makes of rows of every kind: at the command line, with exit codes.

use std::fs;
use std::path::PathBuf;

use potluck_tests::kit::{Answer, Program, text};
use serde_json::{Value, json};

use crate::program;

/// A folder with a home, and a base that has a chat template: `tiny`'s own weights.
struct Bench {
    program: Program,
    root: tempfile::TempDir,
}

const TEMPLATE: &str = "{% for m in messages %}<|pad|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|pad|>assistant\n{% endif %}";

impl Bench {
    fn new() -> Self {
        Self { program: program(), root: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.program.run(&self.path("home"), args)
    }

    fn rows(&self, rows: &[Value]) -> String {
        let path = self.path("rows.jsonl");
        fs::write(&path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).expect("writable");
        text(&path)
    }

    /// `tiny` as a folder, with this template if there is one.
    fn base(&self, template: Option<&str>) -> String {
        let folder = self.path("base");
        fs::create_dir_all(&folder).expect("writable");
        for (name, bytes) in potluck_trainer::tiny::FILES {
            fs::write(folder.join(name), bytes).expect("writable");
        }
        if let Some(template) = template {
            fs::write(folder.join("chat_template.jinja"), template).expect("writable");
        }
        text(&folder)
    }

    fn check(&self, base: &str, rows: &[Value]) -> Answer {
        self.run(&["data", "check", &self.rows(rows), "--base", base, "--max-length", "200"])
    }
}

fn chat(turns: &[(&str, &str)]) -> Value {
    let turns: Vec<_> = turns.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
    json!({ "messages": turns })
}

#[test]
fn rows_of_every_kind_are_checked_trained_on_and_measured() {
    let bench = Bench::new();
    let base = bench.base(Some(TEMPLATE));
    let talk = [("user", "hi"), ("assistant", "hello"), ("user", "bye"), ("assistant", "ciao")];
    let kinds = [
        ("completion", json!({"prompt": "copy: a\n", "completion": "a"}), "a<|end|>"),
        ("chat", chat(&talk), "hello<|end|>"),
        ("text", json!({"text": "word"}), "ord<|end|>"),
    ];
    for (kind, row, trained) in kinds {
        let checked = bench.check(&base, &[row.clone(), row]);
        assert_eq!(
            (checked.code, &checked.json["kind"], &checked.json["rows"]),
            (0, &json!(kind), &json!(2)),
            "{checked:#?}"
        );
        assert_eq!(checked.json["duplicates"], json!([[1, 2]]));
        assert_eq!(checked.json["template"].is_string(), kind == "chat");
        let pieces = checked.json["preview"][0]["pieces"].as_array().expect("a list").clone();
        let learned = |piece: &Value| piece["trained"] == true && piece["text"].as_str() == Some(trained);
        assert!(pieces.iter().any(learned), "{pieces:?}");
        let (data, out) = (text(&bench.path("rows.jsonl")), text(&bench.path(kind)));
        let settings = ["--max-steps", "1", "--batch-size", "1", "--held-out", &data];
        let trained = bench.run(&[&["train", "--base", &base, "--data", &data, "--out", &out], &settings[..]].concat());
        assert_eq!(trained.code, 0, "{trained:#?}");
        assert_eq!(trained.json["held_out"]["exact_match"].is_null(), kind == "text", "{trained:#?}");
        let record: Value =
            serde_json::from_slice(&fs::read(bench.path(kind).join("potluck.json")).expect("there")).expect("JSON");
        assert_eq!(record["template"].is_string(), kind == "chat", "{record}");
    }
    let answer = bench.run(&["generate", "--chat", "--base", &base, "hi", "--max-new-tokens", "2"]);
    assert_eq!(answer.code, 0, "{answer:#?}");
}

/// A command that must fail with a code, name a cause, and say what to do.
#[track_caller]
fn refused(answer: &Answer, code: i32, says: &str) {
    assert_eq!(answer.code, code, "{answer:#?}");
    assert!(answer.stderr.contains(says), "`{says}` is not in {answer:#?}");
    assert!(answer.json["error"]["hint"].is_string(), "{answer:#?}");
}

/// A file of the base, with a field set.
fn set(base: &str, file: &str, field: &str, value: Value) {
    let path = PathBuf::from(base).join(file);
    let mut fields = fs::read(&path).map_or(json!({}), |bytes| serde_json::from_slice(&bytes).expect("JSON"));
    fields[field] = value;
    fs::write(path, fields.to_string()).expect("writable");
}

#[test]
fn rows_longer_than_the_base_was_made_for_are_counted() {
    let bench = Bench::new();
    let base = bench.base(None);
    set(&base, "config.json", "max_position_embeddings", json!(8));
    let rows = [json!({"prompt": "a", "completion": "b"}), json!({"prompt": "longer than 8", "completion": "b"})];
    let checked = bench.check(&base, &rows);
    assert_eq!(
        (checked.code, &checked.json["beyond_rows"], &checked.json["positions"]),
        (0, &json!(1), &json!(8)),
        "{checked:#?}"
    );
    assert_eq!(checked.json["beyond"][0]["line"], json!(2), "{checked:#?}");
    set(&base, "config.json", "max_position_embeddings", Value::Null);
    let checked = bench.check(&base, &rows);
    assert_eq!((checked.code, &checked.json["beyond_rows"]), (0, &json!(0)), "{checked:#?}");
}

#[test]
fn a_tokenizer_that_cannot_be_put_together_as_in_transformers_is_refused() {
    let bench = Bench::new();
    let row = [json!({"prompt": "a", "completion": "b"})];
    for (field, value, said) in [
        ("tokenizer_class", json!("T5Tokenizer"), "`tokenizer_class` is T5Tokenizer"),
        ("auto_map", json!({"AutoTokenizer": ["own.Own", null]}), "code of the folder's own"),
        ("split_special_tokens", json!(true), "`split_special_tokens`"),
        ("bos_token", json!(7), "`bos_token` is 7"),
    ] {
        let base = bench.base(None);
        fs::write(PathBuf::from(&base).join("tokenizer_config.json"), "{}").expect("writable");
        set(&base, "tokenizer_config.json", field, value);
        let answer = bench.check(&base, &row);
        refused(&answer, 11, said);
        assert!(!answer.stderr.contains("damaged"), "{answer:#?}");
    }
}

#[test]
fn every_bad_row_is_listed_and_the_file_is_refused() {
    let bench = Bench::new();
    let good = json!({"prompt": "a", "completion": "b"});
    let long = json!({"prompt": "long ".repeat(60), "completion": "b"});
    let rows = [good, long, json!({"text": "a"}), json!({"prompt": "a"})];
    let shown = bench.check("tiny", &rows);
    refused(&shown, 2, "rows.jsonl:2: 302 tokens, at most 200");
    let report: Value =
        shown.stdout.lines().rev().nth(1).and_then(|line| serde_json::from_str(line).ok()).expect("a report");
    let lines: Vec<_> = report["bad"].as_array().expect("a list").iter().map(|bad| bad["line"].clone()).collect();
    assert_eq!(lines, [2, 3, 4], "{report}");
    refused(&bench.check("tiny", &[]), 2, "no rows");
    let gone = bench.run(&["data", "check", "gone.jsonl", "--base", "tiny"]);
    assert_eq!((gone.code, gone.stderr.contains("gone.jsonl")), (3, true), "{gone:#?}");
}

#[test]
fn bases_and_templates_that_cannot_write_a_chat_say_so() {
    let bench = Bench::new();
    let rows = [chat(&[("user", "hi"), ("assistant", "hello"), ("user", "a"), ("assistant", "b")])];
    refused(&bench.check("tiny", &rows), 11, "no chat template");
    let (data, out) = (bench.rows(&rows), text(&bench.path("out")));
    refused(&bench.run(&["train", "--base", "tiny", "--data", &data, "--out", &out]), 11, "no chat template");
    refused(&bench.run(&["generate", "--chat", "--base", "tiny", "hi"]), 11, "no chat template");
    let cases = [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "does not come to an end"),
        (
            "{% for m in messages %}{{ m.content * 4000 }}{% for i in range(999) %}{{ m.content * 4000 }}{% endfor %}{% endfor %}",
            "more than",
        ),
        ("{% for %}", "syntax error"),
        ("{{ messages | length }}", "differently"),
        (
            "{{ messages[0].content }}{% if false %}{% generation %}{% endgeneration %}{% endif %}",
            "every token is masked",
        ),
    ];
    for (template, says) in cases {
        refused(&bench.check(&bench.base(Some(template)), &rows), 2, says);
    }
    fs::remove_file(bench.path("base/tokenizer.json")).expect("there");
    refused(&bench.check(&text(&bench.path("base")), &rows), 3, "no tokenizer.json");
}
