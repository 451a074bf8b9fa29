//! What `data check` finds in rows, as JSON. The types are `potluck_trainer::data`'s.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::texts::Digest;

/// What a row is. All rows of a file are of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// `{"prompt": ..., "completion": ...}`
    Completion,
    /// `{"messages": [{"role": ..., "content": ...}, ...]}`
    Chat,
    /// `{"text": ...}`
    Text,
}

/// Lines count from 1; lists are cut, counts are not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// `null` if not one line is a row.
    pub kind: Option<RowKind>,
    /// Lines that are rows, whether or not they can be trained on.
    pub rows: usize,
    /// Samples to train on: one a row, several of a long text.
    pub samples: usize,
    /// Tokens of all samples.
    pub tokens: usize,
    /// Those of them that the loss counts.
    pub trained_tokens: usize,
    /// Of whole rows, before anything is cut.
    pub lengths: Option<Lengths>,
    /// The limit that the rows were held against, in tokens.
    pub max_length: usize,
    /// The first rows over `max_length`, with their length.
    pub overlong: Vec<RowTokens>,
    /// Rows over `max_length`; texts are never.
    pub overlong_rows: usize,
    /// Those of them that are cut rather than refused.
    pub cut_rows: usize,
    /// Lines that cannot be trained on, and why.
    pub bad: Vec<BadRow>,
    /// How many there are, listed or not.
    pub bad_rows: usize,
    /// Groups of lines with equal content.
    pub duplicates: Vec<Vec<usize>>,
    /// How many rows are in such groups.
    pub duplicate_rows: usize,
    /// Groups of lines with one question and different answers.
    pub contradictions: Vec<Vec<usize>>,
    /// How many rows are in such groups.
    pub contradicting_rows: usize,
    /// The first rows with a text that is empty or blank.
    pub blank: Vec<BlankRow>,
    /// How many there are, listed or not.
    pub blank_rows: usize,
    /// Lines of rows in which a token of the whole text would have reached over the border before an answer, so that the
    /// answer is encoded apart.
    #[serde(default)]
    pub apart: Vec<usize>,
    /// How many there are, listed or not.
    #[serde(default)]
    pub apart_rows: usize,
    /// Lines of rows that bring the begin or the end of text themselves: a template has written them already.
    #[serde(default)]
    pub written: Vec<usize>,
    /// How many there are, listed or not.
    #[serde(default)]
    pub written_rows: usize,
    /// What is to be said of the tokenizer, in words.
    #[serde(default)]
    pub tokenizer: Option<String>,
    /// How many positions the base was made for, if it says so.
    #[serde(default)]
    pub positions: Option<usize>,
    /// Lines of rows that reach beyond them as they are trained on.
    #[serde(default)]
    pub beyond: Vec<RowTokens>,
    /// How many there are, listed or not.
    #[serde(default)]
    pub beyond_rows: usize,
    /// How the answers of chats end, in words.
    #[serde(default)]
    pub ending: Option<String>,
    /// How many micro-batches the samples would fill.
    pub packing: Packing,
    /// The first rows, as they are trained on.
    pub preview: Vec<RowPreview>,
    /// Of the rows' content.
    pub data: Option<Digest>,
    /// Of the chat template, if the rows are chats.
    pub template: Option<Digest>,
}

/// Tokens of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lengths {
    /// The mean, in tokens.
    pub mean: f64,
    /// Half of the rows are no longer than this.
    pub p50: usize,
    /// Nine of ten rows are no longer.
    pub p90: usize,
    /// Ninety-nine of a hundred rows are no longer.
    pub p99: usize,
    /// The length of the longest row.
    pub longest: usize,
    /// Where the longest row is.
    pub longest_line: usize,
}

/// A line and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BadRow {
    /// Counted from 1.
    pub line: usize,
    /// In words, for a person.
    pub reason: String,
}

/// A line and how long its row is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RowTokens {
    /// Counted from 1.
    pub line: usize,
    /// Length of the whole row.
    pub tokens: usize,
}

/// A row with a blank text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlankRow {
    /// Counted from 1.
    pub line: usize,
    /// Which text is blank, in words.
    pub what: String,
}

/// How many micro-batches the samples fill, each up to a budget of tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Packing {
    /// The budget of a micro-batch, in tokens.
    pub batch_tokens: usize,
    /// How many are filled.
    pub micro_batches: usize,
}

/// A row as it is trained on, special tokens written out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RowPreview {
    /// Counted from 1.
    pub line: usize,
    /// In the order of the row.
    pub pieces: Vec<Piece>,
    /// False if the end is left out.
    pub whole: bool,
}

/// A run of tokens that are all trained or all masked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Piece {
    /// Whether the loss counts these tokens.
    pub trained: bool,
    /// What the tokens decode to.
    pub text: String,
    /// It looks like a token and is none: somebody's words.
    #[serde(default)]
    pub lookalike: bool,
}
