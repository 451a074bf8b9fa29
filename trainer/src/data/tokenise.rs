//! From rows to training samples.
//!
//! Prompt and completion are tokenised apart and joined, then the end-of-text token follows. Tokenised together, a
//! token could reach across the boundary (`"= "` + `"7"`), and what the model sees after a prompt alone would not be
//! what it was trained on; apart, the boundary is exact and the prompt's ids are those that generation starts from.

use std::path::PathBuf;

use crate::base::{Tokenizer, TokenizerError};
use crate::data::jsonl::{Row, Rows};
use crate::sample::Sample;

/// What happens to a row that is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlong {
    /// The row is an error.
    Refuse,
    /// Tokens are cut from the start of the prompt. The completion is never cut: a row whose completion alone is too
    /// long is an error.
    CutPrompt,
}

/// Samples in the order of the rows.
#[derive(Clone, Debug)]
pub struct Tokenised {
    pub samples: Vec<Sample>,
    /// How many prompts were cut.
    pub cut: usize,
}

/// Why a row gives no sample.
#[derive(Debug, thiserror::Error)]
pub enum TokeniseError {
    #[error("{}:{line}: {tokens} tokens, at most {max} are taken: allow longer rows, or have prompts cut at their start", path.display())]
    TooLong { path: PathBuf, line: usize, tokens: usize, max: usize },
    #[error("{}:{line}: the completion alone has {tokens} tokens, at most {max} are taken", path.display())]
    CompletionTooLong { path: PathBuf, line: usize, tokens: usize, max: usize },
    #[error("{}:{line}: {error}", path.display())]
    Tokenizer { path: PathBuf, line: usize, error: TokenizerError },
}

/// All rows as samples of at most `max` tokens.
pub fn samples(rows: &Rows, tokenizer: &Tokenizer, max: usize, overlong: Overlong) -> Result<Tokenised, TokeniseError> {
    let mut tokenised = Tokenised { samples: Vec::with_capacity(rows.rows.len()), cut: 0 };
    for row in &rows.rows {
        let (path, line) = (|| rows.path.clone(), row.line);
        let wrong = |error| TokeniseError::Tokenizer { path: path(), line, error };
        let mut sample = sample(row, tokenizer).map_err(wrong)?;
        let tokens = sample.ids.len();
        if tokens > max {
            let completion = sample.completion().len();
            if overlong == Overlong::Refuse {
                return Err(TokeniseError::TooLong { path: path(), line, tokens, max });
            }
            // One token of prompt stays: without a token before it, the completion's first would be no label.
            if completion + 1 > max {
                return Err(TokeniseError::CompletionTooLong { path: path(), line, tokens: completion, max });
            }
            cut_prompt(&mut sample, tokens - max);
            tokenised.cut += 1;
        }
        tokenised.samples.push(sample);
    }
    Ok(tokenised)
}

/// One row, without a limit.
pub fn sample(row: &Row, tokenizer: &Tokenizer) -> Result<Sample, TokenizerError> {
    let mut ids = tokenizer.encode_prompt(&row.prompt)?;
    let labels_from = ids.len();
    ids.extend(tokenizer.encode_continuation(&row.completion)?);
    ids.push(tokenizer.eos());
    Ok(Sample { ids, labels_from })
}

fn cut_prompt(sample: &mut Sample, count: usize) {
    sample.ids.drain(..count);
    sample.labels_from -= count;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::small;
    use crate::data::jsonl;

    fn rows(prompt: &str, completion: &str) -> Rows {
        let text = serde_json::json!({"prompt": prompt, "completion": completion}).to_string();
        jsonl::read_from(Path::new("d.jsonl"), text.as_bytes()).unwrap()
    }

    #[test]
    fn the_boundary_is_exact_and_the_end_is_a_label() {
        // Together, "a" + "b" would be the one token 4.
        let tokenised = samples(&rows("ca", "bc"), &small::tokenizer(), 9, Overlong::Refuse).unwrap();
        assert_eq!(tokenised.samples, [Sample { ids: vec![3, 1, 2, 3, 0], labels_from: 2 }]);
    }

    #[test]
    fn long_rows_are_refused_or_lose_the_start_of_the_prompt() {
        let row = rows("caca", "b");
        let error = samples(&row, &small::tokenizer(), 5, Overlong::Refuse).unwrap_err().to_string();
        assert!(error.starts_with("d.jsonl:1: 6 tokens, at most 5"), "{error}");
        let cut = samples(&row, &small::tokenizer(), 4, Overlong::CutPrompt).unwrap();
        assert_eq!((cut.samples[0].ids.as_slice(), cut.samples[0].labels_from, cut.cut), (&[3, 1, 2, 0][..], 2, 1));
        let error = samples(&row, &small::tokenizer(), 2, Overlong::CutPrompt).unwrap_err().to_string();
        assert!(error.contains("completion alone has 2 tokens"), "{error}");
    }
}
