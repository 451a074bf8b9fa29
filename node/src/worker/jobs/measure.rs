//! Running a model: evaluation and generation.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use potluck_trainer::backend::cpu::CpuBackend;
use potluck_trainer::base::{Tokenizer, TokenizerError};
use potluck_trainer::data::chat::ChatFormat;
use potluck_trainer::data::row::{Kind as RowKind, Message};
use potluck_trainer::evaluate::{EvaluateOptions, evaluate};
use potluck_trainer::generate::{self, Prompt};
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::model::decoder::Model;

use super::open;
use super::rows::Rows;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::Progress;
use crate::worker::answers::Generated;
use crate::worker::context::Context;
use crate::worker::proto::{AdapterSource, BaseSource, Measured};
use crate::worker::{bounded, failures};

/// Rows that go through the model at once: enough to keep the matrix products large.
pub const BATCH: usize = 50;

pub fn eval(base: &BaseSource, adapters: &[AdapterSource], data: &Path, context: &Context) -> Outcome<Measured> {
    let base = open::base(base)?;
    let adapters = open::adapters(&base, adapters)?;
    let rows = Rows::read_whole(data, &base)?;
    let model = open::model_to_generate(&base)?;
    self::rows(&model, &adapters, &rows, context)
}

/// Loss and exact match over rows; a plain text has no answer to match.
pub fn rows(
    model: &Model<CpuBackend>,
    adapters: &[(Adapter, f32)],
    rows: &Rows,
    context: &Context,
) -> Outcome<Measured> {
    let attached = open::attach(model, adapters)?;
    let options =
        EvaluateOptions { batch_size: BATCH, stop: rows.stop.clone(), exact_match: rows.kind != RowKind::Text };
    let measured = evaluate(model, &attached, &rows.samples, &options, context.cancel())
        .map_err(|error| failures::evaluate(rows.places(), &error))?;
    let measured = measured.ok_or_else(Failure::interrupted)?;
    Ok(Measured { samples: measured.samples as u64, exact_match: measured.accuracy(), loss: measured.loss })
}

/// Generates an answer and reports its text as it grows.
pub fn generate(
    base: &BaseSource,
    adapters: &[AdapterSource],
    (prompt, chat): (&str, bool),
    max_new_tokens: usize,
    context: &Context,
) -> Outcome<Generated> {
    let base = open::base(base)?;
    let adapters = open::adapters(&base, adapters)?;
    let model = open::model_to_generate(&base)?;
    let attached = open::attach(&model, &adapters)?;
    let tokenizer = base.tokenizer();
    let (format, ids) = bounded::tokenise(prompt.len() as u64, || {
        let format = chat.then(|| ChatFormat::new(tokenizer)).transpose().map_err(|error| failures::chat(&error))?;
        let ids = encode(tokenizer, format.as_ref(), prompt)?;
        Ok((format, ids))
    })?;
    let stop = super::rows::stop_tokens(&base, format.as_ref());
    let ending = format.as_ref().and_then(|format| format.ending().text());
    let mut answer =
        Answer { tokenizer, prompt: &ids, ending, context, tokens: Vec::new(), shown: String::new(), failed: None };
    let prompt = Prompt { ids: &ids, max_new_tokens };
    generate::generate(&model, &attached, prompt, &stop, &mut |token| answer.push(token))
        .map_err(|error| failures::model(&error))?;
    let tokens = answer.tokens.len();
    let text = answer.into_text()?;
    let has_template = tokenizer.template().is_some();
    let remark =
        (text.trim().is_empty() && max_new_tokens > 0).then(|| remark_on_silence(chat, has_template).to_owned());
    Ok(Generated { text, tokens, remark })
}

/// The prompt's ids: as a user's message of a chat, or as it stands.
fn encode(tokenizer: &Tokenizer, format: Option<&ChatFormat<'_>>, prompt: &str) -> Outcome<Vec<u32>> {
    match format {
        Some(format) => {
            let chat = vec![Message::new("user", prompt)].into();
            format.prompt(&chat).map_err(|error| failures::chat(&error))
        }
        None => tokenizer.encode_prompt(prompt).map_err(unreadable),
    }
}

fn unreadable(error: TokenizerError) -> Failure {
    Failure::new(Kind::Usage, error)
}

/// An answer in the making. A token may be a part of a character: what cannot be shown yet waits for the next.
struct Answer<'a> {
    tokenizer: &'a Tokenizer,
    prompt: &'a [u32],
    /// The text that ends it, if no token of its own does.
    ending: Option<&'a str>,
    context: &'a Context,
    tokens: Vec<u32>,
    shown: String,
    failed: Option<TokenizerError>,
}

impl Answer<'_> {
    /// Takes a token and reports what it adds; breaks at the answer's end.
    fn push(&mut self, token: u32) -> ControlFlow<()> {
        self.tokens.push(token);
        match self.tokenizer.decode_behind(self.prompt, &self.tokens) {
            Ok(text) if !text.ends_with('\u{fffd}') => {
                if let Some(new) = text.strip_prefix(&self.shown) {
                    self.context.report(Progress::Text { text: new.to_owned() });
                }
                self.shown = text;
            }
            Ok(_) => {}
            Err(error) => self.failed = Some(error),
        }
        let stop = self.failed.is_some()
            || has_ended(&self.shown, self.ending)
            || self.context.cancel().load(Ordering::Relaxed);
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The whole text, without what ends it.
    fn into_text(self) -> Outcome<String> {
        if let Some(error) = self.failed {
            return Err(unreadable(error));
        }
        let text = self.tokenizer.decode_behind(self.prompt, &self.tokens).map_err(unreadable)?;
        Ok(self
            .ending
            .and_then(|ending| text.split_once(ending))
            .map_or(text.as_str(), |(answer, _)| answer)
            .to_owned())
    }
}

/// What is said of an answer that is empty: a person who sees nothing does not know whether anything ran.
fn remark_on_silence(chat: bool, has_template: bool) -> &'static str {
    match (chat, has_template) {
        (true, _) => "the answer is empty: the model ended it at once",
        (false, true) => {
            "the answer is empty: the model takes the prompt for a finished text; this base was taught chats, so ask it \
             with --chat"
        }
        (false, false) => "the answer is empty: the model takes the prompt for a finished text",
    }
}

/// Whether an answer holds the text that ends it.
fn has_ended(text: &str, ending: Option<&str>) -> bool {
    ending.is_some_and(|ending| text.contains(ending))
}
