//! Chat templates of many families against transformers (`fixtures/make_corpus.py`, `fixtures/make_expressions.py`).

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

#[path = "corpus/mod.rs"]
mod loader;

use std::collections::BTreeMap;

use loader::{Expected, Family};
use potluck_trainer::base::config::SpecialTokens;
use potluck_trainer::base::{Template, Tokenizer};
use potluck_trainer::data::chat::{ChatError, ChatFormat, Ending, Input};
use potluck_trainer::data::row::{Chat, Message};
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
    let wrong: Vec<_> = loader::families().iter().flat_map(texts).collect();
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

/// Where it cannot be as in Jinja2, it is an error: never another text, but for those of `expressions_stated.json` (kinds of
/// differences that `docs/training.md` states, each with its templates and the texts here). What Jinja2 refuses may have a
/// text here.
#[test]
fn small_templates_come_to_the_same_or_to_an_error() {
    let Expressions { messages, templates } = loader::json("expressions.json");
    let special = SpecialTokens { bos: None, eos: vec![tiny::END_ID] };
    let bytes = Tokenizer::from_json(tiny::tokenizer_json().as_bytes(), special, tiny::VOCABULARY).unwrap();
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let render = |source: &str| {
        let template = Template { tokens: tokens.clone().into(), ..Template::new(source.to_owned()) };
        let tokenizer = bytes.clone().with_template(template);
        ChatFormat::new(&tokenizer)?.text(&Input { messages: &messages, tools: None }, false)
    };
    let known: BTreeMap<String, BTreeMap<String, String>> = loader::json("expressions_stated.json");
    let known: BTreeMap<_, _> = known.into_values().flatten().collect();
    let (mut wrong, mut lenient, mut refused, mut stated) = (Vec::new(), 0, 0, BTreeMap::new());
    for (source, expected) in &templates {
        match (render(source), expected) {
            (Ok(found), Some(expected)) if found == *expected => {}
            (Err(_), None) => {}
            (Err(_), Some(_)) => refused += 1,
            (Ok(_), None) => lenient += 1,
            (Ok(found), Some(_)) if known.get(source) == Some(&found) => drop(stated.insert(source.clone(), found)),
            (Ok(found), Some(expected)) => wrong.push(format!("{source}: {found:?}, not {expected:?}")),
        }
    }
    println!(
        "{} templates, {refused} refused here alone, {lenient} in Jinja2 alone, {} differ as stated",
        templates.len(),
        stated.len()
    );
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), templates.len(), wrong.join("\n"));
    assert_eq!(stated, known, "what is stated to differ does, and to that text");
    assert!(refused * 5 < templates.len(), "most of what Jinja2 takes is taken: {refused} are refused");
}

/// The chat in which users write special tokens.
const LOOK_ALIKES: &str = "look-alikes";

/// How a chat compares.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// The same ids, and where it has one the same mask.
    equal: usize,
    masks: usize,
    /// An end is trained that the template leaves out or unmarked: the same ids, and the end.
    ended: usize,
    /// A token would reach over the border before an answer, whose ids then are encoded apart.
    apart: usize,
    /// Users' words that look like tokens are text.
    words: usize,
    /// The template writes earlier answers otherwise once the chat goes on: refused.
    rewritten: usize,
    /// The template raises an error.
    raised: usize,
}

