//! Chat templates of many families against transformers (`fixtures/make_corpus.py`, `fixtures/make_expressions.py`).

#[path = "corpus/mod.rs"]
mod loader;

use loader::{Expected, Family};
use potluck_trainer::base::config::SpecialTokens;
use potluck_trainer::base::{Template, Tokenizer};
use potluck_trainer::data::chat::{ChatFormat, Input};
use potluck_trainer::tiny;
use serde::Deserialize;
use serde_json::{Map, Value};

#[test]
fn the_corpus_is_whole() {
    let families = loader::families();
    let chats = || families.iter().flat_map(|family| &family.chats);
    assert!(families.len() >= 40, "{} templates", families.len());
    assert_eq!(loader::names("templates").len(), families.len());
    assert!(loader::names("tokenizers").len() >= 20);
    assert!(chats().count() >= 500, "{} chats", chats().count());
    assert!(chats().filter(|chat| chat.mask.is_some()).count() >= 400);
}

#[test]
fn templates_write_what_they_write_in_transformers() {
    let wrong: Vec<_> = loader::families().iter().flat_map(|family| texts(family)).collect();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where the texts of a family differ.
fn texts(family: &Family) -> Vec<String> {
    let tokenizer = family.tokenizer();
    let format = ChatFormat::new(&tokenizer).unwrap_or_else(|error| panic!("{}: {error}", family.name));
    let wrong = |chat: &Expected| {
        let found = format.text(&chat.given.chat(), false);
        if found.as_ref().ok() != chat.text.as_ref() {
            return Some(format!("{}, {}: {found:?}\n   not {:?}", family.name, chat.name, chat.text));
        }
        let prompt = |answer: &loader::Answer| {
            let found = format.text(&chat.given.before(answer.message), true);
            let right = found.as_deref().ok() == answer.prompt(chat.text.as_ref()?);
            (!right).then(|| format!("{}, {}, before {}: {found:?}", family.name, chat.name, answer.message))
        };
        chat.answers.iter().find_map(prompt)
    };
    family.chats.iter().filter_map(wrong).collect()
}

#[derive(Deserialize)]
struct Expressions {
    messages: Vec<Map<String, Value>>,
    /// Each with its text, or nothing if it fails.
    templates: Vec<(String, Option<String>)>,
}

/// Where it cannot be as in Jinja2, it is an error: never another text.
#[test]
fn small_templates_come_to_the_same_or_to_an_error() {
    let Expressions { messages, templates } = loader::json("expressions.json");
    let special = SpecialTokens { bos: None, eos: vec![tiny::END_ID] };
    let bytes = Tokenizer::from_json(tiny::tokenizer_json().as_bytes(), special, tiny::VOCABULARY).unwrap();
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let render = |source: &str| {
        let template = Template { source: source.to_owned(), tokens: tokens.clone().into() };
        let tokenizer = bytes.clone().with_template(template);
        ChatFormat::new(&tokenizer)?.text(&Input { messages: &messages, tools: None }, false)
    };
    let (mut wrong, mut refused) = (Vec::new(), Vec::new());
    for (source, expected) in &templates {
        match (render(source), expected) {
            (Ok(found), Some(expected)) if found == *expected => {}
            (Err(_), None) => {}
            (Err(error), Some(_)) => refused.push(format!("{source}: {error}")),
            (Ok(found), expected) => wrong.push(format!("{source}: {found:?}, not {expected:?}")),
        }
    }
    println!("{} refused:\n{}", refused.len(), refused.join("\n"));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), templates.len(), wrong.join("\n"));
}
