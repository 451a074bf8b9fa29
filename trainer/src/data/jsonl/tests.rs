//! Rows of each kind, lines that are none, and damaged files.

use proptest::prelude::*;

use super::*;

fn rows(text: impl AsRef<[u8]>) -> Result<Rows, DataError> {
    read_from(Path::new("train.jsonl"), text.as_ref())
}

fn completion(prompt: &str, completion: &str) -> Content {
    Content::Completion { prompt: prompt.into(), completion: completion.into() }
}

const CHAT: &str = r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]}"#;

#[test]
fn prompts_alone_need_no_completion() {
    let read = |text: &str| strict(Path::new("p.jsonl"), text.as_bytes(), line::prompt);
    let rows = read("{\"prompt\":\"a\"}\n\n{\"prompt\":\"b\",\"completion\":\"c\"}\n").expect("prompts");
    let found: Vec<_> = rows.rows.into_iter().map(|row| (row.line, row.content)).collect();
    assert_eq!(found, [(1, completion("a", "")), (3, completion("b", ""))]);
    assert!(matches!(read("{\"text\":\"a\"}\n"), Err(DataError::Line { line: 1, .. })));
}

#[test]
fn rows_with_their_lines() {
    let text = "\u{feff}{\"prompt\": \"a\", \"completion\": \"b\"}\r\n\n{\"completion\":\"\u{e9}\\n\",\"prompt\":\"\"}";
    let read = rows(text).unwrap();
    let row = |line, content| Row { line, content };
    assert_eq!(read.rows, [row(1, completion("a", "b")), row(3, completion("", "\u{e9}\n"))]);
    assert_eq!(read.kind, Kind::Completion);
}

#[test]
fn chats_and_texts_are_rows_too() {
    let chat = rows(CHAT).unwrap();
    let messages = vec![Message::new("user", "hi"), Message::new("assistant", "hello")];
    assert_eq!((chat.kind, &chat.rows[0].content), (Kind::Chat, &Content::Chat(messages.into())));
    let text = rows("{\"text\":\"once\"}\n{\"text\":\" \"}\n").unwrap();
    assert_eq!((text.kind, text.rows.len()), (Kind::Text, 2));
}

#[test]
fn a_file_of_two_kinds_names_both_lines() {
    let error = rows(format!("\n{CHAT}\n{CHAT}\n{{\"text\":\"a\"}}\n")).unwrap_err().to_string();
    assert!(error.starts_with("train.jsonl:4: this row is a plain text, line 2 is a chat"), "{error}");
}

#[test]
fn the_digest_covers_content_alone() {
    let one = rows("{\"prompt\":\"a\",\"completion\":\"b\"}").unwrap().digest();
    assert_eq!(rows("\n{ \"completion\" : \"b\", \"prompt\" : \"a\" }\n\n").unwrap().digest(), one);
    assert_ne!(rows("{\"prompt\":\"ab\",\"completion\":\"b\"}").unwrap().digest(), one);
    let moved = [rows("{\"prompt\":\"ab\",\"completion\":\"c\"}"), rows("{\"prompt\":\"a\",\"completion\":\"bc\"}")];
    let [one, two] = moved.map(|rows| rows.unwrap().digest());
    assert_ne!(one, two);
    let turn = |role: &str| format!("{{\"role\":\"{role}\",\"content\":\"x\"}}");
    let (user, assistant) = (turn("user"), turn("assistant"));
    let one = format!("{{\"messages\":[{assistant},{user},{assistant}]}}\n{{\"messages\":[{assistant}]}}");
    let two = format!("{{\"messages\":[{assistant}]}}\n{{\"messages\":[{user},{assistant},{assistant}]}}");
    assert_ne!(rows(one).unwrap().digest(), rows(two).unwrap().digest(), "where a chat ends counts");
}