#[test]
fn ids_and_masks_are_those_of_transformers() {
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    for family in loader::families() {
        let tokenizer = family.tokenizer();
        let format = ChatFormat::new(&tokenizer).unwrap();
        for chat in &family.chats {
            if let Err(difference) = compare(&family, &format, chat, &mut counts) {
                wrong.push(format!("{}, {}: {difference}", family.name, chat.name));
            }
        }
    }
    let stated = Counts { equal: 521, masks: 459, ended: 117, apart: 8, words: 11, rewritten: 55, raised: 15 };
    assert_eq!(counts, stated, "as docs/training.md states them");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Counts it as what it is, or says what is wrong.
fn compare(family: &Family, format: &ChatFormat<'_>, chat: &Expected, counts: &mut Counts) -> Result<(), String> {
    let count = |counter: &mut usize| {
        *counter += 1;
        Ok(())
    };
    let messages = chat.given.messages.iter().map(|fields| Message::from_fields(fields.clone()));
    let messages = messages.collect::<Result<Vec<_>, _>>()?;
    let row = Chat { messages, tools: chat.given.tools.clone().unwrap_or_default() };
    let tokenizer = family.tokenizer();
    let text = |ids: &[u32]| tokenizer.decode_all(ids).map_err(|error| error.to_string());
    let known = chat.answers.iter().all(|answer| answer.prefix && !answer.rewritten);
    let sample = match (format.sample(&row), &chat.text) {
        (Ok(found), Some(_)) => found,
        (Err(ChatError::Template(_)), None) => return count(&mut counts.raised),
        (Err(ChatError::Rewrites { .. }), _) if !known => return count(&mut counts.rewritten),
        (Err(ChatError::Template(_)), Some(_)) if chat.answers.iter().any(|answer| answer.error.is_some()) => {
            return count(&mut counts.rewritten);
        }
        (found, text) => return Err(format!("{:?} for {text:?}", found.map(|found| found.sample.ids))),
    };
    let Some(ids) = &chat.ids else { return count(&mut counts.words) };
    for answer in chat.answers.iter().filter(|answer| answer.error.is_none() && chat.name != LOOK_ALIKES) {
        let found = format.prompt(&row.before(answer.message)).map_err(|error| error.to_string())?;
        if found != answer.prompt_ids {
            return Err(format!("before {}: {found:?}, not {:?}", answer.message, answer.prompt_ids));
        }
    }
    if sample.apart > 0 {
        let straddles = chat.answers.iter().any(|answer| answer.straddles);
        counts.apart += 1;
        return if straddles { Ok(()) } else { Err("parted where no token reaches over".to_owned()) };
    }
    let found = &sample.sample;
    let mut mask = vec![b'0'; found.ids.len()];
    found.labels().iter().for_each(|span| mask[span.clone()].fill(b'1'));
    let mask = String::from_utf8(mask).unwrap();
    if *ids == found.ids {
        counts.equal += 1;
        return match &chat.mask {
            Some(wanted) if *wanted == mask => count(&mut counts.masks),
            Some(wanted)
                if family.generation.as_deref() == Some("content")
                    && ended(wanted, ids, format.ending().token(), text)? == mask =>
            {
                count(&mut counts.ended)
            }
            Some(wanted) => Err(format!("mask {mask}, not {wanted}")),
            None => Ok(()),
        };
    }
    let end = format.ending().token();
    // transformers tokenises such words apart and so gives them a blank that the text does not have.
    let letters = |ids: &[u32]| text(ids).map(|text| text.replace(' ', ""));
    if chat.name == LOOK_ALIKES && letters(&found.ids)?.starts_with(&letters(ids)?) {
        return count(&mut counts.words);
    }
    let put = !matches!(format.ending(), Ending::Own(_)) && found.ids.last() == Some(&end);
    if put && ids.starts_with(&found.ids[..found.ids.len() - 1]) {
        return count(&mut counts.ended);
    }
    Err(format!("ids {:?}, not {ids:?}", found.ids))
}

/// transformers' mask of a template that marks the contents alone, with what ends each: the token that the template writes
/// behind it. Blanks at the end of a content are in no mask of transformers where the tokenizer's offsets leave blanks
/// out (`trim_offsets`); here they are learned, as they stand in the answer.
fn ended(
    wanted: &str,
    ids: &[u32],
    end: u32,
    text: impl Fn(&[u32]) -> Result<String, String>,
) -> Result<String, String> {
    let mut mask = wanted.as_bytes().to_vec();
    for at in 1..mask.len() {
        if (mask[at - 1], mask[at]) != (b'1', b'0') {
            continue;
        }
        let mut behind = at;
        while behind < ids.len() && ids[behind] != end && text(&ids[behind..=behind])?.trim().is_empty() {
            behind += 1;
        }
        if ids.get(behind) == Some(&end) && wanted.as_bytes()[at - 1] == b'1' {
            mask[at..=behind].fill(b'1');
        }
    }
    String::from_utf8(mask).map_err(|error| error.to_string())
}
