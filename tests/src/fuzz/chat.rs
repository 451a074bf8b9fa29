//! What runs and reads on behalf of strangers around chats: the templates of bases, and the rows that a release opens.

use std::path::Path;
use std::sync::OnceLock;

use potluck_trainer::base::config::SpecialTokens;
use potluck_trainer::base::{Template, Tokenizer};
use potluck_trainer::data::chat::{ChatFormat, Input};
use potluck_trainer::data::jsonl;
use potluck_trainer::data::row::{Chat, Message};
use potluck_trainer::tiny;
use serde_json::{Value, json};

use super::{Form, Memory, Outcome, Target, hold, seeds};

/// Jinja, and what transformers adds to it.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "{{ ", " }}", "{% ", " %}", "{%- ", " -%}", "{# ", " #}", "{% raw %}", "{% endraw %}",
    "{% for m in messages %}", "{% endfor %}", "{% for a in range(10000) %}", "{% break %}", "{% continue %}",
    "{% if loop.first %}", "{% elif m.role == 'user' %}", "{% else %}", "{% endif %}", "{% set x = [1, 2] %}",
    "{% set ns = namespace(n='a') %}", "{% set ns.n = ns.n ~ ns.n %}", "{% macro f(a, b=1) %}", "{% endmacro %}",
    "{{ f(1) }}", "{% call f() %}", "{% endcall %}", "{% generation %}", "{% endgeneration %}", "{% include 'x' %}",
    "{% extends 'chat_template' %}", "{% block b %}", "{% endblock %}", "{% filter trim %}", "{% endfilter %}",
    "{% with a = 1 %}", "{% endwith %}", "{% autoescape true %}", "{% endautoescape %}", "messages", "messages[0]",
    "messages[-1]['content']", "[::-1]", "[1:]", "[0:5:-1]", "tools", "add_generation_prompt", "bos_token",
    "eos_token", "loop.index0", "loop.previtem", "loop.changed(1)", " | tojson", " | tojson(indent=2)",
    " | tojson(separators=[',', ':'])", " | trim", " | indent(4)", " | length", " | replace('a', 'bb')",
    " | join(', ')", " | list", " | sort", " | unique", " | batch(2)", " | slice(3)", " | groupby('role')",
    " | map(attribute='role')", " | selectattr('role', 'equalto', 'user')", " | reject('none')", " | round(2)",
    " | int", " | float", " | abs", " | first", " | last", " | reverse", " | string", " | upper", " | title",
    " | capitalize", " | wordcount", " | urlencode", " | format(1)", " | dictsort", " | items", " | default('x')",
    " | e", " | sum", " | min", " | max", " | attr('role')", ".strip()", ".split('a')", ".rsplit('a', 1)",
    ".splitlines()", ".partition('a')", ".format(1, a=2)", ".zfill(9)", ".get('a')", ".items()", ".index('a')",
    ".count('a')", ".join(['a', 'b'])", ".title()", ".startswith('a')", ".replace('', 'xx')", " ~ ", " + ", " * 3",
    " // 0", " % 0", " ** 99", " is defined", " is mapping", " is sequence", " is odd", " in ", " not ", " and ",
    "'%s %d %5.2f' % (1, 2, 3)", "{'a': 1, 2: 3}", "(1, 2)", "1e308", "-9223372036854775808", "'\\ud800'",
    "raise_exception('x')", "strftime_now('%Y')", "lipsum()", "cycler(1, 2)", "joiner(',')", "range(1, 10, 3)",
    "dict(a=1)", "debug()", "self.b()", "super()", "caller()", "<|im_end|>", "<|end|>", "\u{fdd0}", "\r\n",
];

pub fn template() -> Target {
    Target {
        name: "template",
        about: "a chat template: compiled, and run for chats with and without tools",
        form: Form::Text,
        words: WORDS,
        seeds: || {
            let file: Value = serde_json::from_slice(&seeds::fixture("templates.json")).expect("JSON");
            let listed = file.as_array().into_iter().flatten().filter_map(|one| one["template"].as_str());
            let listed = listed.map(|text| text.as_bytes().to_vec());
            let files = seeds::fixtures("corpus/templates").into_iter().chain(listed);
            files.collect()
        },
        // A text is written up to 4 MiB, is read back, and is encoded: ids, places and pieces.
        memory: Memory::new(1000, 1 << 30),
        short: 200,
        run: run_template,
    }
}

/// Every byte is a token, and two steer.
fn tokenizer() -> &'static Tokenizer {
    static ONE: OnceLock<Tokenizer> = OnceLock::new();
    ONE.get_or_init(|| {
        let special = SpecialTokens { bos: None, eos: vec![tiny::END_ID] };
        Tokenizer::from_json(tiny::tokenizer_json().as_bytes(), special, tiny::VOCABULARY).expect("the embedded one")
    })
}

