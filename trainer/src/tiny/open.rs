//! The embedded base, opened as any other base is.

use potluck_protocol::id::BaseId;

use super::FILES;
use crate::base::{Base, BaseError, static_bytes};

/// The base inside this program.
pub fn base() -> Result<Base, BaseError> {
    let [(_, config), (_, model), (_, tokenizer)] = FILES;
    Base::from_memory(config, static_bytes(model), tokenizer)
}

/// Its id: a function of the program's own bytes.
pub fn base_id() -> Result<BaseId, BaseError> {
    base()?.id()
}
