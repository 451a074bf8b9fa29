//! Chats against transformers' `apply_chat_template` (`fixtures/make_chat_fixture.py`, `make_template_fixture.py`).

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

use std::path::PathBuf;

use potluck_trainer::base::config::SpecialTokens;
use potluck_trainer::base::gguf::Gguf;
use potluck_trainer::base::{Template, Tokenizer};
use potluck_trainer::data::chat::{ChatFormat, Ending};
use potluck_trainer::data::row::Message;
use potluck_trainer::tiny;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    template: String,
    /// The same with `{% generation %}` around what is the assistant's own.
    marked: String,
    chats: Vec<Chat>,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    ids: Vec<u32>,
    /// All but the last message, and the head of the assistant's turn.
    prompt: Vec<u32>,
    assistant_mask: Vec<u8>,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn check(tokenizer: &Tokenizer, chats: &[Chat]) {
    let format = ChatFormat::new(tokenizer).unwrap();
    for chat in chats {
        let sample = format.sample(&chat.messages.clone().into()).unwrap().sample;
        assert_eq!(sample.ids, chat.ids, "{:?}", chat.messages);
        let mut mask = vec![0; sample.ids.len()];
        sample.labels().iter().for_each(|span| mask[span.clone()].fill(1));
        assert_eq!(mask, chat.assistant_mask, "{:?}", chat.messages);
        let (_, before) = chat.messages.split_last().unwrap();
        assert_eq!(format.prompt(&before.to_vec().into()).unwrap(), chat.prompt, "{:?}", chat.messages);
        assert_eq!(sample.prompt(), chat.prompt, "training and generation see the same");
    }
    assert_eq!(format.ending(), &Ending::Own(2));
}

#[test]
fn smollm2_chats_give_the_ids_and_masks_of_transformers() {
    let fixture: Fixture =
        serde_json::from_str(&std::fs::read_to_string(self::fixture("gguf/smollm2_chats.json")).unwrap()).unwrap();
    let file = std::fs::read(self::fixture("gguf/smollm2_vocabulary.gguf")).unwrap();
    let special = SpecialTokens { bos: Some(1), eos: vec![2] };
    let tokenizer = Tokenizer::from_gguf(&Gguf::parse(&file).unwrap(), special, 49_152).unwrap();
    assert_eq!(fixture.chats.len(), 9);
    for source in [
        fixture.template,
        fixture.marked.replace(
            "{{ '\n' }}{% endfor %}",
            "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ),
    ] {
        check(&tokenizer.clone().with_template(Template::new(source)), &fixture.chats);
    }
}

#[derive(Deserialize)]
struct Rendered {
    name: String,
    template: String,
    messages: Vec<Message>,
    /// With a generation prompt; `None` if the template raises an error.
    text: Option<String>,
}

/// `tiny` has a token for each byte and none of these templates' special ones: its ids are the text.
#[test]
fn templates_of_many_families_write_what_they_write_in_transformers() {
    let rows = std::fs::read_to_string(fixture("templates.json")).unwrap();
    let rows: Vec<Rendered> = serde_json::from_str(&rows).unwrap();
    assert_eq!((rows.len(), rows.iter().filter(|row| row.text.is_none()).count()), (20, 2));
    let special = SpecialTokens { bos: None, eos: vec![tiny::END_ID] };
    let bytes = Tokenizer::from_json(tiny::tokenizer_json().as_bytes(), special, tiny::VOCABULARY).unwrap();
    for Rendered { name, template, messages, text } in rows {
        let tokens =
            [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, token)| (name.to_owned(), token.to_owned()));
        let tokenizer = bytes.clone().with_template(Template { tokens: tokens.into(), ..Template::new(template) });
        let found = ChatFormat::new(&tokenizer).unwrap().prompt(&messages.clone().into());
        let found = found.ok().map(|ids| tokenizer.decode_all(&ids).unwrap());
        assert_eq!(found, text, "{name}: {messages:?}");
    }
}