fn chats() -> Vec<Chat> {
    let turns = |turns: &[(&str, &str)]| -> Vec<Message> {
        turns.iter().map(|(role, content)| Message::new(role, content)).collect()
    };
    let plain = turns(&[
        ("system", "be kind"),
        ("user", " hi\n"),
        ("assistant", "hello"),
        ("user", "x<|end|>"),
        ("assistant", "é 🙂"),
    ]);
    let call = json!({"role": "assistant", "content": "", "tool_calls": [{"type": "function",
        "function": {"name": "f", "arguments": {"a": [1, 2.5, null, true]}}}]});
    let mut calls = turns(&[("user", "2+2?")]);
    calls.extend(call.as_object().cloned().and_then(|fields| Message::from_fields(fields).ok()));
    calls.extend(turns(&[("tool", "4"), ("assistant", "four")]));
    let tools = vec![json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}})];
    vec![plain.into(), turns(&[("user", "a")]).into(), Chat { messages: calls, tools }]
}

fn run_template(bytes: &[u8]) -> Result<Outcome, String> {
    let source = String::from_utf8_lossy(bytes).into_owned();
    let tokens = tokenizer().template_tokens();
    let tokenizer = tokenizer().clone().with_template(Template { tokens, ..Template::new(source) });
    let format = match ChatFormat::new(&tokenizer) {
        Ok(format) => format,
        Err(error) => return Outcome::refused(error),
    };
    let mut said = format!("{:?}", std::mem::discriminant(format.ending()));
    for chat in chats() {
        let messages: Vec<_> = chat.messages.iter().map(|message| message.fields().clone()).collect();
        let tools = Some(chat.tools.as_slice()).filter(|tools| !tools.is_empty());
        let input = Input { messages: &messages, tools };
        if let Err(error) = format.text(&input, true) {
            said.push_str(&error.to_string());
        }
        match format.sample(&chat) {
            Ok(sample) => {
                let (len, labels) = (sample.sample.ids.len(), sample.sample.labels());
                let inside = labels.iter().all(|label| label.start <= label.end && label.end <= len);
                hold(inside, || "a label lies outside of the sample".to_owned())?;
                let apart = labels.windows(2).all(|pair| pair[0].end <= pair[1].start);
                hold(apart, || "labels overlap".to_owned())?;
                said.push('s');
            }
            Err(error) => said.push_str(&error.to_string()),
        }
        let _prompt = format.prompt(&chat);
    }
    Outcome::accepted(said)
}

pub fn rows() -> Target {
    Target {
        name: "rows",
        about: "JSON lines: rows that a release opens",
        form: Form::Text,
        words: &[
            "{\"prompt\":\"a\",\"completion\":\"b\"}\n",
            "{\"text\":\"a\"}\n",
            "\"messages\"",
            "\"tools\"",
            "\"role\":\"assistant\"",
            "\"content\":null",
            "\"content\":[{\"type\":\"text\",\"text\":\"a\"}]",
            "\"tool_calls\"",
            "\"weight\":0",
            "\n",
            "\u{feff}",
            "[[[[[[[[",
            "\"conversations\"",
            "null",
        ],
        seeds: || {
            let names = [
                "cases/bos-differs-from-config/rows.jsonl",
                "cases/double-begin-of-text/text.jsonl",
                "cases/spm-prefix-space/chat.jsonl",
                "cases/think-token-as-text/chat.jsonl",
            ];
            let mut all: Vec<_> = names.map(seeds::fixture).into();
            all.push(br#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}],"tools":[{"type":"function"}]}"#.to_vec());
            all
        },
        memory: super::model::JSON,
        short: 2000,
        run: run_rows,
    }
}

fn run_rows(bytes: &[u8]) -> Result<Outcome, String> {
    let strict = jsonl::read_from(Path::new("rows.jsonl"), bytes);
    match (jsonl::survey_from(Path::new("rows.jsonl"), bytes), strict) {
        (Ok((rows, bad)), strict) => {
            hold(strict.is_ok() == (rows.is_some() && bad.is_empty()), || "the two readers disagree".to_owned())?;
            if let (Some(rows), Ok(strict)) = (&rows, strict) {
                hold(rows.digest() == strict.digest(), || "the two readers read other rows".to_owned())?;
                return Outcome::accepted(rows.kind.name());
            }
            Outcome::refused(bad.first().map(|line| line.reason.clone()).unwrap_or_default())
        }
        (Err(error), Ok(_)) => Err(format!("what is read strictly is not surveyed: {error}")),
        (Err(error), Err(_)) => Outcome::refused(error),
    }
}