#[test]
fn bad_jsonl_is_refused_with_file_and_line() {
    let good = "{\"prompt\":\"a\",\"completion\":\"b\"}\n";
    let cases: [(&[u8], &str); 26] = [
        (b"{\"prompt\":\"a\"}", "missing field `completion`"),
        (b"{\"completion\":\"a\"}", "missing field `prompt`"),
        (b"{}", "no fields"),
        (b"{\"prompt\":\"a\",\"completion\":\"b\",\"text\":\"c\"}", "several kinds"),
        (b"{\"prompt\":\"a\",\"completion\":\"b\",\"id\":1}", "unknown field `id`"),
        (b"{\"prompt\":\"a\",\"completion\":\"\"}", "completion is empty"),
        (b"{\"prompt\":\"a\",\"completion\":1}", "invalid type: integer"),
        (b"{\"prompt\":\"a\",\"completion\":null}", "invalid type: null"),
        (b"{\"prompt\":\"a\",\"prompt\":\"a\",\"completion\":\"b\"}", "duplicate field `prompt`"),
        (b"{\"prompt\":\"a\",\"completion\":\"b\"} {}", "trailing characters"),
        (b"{\"prompt\":\"a\",\"comp", "EOF while parsing"),
        (b"{\"prompt\":\"\xff\",\"completion\":\"b\"}", "not valid UTF-8 at byte 12"),
        (b"\xef\xbb\xbf{\"prompt\":\"a\",\"completion\":\"b\"}", "expected value"),
        (b"[\"a\",\"b\"]", "a list is no row"),
        (b"null", "invalid type: null"),
        (b"{\"text\":\"\"}", "text is empty"),
        (b"{\"messages\":[]}", "no message of the role"),
        (b"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "no message of the role"),
        (b"{\"messages\":[{\"role\":\"assistant\",\"content\":\"\"}]}", "message 1: the assistant's content is empty"),
        (b"{\"messages\":[{\"role\":\"a b\",\"content\":\"x\"}]}", "message 1: the role"),
        (b"{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", "message 1: `content` is not a text"),
        (b"{\"messages\":[{\"role\":\"user\"}]}", "missing field `content`"),
        (b"{\"messages\":[{\"role\":\"user\",\"content\":\"\",\"tool_calls\":1}]}", "`tool_calls` is no list"),
        (b"{\"messages\":[{\"role\":\"user\",\"content\":\"\",\"weight\":1}]}", "unknown field `weight`"),
        (b"{\"prompt\":\"a\",\"completion\":\"b\",\"tools\":[]}", "`tools` belong to a chat"),
        (b"{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"}]}", "human is \"user\""),
    ];
    for (line, expected) in cases {
        let error = rows([good.as_bytes(), line].concat()).unwrap_err().to_string();
        assert!(error.starts_with("train.jsonl:2: ") && error.contains(expected), "{error}");
    }
    assert!(matches!(rows("\n \n"), Err(DataError::Empty { .. })));
    assert!(matches!(read(Path::new("no-such-file.jsonl")), Err(DataError::Io { .. })));
}

/// Whichever field stands first.
#[test]
fn rows_of_other_forms_are_told_how_they_are_written_here() {
    let cases = [
        ("{\"id\":\"a\",\"conversations\":[{\"from\":\"human\",\"value\":\"a\"}]}", "human is \"user\""),
        ("{\"source\":1,\"instruction\":\"a\",\"input\":\"\",\"output\":\"b\"}", "`instruction`, `input` and `output`"),
        ("{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}", "pairs of preferences"),
    ];
    for (line, expected) in cases {
        let error = rows(line).unwrap_err().to_string();
        assert!(error.starts_with("train.jsonl:1: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn files_of_other_formats_are_named() {
    let cases: [(&[u8], &str); 7] = [
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\x1f\x8b\x08\0", "compressed by gzip"),
        (b"PK\x03\x04\x14", "a zip archive"),
        (b"\xff\xfe{\0\"\0", "UTF-16"),
        (b"[\n  {\"text\": \"a\"}\n]\n", "one JSON array"),
        (b"[{\"text\": \"a\"}]", "one JSON array"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
    ];
    for (file, expected) in cases {
        let error = rows(file).unwrap_err();
        assert!(matches!(error, DataError::Format { .. }) && error.to_string().contains(expected), "{error}");
    }
    assert!(matches!(rows("[\"a\",\"b\"]"), Err(DataError::Line { .. })), "a line that is no row");
}

#[test]
fn an_oversized_line_is_refused_before_it_is_held() {
    let endless = BufReader::new(io::repeat(b'a'));
    let error = read_from(Path::new("d"), endless).unwrap_err().to_string();
    assert!(error.starts_with("d:1: the line is longer than"), "{error}");
}

#[test]
fn a_survey_goes_on_behind_bad_lines() {
    let long = "x".repeat(LINE_MAX + 100);
    let text = format!("{{\"text\":\"a\"}}\n{long}\n{{}}\n\n{CHAT}\n{{\"text\":\"b\"}}\n");
    let (rows, bad) = survey_from(Path::new("d"), text.as_bytes()).unwrap();
    assert_eq!(rows.unwrap().rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 6]);
    assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [2, 3, 5]);
    assert!(survey_from(Path::new("d"), &b"\n"[..]).is_err());
    assert!(matches!(survey_from(Path::new("d"), &b"{"[..]), Ok((None, bad)) if bad.len() == 1));
}

proptest! {
    #[test]
    fn what_was_written_is_read(texts in prop::collection::vec(("\\PC*", "\\PC+"), 1..8)) {
        let line = |(prompt, completion): &(String, String)| {
            serde_json::json!({"prompt": prompt, "completion": completion}).to_string() + "\n"
        };
        let read = rows(texts.iter().map(line).collect::<String>()).unwrap();
        let back: Vec<_> = read.rows.into_iter().map(|row| row.content).collect();
        let expected: Vec<_> = texts.iter().map(|(one, two)| completion(one, two)).collect();
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn bit_flipped_jsonl_never_panics(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut text = format!("{CHAT}\n{CHAT}\n").into_bytes();
        let at = at.index(text.len());
        text[at] ^= 1 << bit;
        if let Err(error) = rows(text) {
            prop_assert!(error.to_string().starts_with("train.jsonl:"));
        }
    }
}
