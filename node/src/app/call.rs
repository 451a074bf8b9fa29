//! A running request's surroundings: who is told how far it is, and what ends it.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ipc::{Progress, Unit};

/// A running request's surroundings.
pub struct Call<'a> {
    pub progress: &'a mpsc::Sender<Progress>,
    /// Cancelled when the request is to end at its next safe place.
    pub cancel: &'a CancellationToken,
    /// Who chose what is fetched for it.
    pub chosen_by: ChosenBy,
}

/// Who chose what is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// Whoever asks: a person, or a program of theirs.
    Us,
    /// A steward, or a stranger who proposes: it counts against the budget of the day.
    Others,
}

impl Call<'_> {
    /// The same, for what strangers have chosen.
    pub fn for_others(&self) -> Call<'_> {
        Call { chosen_by: ChosenBy::Others, ..*self }
    }

    /// Reports a new phase. A listener that is gone misses a report and nothing else.
    pub async fn phase(&self, text: impl Into<String>) {
        let _gone = self.progress.send(Progress::Phase { text: text.into() }).await;
    }

    /// Reports that so many bytes of something are done.
    pub async fn count(&self, what: &str, done: u64, total: u64) {
        let _gone = self.progress.send(Progress::Count { what: what.to_owned(), done, total, unit: Unit::Bytes }).await;
    }
}
