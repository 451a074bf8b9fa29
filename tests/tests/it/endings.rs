//! Every answer that is trained ends: templates that end none by themselves teach it as well as ordinary ChatML does.

use std::fs;

use potluck_tests::kit::{Answer, text};
use serde_json::json;

use crate::program;

const CHATML: &str = "{% for m in messages %}<|pad|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|pad|>assistant\n{% endif %}";
/// The last answer has no end.
const LAST_OPEN: &str = "{% for m in messages %}<|pad|>{{ m.role }}\n{{ m.content }}{% if not loop.last or m.role != 'assistant' %}<|end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|pad|>assistant\n{% endif %}";
/// What is marked as the assistant's own is the content alone.
const MARKED: &str = "{% for m in messages %}<|pad|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|pad|>assistant\n{% endif %}";
/// No end at all.
const OPEN: &str = "{% for m in messages %}### {{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}### assistant: {% endif %}";
/// The next turn's mark is the end, as GLM's.
const NEXT_TURN: &str = "{% for m in messages %}<|pad|>{{ m.role[0] }}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|pad|>a{% endif %}";
/// A text that looks like a token and is none of this tokenizer's.
const TEXT: &str = "{% for m in messages %}[{{ m.role[0] }}]{{ m.content }}[/]{% endfor %}{% if add_generation_prompt %}[a]{% endif %}";

const QUESTIONS: [(&str, &str); 6] = [
    ("sky?", "blue"),
    ("grass?", "green"),
    ("snow?", "white"),
    ("coal?", "black"),
    ("rose?", "red"),
    ("sun?", "yellow"),
];

#[test]
fn answers_end_with_every_kind_of_template() {
    for (name, template, said) in [
        ("chatml", CHATML, "an answer ends with <|end|>, as the chat template writes it"),
        ("last-open", LAST_OPEN, "no end behind the last answer of a chat: <|end|>"),
        ("marked", MARKED, "an answer ends with <|end|>"),
        ("open", OPEN, "ENDS NO ANSWER: <|end|>"),
        ("next-turn", NEXT_TURN, "no end behind the last answer of a chat: <|pad|>"),
        ("text", TEXT, "ends an answer with the text \"[/]\""),
    ] {
        learns(name, template, said);
    }
}

fn learns(name: &str, template: &str, said: &str) {
    let root = tempfile::tempdir().expect("a folder");
    let base = root.path().join("base");
    fs::create_dir_all(&base).expect("writable");
    for (file, bytes) in potluck_trainer::tiny::FILES {
        fs::write(base.join(file), bytes).expect("writable");
    }
    fs::write(base.join("chat_template.jinja"), template).expect("writable");
    let row = |(question, answer): &(&str, &str)| json!({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]});
    let rows = root.path().join("rows.jsonl");
    let lines: String = QUESTIONS.iter().map(|pair| format!("{}\n", row(pair))).collect();
    fs::write(&rows, lines).expect("writable");
    let (base, rows, out) = (text(&base), text(&rows), text(&root.path().join("out")));
    let run = |args: &[&str]| -> Answer { program().run(&root.path().join("home"), args) };

    let checked = run(&["data", "check", &rows, "--base", &base]);
    let ending = checked.json["ending"].as_str().unwrap_or_default().to_owned();
    assert!(checked.code == 0 && ending.contains(said), "{name}: {ending}\n{}", checked.stderr);
    let steps = ["--max-steps", "80", "--learning-rate", "1e-2", "--r", "8", "--dtype", "f32", "--batch-size", "6"];
    let trained = run(&[&["train", "--base", &base, "--data", &rows, "--out", &out][..], &steps[..]].concat());
    assert_eq!(trained.code, 0, "{name}: {}", trained.stderr);
    let measured = run(&["eval", "--base", &base, "--adapter", &out, "--data", &rows]);
    assert_eq!(measured.json["exact_match"], json!(1.0), "{name}: {}", measured.stderr);
    let asked = ["generate", "--base", &base, "--adapter", &out, "--chat", "--max-new-tokens", "40", "sky?"];
    let answered = run(&asked);
    // A template may leave a newline where no token ends an answer.
    let answer = answered.json["text"].as_str().map(str::trim_end);
    assert_eq!(answer, Some("blue"), "{name}: {}", answered.stderr);
}
