//! Room on the disk: asked for before anything large is begun, so that nobody waits for a download that cannot end.

use super::Service;
use crate::failure::{Failure, Kind, Outcome};
use crate::text;

/// Left free beside what is written: for the index, the log and other programs.
const RESERVE: u64 = 64 << 20;

impl Service {
    /// Refuses what would fill the disk of the home. // I14
    pub(super) async fn check_room(&self, bytes: u64, what: &str) -> Outcome<()> {
        let free = self.on_store(|store| store.free_bytes()).await?;
        if free >= bytes.saturating_add(RESERVE) {
            return Ok(());
        }
        let message = format!("{what}: {} are needed and {} are free", text::bytes(bytes), text::bytes(free));
        Err(Failure::new(Kind::NoSpace, message)
            .hint("free some space on the disk of the home folder, or use another one with `--home DIR`"))
    }
}
