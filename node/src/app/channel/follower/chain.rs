//! What a follower believes of the versions that it has: those that follow from each other, from the first one on.

use std::collections::BTreeMap;

use potluck_protocol::channel::{Claim, VersionInfo};
use potluck_protocol::id::{FoldDigest, ManifestId};
use potluck_protocol::lineage::{Lineage, enclose, is_conflict};
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::Authentic;

use crate::app::errors::ChannelError;
use crate::failure::{Failure, Kind};
use crate::store::Halt;

/// What a steward was found to have done, and how it is said to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub halt: Halt,
    /// One proof each, in the order in which they are announced.
    pub claims: Vec<Claim>,
}

impl Found {
    /// Two versions for one height: a claim that names both, and one that encloses them, if they fit. Programs from before
    /// decision 0023 cannot read the second, and do not ask whoever gave it to them for ten minutes: the first comes first.
    pub fn equivocation(one: &Authentic<Manifest>, other: &Authentic<Manifest>) -> Self {
        let (first, second) = (one.id().min(other.id()), one.id().max(other.id()));
        let claims = std::iter::once(Claim::Equivocation { first, second }).chain(enclose(one, other)).collect();
        Self { halt: Halt::Equivocation { first, second }, claims }
    }

    /// A version whose recipe gives something else.
    pub fn mismatch(version: ManifestId, digest: FoldDigest) -> Self {
        Self { halt: Halt::Mismatch { version, digest }, claims: vec![Claim::Mismatch { version, digest }] }
    }
}

/// What was found.
#[derive(Default)]
pub struct Gathered {
    pub by_height: BTreeMap<u32, Authentic<Manifest>>,
    /// Two that the steward signed for one height.
    pub conflict: Option<Found>,
    /// The height of a version that is not among them, and why.
    pub gap: Option<(u32, Failure)>,
    /// Announced by the steward as versions, and handed out by nobody: whether they are of this channel is not known.
    pub unobtained: Vec<ManifestId>,
    /// How many of those are newer than what is here, by name of this channel.
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
            self.conflict.get_or_insert_with(|| Found::equivocation(other, manifest));
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
