//! `state.log`.
use crate::store::error::Result;
use crate::store::state::{Record, State};

#[derive(Debug, Default)]
pub(crate) struct Log {
    state: State,
}

impl Log {
    pub fn state(&self) -> &State {
        &self.state
    }
    pub fn append(&mut self, record: Record) -> Result<()> {
        self.state.apply(record);
        Ok(())
    }
}
