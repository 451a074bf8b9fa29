//! Looking at a file of rows before anything is trained on it.

use std::path::Path;

use potluck_trainer::data::check::{self, Options, Report};

use super::open;
use crate::failure::Outcome;
use crate::worker::proto::{BaseSource, CheckSettings};
use crate::worker::{bounded, failures};

pub fn check(base: &BaseSource, data: &Path, settings: &CheckSettings) -> Outcome<Report> {
    let base = open::base(base)?;
    let options = Options {
        max_length: settings.max_length,
        overlong: settings.overlong,
        batch_tokens: settings.batch_tokens,
        preview: settings.preview,
        positions: base.positions().map(|positions| positions as usize),
    };
    let bytes = std::fs::metadata(data).map_or(0, |metadata| metadata.len());
    let check = || check::check(data, base.tokenizer(), &options).map_err(|error| failures::check(data, &error));
    bounded::tokenise(bytes, check)
}
