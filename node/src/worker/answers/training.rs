//! Training and running a model. An evaluation answers [`Measured`], a look at rows a [`Report`].
//!
//! [`Report`]: potluck_trainer::data::check::Report

use std::path::PathBuf;

use potluck_trainer::data::row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_forms;
use crate::worker::proto::Measured;

/// A training run came to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trained {
    /// The PEFT folder that was written.
    #[schema(value_type = String)]
    pub folder: PathBuf,
    /// What it was trained on.
    #[schema(value_type = json_forms::RowKind)]
    pub rows: row::Kind,
    /// Optimiser steps that were done.
    pub steps: u64,
    /// Steps that the adapter has had: fewer where the best state was kept.
    pub kept: u64,
    /// Before all steps were done.
    pub stopped_early: bool,
    /// Over the whole run.
    pub tokens_per_second: f64,
    /// Of the last step.
    pub loss: f64,
    /// On the held-out rows, if there were some.
    pub held_out: Option<Measured>,
}

/// A prompt was continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Generated {
    /// Without the prompt.
    pub text: String,
    /// Tokens of it, with the one that ended it.
    pub tokens: usize,
    /// Why there is no text, and what may give one. Left out if there is some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}
