//! The versions that follow from each other, from the first one on.

use potluck_protocol::channel::Lineage;
use potluck_protocol::id::ManifestId;

use super::super::not_of;
use super::gather::Gathered;
use crate::failure::Failure;

/// As far as the chain holds.
pub struct Chain {
    pub lineage: Lineage,
    /// Why the next one is not taken.
    pub broken: Option<Failure>,
}

impl Gathered {
    /// `lineage` is the channel's without versions.
    pub fn chain(&self, mut lineage: Lineage) -> Chain {
        let mut broken = None;
        for (height, manifest) in &self.by_height {
            let Err(error) = lineage.extend(manifest) else { continue };
            let refused = || not_of(manifest.id(), &error).context(format!("version {height} is refused"));
            broken = Some(self.gap.clone().unwrap_or_else(refused));
            break;
        }
        Chain { lineage, broken }
    }
}

/// The height of a version of the chain; 0 for genesis.
pub fn height_of(lineage: &Lineage, version: Option<ManifestId>) -> Option<u32> {
    match version {
        None => Some(0),
        Some(id) => lineage.versions().iter().find(|release| release.id == id).map(|release| release.version.height),
    }
}
