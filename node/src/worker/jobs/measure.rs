//! Running a model: evaluation and generation.

use std::ops::ControlFlow;
use std::path::Path;

use potluck_trainer::backend::cpu::CpuBackend;
use potluck_trainer::data::chat::ChatFormat;
use potluck_trainer::data::row::{Kind as RowKind, Message};
use potluck_trainer::evaluate::{EvaluateOptions, evaluate};
use potluck_trainer::generate::{self, Prompt};
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::model::decoder::Model;
use serde::Serialize;

use super::open;
use super::rows::Rows;
use crate::failure::{Failure, Kind, Outcome};
use crate::ipc::Progress;
use crate::worker::context::Context;
use crate::worker::failures;
use crate::worker::proto::{AdapterSource, BaseSource, Measured};

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

#[derive(Serialize)]
pub struct Generated {
    text: String,
    tokens: usize,
    /// Why there is no text, and what may give one.
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

/// Reports the text as it grows. A token may be a part of a character: what cannot be shown yet waits for the next.
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
    let unreadable = |error: potluck_trainer::base::TokenizerError| Failure::new(Kind::Usage, error);
    let format = chat.then(|| ChatFormat::new(tokenizer)).transpose().map_err(|error| failures::chat(&error))?;
    let stop = super::rows::stop_tokens(&base, format.as_ref());
    let ids = match &format {
        Some(format) => {
            format.prompt(&vec![Message::new("user", prompt)].into()).map_err(|error| failures::chat(&error))?
        }
        None => tokenizer.encode_prompt(prompt).map_err(unreadable)?,
    };
    let ending = format.as_ref().and_then(|format| format.ending().text());
    let (mut tokens, mut shown) = (Vec::new(), String::new());
    let mut failed = None;
    let mut on_token = |token: u32| {
        tokens.push(token);
        match tokenizer.decode_behind(&ids, &tokens) {
            Ok(text) if !text.ends_with('\u{fffd}') => {
                if let Some(new) = text.strip_prefix(&shown) {
                    context.report(Progress::Text { text: new.to_owned() });
                }
                shown = text;
            }
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
        let stop = failed.is_some()
            || has_ended(&shown, ending)
            || context.cancel().load(std::sync::atomic::Ordering::Relaxed);
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let prompt = Prompt { ids: &ids, max_new_tokens };
    generate::generate(&model, &attached, prompt, &stop, &mut on_token).map_err(|error| failures::model(&error))?;
    if let Some(error) = failed {
        return Err(unreadable(error));
    }
    let text = tokenizer.decode_behind(&ids, &tokens).map_err(unreadable)?;
    // What ends the answer is no part of it.
    let text = ending.and_then(|ending| text.split_once(ending)).map_or(text.as_str(), |(answer, _)| answer).to_owned();
    let has_template = tokenizer.template().is_some();
    let remark =
        (text.trim().is_empty() && max_new_tokens > 0).then(|| remark_on_silence(chat, has_template).to_owned());
    Ok(Generated { text, tokens: tokens.len(), remark })
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
