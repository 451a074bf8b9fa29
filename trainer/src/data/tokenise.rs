//! From rows to training samples.
//!
//! - **Prompt and completion** are one text, whose first ids are those of the prompt alone, since generation starts from
//!   these. Where a token of the whole text reaches over the border (`"= "` + `"7"`) the completion is encoded apart, as
//!   a piece of the text and not as one of its own. The end-of-text token follows.
//! - **Chats** are written by the base's template: see [`super::chat`].
//! - **Plain text** ends with the end-of-text token, and all of it is labelled. What is longer than the limit becomes
//!   several samples; each begins with the last token of the one before, so that every token is a label once.

use std::path::PathBuf;

use rayon::prelude::*;

use crate::base::{Joined, Tokenizer, TokenizerError};
use crate::data::chat::{ChatError, ChatFormat, ChatSample};
use crate::data::row::{Content, Kind, Row, Rows};
use crate::data::sample::Sample;
use crate::names::named;

/// What happens to a row that is longer than the limit. Plain text is never too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlong {
    /// The row is an error.
    #[default]
    Refuse,
    /// Tokens are cut off: from the start of a prompt (never from its completion), from the end of a chat. A row that
    /// then has no label is an error.
    Cut,
}

named!(Overlong { Refuse = "refuse", Cut = "cut" });

/// Samples in the order of the rows.
#[derive(Clone, Debug)]
pub struct Tokenised {
    /// All of at most the length that was asked for.
    pub samples: Vec<Sample>,
    /// The line of each sample's row.
    pub lines: Vec<usize>,
    /// How many rows were cut.
    pub cut: usize,
    /// How many rows have an answer that is encoded apart from what stands before it.
    pub apart: usize,
    /// How many rows bring the begin or end of text themselves.
    pub written: usize,
}

/// Why a row gives no sample.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum RowError {
    #[error("{tokens} tokens, at most {max} are taken: allow longer rows, or have them cut")]
    TooLong { tokens: usize, max: usize },
    #[error("the completion alone has {tokens} tokens, at most {max} are taken")]
    CompletionTooLong { tokens: usize, max: usize },
    #[error("no assistant turn begins in the first {max} of {tokens} tokens: cut, this chat has nothing to learn")]
    CutBeforeAnswer { tokens: usize, max: usize },
    #[error("every token is masked, there is nothing to learn from this row")]
    Masked,
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Chat(#[from] ChatError),
}

/// Why rows give no samples.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum TokeniseError {
    #[error("{}:{line}: {error}", path.display())]
    Row { path: PathBuf, line: usize, error: RowError },
    #[error("{}: the rows are chats: {error}", path.display())]
    Format { path: PathBuf, error: ChatError },
}

/// All rows as samples of at most `max` tokens.
pub fn samples(rows: &Rows, tokenizer: &Tokenizer, max: usize, overlong: Overlong) -> Result<Tokenised, TokeniseError> {
    let format = |error| TokeniseError::Format { path: rows.path.clone(), error };
    let encoder = Encoder::new(tokenizer, rows.kind, max, overlong).map_err(format)?;
    let count = rows.rows.len();
    let mut tokenised = Tokenised {
        samples: Vec::with_capacity(count),
        lines: Vec::with_capacity(count),
        cut: 0,
        apart: 0,
        written: 0,
    };
    for (row, encoded) in rows.rows.iter().zip(encoder.rows(&rows.rows)) {
        let wrong = |error| TokeniseError::Row { path: rows.path.clone(), line: row.line, error };
        let encoded = encoded.map_err(wrong)?;
        tokenised.cut += usize::from(encoded.cut);
        tokenised.apart += usize::from(encoded.remarks.apart);
        tokenised.written += usize::from(encoded.remarks.written);
        tokenised.lines.extend(encoded.samples.iter().map(|_| row.line));
        tokenised.samples.extend(encoded.samples);
    }
    Ok(tokenised)
}

/// A prompt and its completion, without a limit.
pub fn completion(prompt: &str, completion: &str, tokenizer: &Tokenizer) -> Result<Sample, TokenizerError> {
    let Joined { mut ids, from, .. } = tokenizer.encode_joined(prompt, completion)?;
    end(&mut ids, tokenizer);
    Ok(Sample::completing(ids, from))
}

/// Puts the end-of-text token behind, once.
fn end(ids: &mut Vec<u32>, tokenizer: &Tokenizer) {
    if ids.last() != Some(&tokenizer.eos()) {
        ids.push(tokenizer.eos());
    }
}

/// What is to be said of a row, though it is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// A token would have reached over the border before an answer: see the module's head.
    pub apart: bool,
    /// The text begins or ends with the token that is put there, so it was written by a template already.
    pub written: bool,
}

