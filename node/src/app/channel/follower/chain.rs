//! What a follower believes of the versions that it has: those that follow from each other, from the first one on.

use std::collections::BTreeMap;

use potluck_protocol::channel::VersionInfo;
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::{Lineage, is_conflict};
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::Authentic;

use crate::app::errors::ChannelError;
use crate::failure::{Failure, Kind};

/// What was found.
#[derive(Default)]
pub struct Gathered {
    pub by_height: BTreeMap<u32, Authentic<Manifest>>,
    /// Two that the steward signed for one height.
    pub conflict: Option<(ManifestId, ManifestId)>,
    /// The height of a version that is not among them, and why.
    pub gap: Option<(u32, Failure)>,
    /// Newer versions that were announced and that nobody handed out.
    pub withheld: usize,
    /// Bytes of rows that came over the network.
    pub fetched_bytes: u64,
}

impl Gathered {
    /// Takes one up, if it is a version of this channel by its steward.
    pub fn add(&mut self, lineage: &Lineage, manifest: Authentic<Manifest>) {
        self.compare(lineage, &manifest);
        if let Some(version) = version_of(lineage, &manifest) {
            self.by_height.entry(version.height).or_insert(manifest);
        }
    }

    /// Whether it contradicts what is known.
    pub fn compare(&mut self, lineage: &Lineage, manifest: &Authentic<Manifest>) {
        let other = version_of(lineage, manifest).and_then(|version| self.by_height.get(&version.height));
        if let Some(other) = other.filter(|other| is_conflict(other, manifest)) {
            let (first, second) = (other.id().min(manifest.id()), other.id().max(manifest.id()));
            self.conflict.get_or_insert((first, second));
        }
    }
}

/// As far as the chain holds.
pub struct Chain {
    pub lineage: Lineage,
    /// Why the next one is not taken.
    pub broken: Option<Failure>,
    /// It exists, and nobody who is connected hands it out.
    pub withheld: bool,
}

impl Gathered {
    /// `lineage` is the channel's without versions.
    pub fn chain(&self, mut lineage: Lineage) -> Chain {
        let mut broken = None;
        for (height, manifest) in &self.by_height {
            let Err(error) = lineage.extend(manifest) else { continue };
            let refused = || {
                let not_of = ChannelError::NotOf { id: manifest.id(), error };
                Failure::from(not_of).context(format!("version {height} is refused"))
            };
            broken = Some(self.gap.clone().map_or_else(refused, |(_, gap)| gap));
            break;
        }
        let lacking = if broken.is_some() { None } else { self.lacking(lineage.next_height()) };
        Chain { lineage, withheld: lacking.is_some(), broken: broken.or(lacking) }
    }

    /// That something newer exists is known, and what it says is not: it is no reason to say that nothing is new.
    fn lacking(&self, next_height: u32) -> Option<Failure> {
        let gap = self.gap.clone().filter(|(height, _)| *height >= next_height);
        let what = match self.withheld {
            0 => return gap.map(|(_, failure)| failure),
            1 => "a newer version was announced and could not be had".to_owned(),
            count => format!("{count} newer versions were announced and could not be had"),
        };
        Some(Failure::new(Kind::NotFound, format!("{what}: no connected peer handed out its manifest")))
    }
}

/// A version of this channel, signed by its steward.
pub fn version_of<'a>(lineage: &Lineage, manifest: &'a Authentic<Manifest>) -> Option<&'a VersionInfo> {
    let body = manifest.body();
    match &body.kind {
        ManifestKind::Version(version)
            if version.channel == lineage.channel() && body.publisher == lineage.steward() =>
        {
            Some(version)
        }
        _ => None,
    }
}

/// The height of a version of the chain; 0 for genesis.
pub fn height_of(lineage: &Lineage, version: Option<ManifestId>) -> Option<u32> {
    match version {
        None => Some(0),
        Some(id) => lineage.versions().iter().find(|release| release.id == id).map(|release| release.version.height),
    }
}
