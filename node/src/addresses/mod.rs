//! What an address says by itself: whether it can be dialled, how far it reaches, and whose neighbour it is.
//!
//! Pure functions of a multiaddress, by which the network, the files of a home and the command line judge alike.

mod dialable;
mod group;
mod scope;

pub use dialable::{undialable, unlistenable};
pub use group::AddressGroup;
pub use scope::{AddressScope, is_loopback, is_private, is_relayed, without_peer};