/// What a row became.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Each of at most the encoder's length; one, unless the row is a text.
    pub samples: Vec<Sample>,
    /// Tokens of the whole row.
    pub tokens: usize,
    /// Whether something was left out to keep to the length.
    pub cut: bool,
    /// What whoever trains on the row should know.
    pub remarks: Remarks,
}

/// Makes samples of rows of one kind.
#[derive(Debug)]
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    chat: Option<ChatFormat<'a>>,
    max: usize,
    overlong: Overlong,
}

impl<'a> Encoder<'a> {
    /// Samples get at most `max` tokens, and room for two in any case: one to predict the other from.
    pub fn new(tokenizer: &'a Tokenizer, kind: Kind, max: usize, overlong: Overlong) -> Result<Self, ChatError> {
        let chat = (kind == Kind::Chat).then(|| ChatFormat::new(tokenizer)).transpose()?;
        Ok(Self { tokenizer, chat, max: max.max(2), overlong })
    }

    /// How chats are written, if the rows are chats.
    pub fn chat(&self) -> Option<&ChatFormat<'a>> {
        self.chat.as_ref()
    }

    /// Each row by itself, in their order, on the calling thread's rayon pool.
    pub fn rows(&self, rows: &[Row]) -> Vec<Result<Encoded, RowError>> {
        rows.par_iter().map(|row| self.row(row)).collect()
    }

    /// One row. An error if it is too long, has nothing to learn, or cannot be written by the template.
    pub fn row(&self, row: &Row) -> Result<Encoded, RowError> {
        let encoded = match &row.content {
            Content::Completion { prompt, completion } => self.completion(prompt, completion)?,
            Content::Chat(chat) => {
                let format = self.chat.as_ref().ok_or(ChatError::NoTemplate)?;
                let ChatSample { sample, apart } = format.sample(chat)?;
                let written = self.is_written_twice(&sample.ids);
                let encoded = self.within(sample, |sample, _| Ok(sample.cut_end(self.max)))?;
                Encoded { remarks: Remarks { apart: apart > 0, written }, ..encoded }
            }
            Content::Text(text) => self.windows(text)?,
        };
        match encoded.samples.iter().any(|sample| sample.labelled() > 0) {
            true => Ok(encoded),
            false if encoded.cut => Err(RowError::CutBeforeAnswer { tokens: encoded.tokens, max: self.max }),
            false => Err(RowError::Masked),
        }
    }

    fn completion(&self, prompt: &str, completion: &str) -> Result<Encoded, RowError> {
        let Joined { mut ids, from, apart } = self.tokenizer.encode_joined(prompt, completion)?;
        let written = self.is_written(prompt, &ids);
        end(&mut ids, self.tokenizer);
        let encoded = self.within(Sample::completing(ids, from), |sample, over| self.cut_prompt(sample, over))?;
        Ok(Encoded { remarks: Remarks { apart, written }, ..encoded })
    }

    /// Whether a text brings the tokens itself that are put around it.
    fn is_written(&self, text: &str, ids: &[u32]) -> bool {
        let begins = self.tokenizer.begin_text().is_some_and(|begin| text.starts_with(&begin));
        begins || ids.last() == Some(&self.tokenizer.eos())
    }

    /// Whether a chat has the begin of text, or its end, twice in a row: a content was written by a template already.
    fn is_written_twice(&self, ids: &[u32]) -> bool {
        let format = self.chat.as_ref().map(|format| format.ending().token());
        let doubles = |id: u32| Some(id) == format || self.tokenizer.is_eos(id) || self.tokenizer.begins(id);
        ids.windows(2).any(|pair| pair[0] == pair[1] && doubles(pair[0]))
    }

    /// The sample, cut if it is over the length and that is wanted.
    fn within(
        &self,
        sample: Sample,
        cut: impl Fn(&Sample, usize) -> Result<Sample, RowError>,
    ) -> Result<Encoded, RowError> {
        let tokens = sample.ids.len();
        match tokens.checked_sub(self.max).filter(|&over| over > 0) {
            None => Ok(Encoded { samples: vec![sample], tokens, cut: false, remarks: Remarks::default() }),
            Some(_) if self.overlong == Overlong::Refuse => Err(RowError::TooLong { tokens, max: self.max }),
            Some(over) => {
                Ok(Encoded { samples: vec![cut(&sample, over)?], tokens, cut: true, remarks: Remarks::default() })
            }
        }
    }

    fn cut_prompt(&self, sample: &Sample, over: usize) -> Result<Sample, RowError> {
        let tokens = sample.completion().len();
        // One token of prompt stays: without a token before it, the completion's first would be no label.
        if tokens + 1 > self.max {
            return Err(RowError::CompletionTooLong { tokens, max: self.max });
        }
        Ok(sample.cut_start(over))
    }

    fn windows(&self, text: &str) -> Result<Encoded, RowError> {
        let mut ids = self.tokenizer.encode_prompt(text)?;
        let remarks = Remarks { apart: false, written: self.is_written(text, &ids) };
        end(&mut ids, self.tokenizer);
        let starts = (0..ids.len().saturating_sub(1)).step_by(self.max - 1);
        let window = |start: usize| {
            let ids = ids[start..ids.len().min(start + self.max)].to_vec();
            Sample::completing(ids, 0)
        };
        Ok(Encoded { samples: starts.map(window).collect(), tokens: ids.len(), cut: false, remarks })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::base::{Template, small};
    use crate::data::jsonl;

    fn read(row: &serde_json::Value) -> Rows {
        jsonl::read_from(Path::new("d.jsonl"), row.to_string().as_bytes()).unwrap()
    }

    fn rows(prompt: &str, completion: &str) -> Rows {
        read(&serde_json::json!({"prompt": prompt, "completion": completion}))
    }

    #[test]
    fn the_boundary_is_exact_and_the_end_is_a_label() {
        // Together, "a" + "b" would be the one token 4.
        let tokenised = samples(&rows("ca", "bc"), &small::tokenizer(), 9, Overlong::Refuse).unwrap();
        assert_eq!(tokenised.samples, [Sample::completing(vec![3, 1, 2, 3, 0], 2)]);
    }

    #[test]
    fn long_rows_are_refused_or_lose_the_start_of_the_prompt() {
        let row = rows("caca", "b");
        let error = samples(&row, &small::tokenizer(), 5, Overlong::Refuse).unwrap_err().to_string();
        assert!(error.starts_with("d.jsonl:1: 6 tokens, at most 5"), "{error}");
        let cut = samples(&row, &small::tokenizer(), 4, Overlong::Cut).unwrap();
        assert_eq!((&cut.samples[0], cut.cut), (&Sample::completing(vec![3, 1, 2, 0], 2), 1));
        let error = samples(&row, &small::tokenizer(), 2, Overlong::Cut).unwrap_err().to_string();
        assert!(error.contains("completion alone has 2 tokens"), "{error}");
    }

    #[test]
    fn long_chats_are_refused_or_lose_their_end() {
        let template = "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}!{% endif %}{% endfor %}";
        let tokenizer = small::tokenizer().with_template(Template::new(template.to_owned()));
        let turn = |role: &str, content: &str| serde_json::json!({"role": role, "content": content});
        let row = read(&serde_json::json!({"messages": [turn("user", "cc"), turn("assistant", "aaa")]}));
        let cut = |max, overlong| samples(&row, &tokenizer, max, overlong);
        assert_eq!(cut(7, Overlong::Refuse).unwrap().samples, [Sample::completing(vec![3, 3, 0, 1, 1, 1, 0], 3)]);
        assert!(cut(6, Overlong::Refuse).unwrap_err().to_string().contains("7 tokens, at most 6"));
        assert_eq!(cut(4, Overlong::Cut).unwrap().samples, [Sample::completing(vec![3, 3, 0, 1], 3)]);
        let error = cut(3, Overlong::Cut).unwrap_err().to_string();
        assert!(error.starts_with("d.jsonl:1: no assistant turn begins in the first 3 of 7"), "{error}");
        let error = samples(&row, &small::tokenizer(), 9, Overlong::Refuse).unwrap_err().to_string();
        assert!(error.starts_with("d.jsonl: the rows are chats: the base has no chat template"), "{error}");
    }

    #[test]
    fn a_chat_without_a_label_is_an_error() {
        let template = "{% for m in messages %}{{ m.content }}{% if false %}{% generation %}{% endgeneration %}{% endif %}{% endfor %}";
        let tokenizer = small::tokenizer().with_template(Template::new(template.to_owned()));
        let row = read(&serde_json::json!({"messages": [{"role": "assistant", "content": "abc"}]}));
        let error = samples(&row, &tokenizer, 9, Overlong::Refuse).unwrap_err().to_string();
        assert_eq!(error, "d.jsonl:1: every token is masked, there is nothing to learn from this row");
    }

    proptest! {
        #[test]
        fn every_token_of_a_text_is_a_label_once(text in "[abc]{1,60}", max in 2usize..20) {
            let tokenised =
                samples(&read(&serde_json::json!({"text": text})), &small::tokenizer(), max, Overlong::Refuse).unwrap();
            let mut ids = small::tokenizer().encode_prompt(&text).unwrap();
            ids.push(0);
            let labels = tokenised.samples.iter().flat_map(|sample| sample.targets().map(|(_, id)| id));
            prop_assert_eq!(labels.collect::<Vec<_>>(), &ids[1..]);
            prop_assert!(tokenised.samples.iter().all(|sample| (2..=max).contains(&sample.ids.len())));
            prop_assert_eq!(tokenised.lines, vec![1; tokenised.samples.len()]);
        }
    }
}
