//! The chain of a channel's versions, each checked against the rules and the one before.
//!
//! Signatures are checked before (only [`Authentic`] manifests come in); whether a recipe gives the digest that a
//! version states, nobody knows without folding.

use std::collections::{BTreeMap, BTreeSet};

use crate::channel::{Change, ChannelInfo, Claim, Envelope, Opened, ProofInfo, VerdictOutcome, VersionInfo};
use crate::id::{BaseId, ManifestId};
use crate::limits::{MANIFEST_MAX, VERSIONS_MAX};
use crate::manifest::{AdapterInfo, Kind, Manifest};
use crate::recipe::{Recipe, Weight};
use crate::signed::{Authentic, PublicKey, SignatureError, Signed};
use crate::text::Name;

/// A channel with its versions so far.
#[derive(Clone, Debug)]
pub struct Lineage {
    channel: ManifestId,
    name: Name,
    steward: PublicKey,
    spec: ChannelInfo,
    versions: Vec<VersionEntry>,
}

/// A version in its place.
#[derive(Clone, Debug)]
pub struct VersionEntry {
    /// The id of the version's manifest.
    pub id: ManifestId,
    /// What the manifest says.
    pub version: VersionInfo,
    /// Seconds since 1970 by the steward's clock.
    pub created: u64,
}

/// Why a manifest is no next version of a channel. Always the signer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineageError {
    /// The chain was to begin with something else.
    #[error("it is no channel")]
    NotAChannel,
    /// The manifest is of another kind.
    #[error("it is no version of a channel")]
    NotAVersion,
    /// A version, of the channel that it names.
    #[error("it is a version of channel {}", .0.short())]
    OtherChannel(ManifestId),
    /// Only the steward makes versions.
    #[error("it is signed by {}, and the channel's steward is {}", signer.short(), steward.short())]
    Signer {
        /// Who signed it.
        signer: PublicKey,
        /// Who should have.
        steward: PublicKey,
    },
    /// Versions come in order, without gaps.
    #[error("its height is {height}, and {wanted} comes next")]
    Height {
        /// What it states.
        height: u32,
        /// What comes next.
        wanted: u32,
    },
    /// The chain has [`VERSIONS_MAX`] versions already.
    #[error("a channel has at most {VERSIONS_MAX} versions; go on in another one that names the last as its genesis")]
    Full,
    /// Not a link behind the last version, which has this height.
    #[error("it names another version before it than version {0}")]
    Previous(u32),
    /// A fold from this base, where the channel has another genesis.
    #[error("its recipe begins with base {}, which is not the channel's genesis", .0.short())]
    Genesis(BaseId),
    /// Every version has the float type that the channel lays down.
    #[error("its float type is not the channel's")]
    Type,
    /// What was ever revoked stays revoked, and only [`Change::Revoke`] adds to it.
    #[error("its revoked adapters are not those of the version before and perhaps more")]
    Revoked,
    /// The stated change gives another recipe, or one with a revoked adapter.
    #[error("its recipe is not what its change makes of the version before")]
    Recipe,
    /// This height is not below its own.
    #[error("it goes back to version {0}, which does not come before it")]
    Rollback(u32),
    /// [`Change::Revoke`] with nothing new in its list.
    #[error("it revokes nothing")]
    NothingRevoked,
    /// A channel that committed to sealed shards opens one with each release.
    #[error("it is a release without an opened evaluation shard, and the channel has sealed ones")]
    Unscored,
    /// Revocations and rollbacks score nothing.
    #[error("it opens a shard or judges proposals, and only a release does that")]
    Scored,
    /// Shards are opened in order, each once; this is its index.
    #[error("its evaluation shard {0} was opened before, or a later one was")]
    Reopened(u32),
    /// The opened shard of this index has another digest, or the channel has none there.
    #[error("its evaluation shard {0} is not what the channel committed to")]
    Commitment(u32),
    /// What an opened shard scored with has to be published beside the version.
    #[error("the rows of its suite `{0}` are not in its files")]
    Rows(Name),
}

impl Lineage {
    /// A channel without versions.
    pub fn open(spec: &Authentic<Manifest>) -> Result<Self, LineageError> {
        let body = spec.body();
        let Kind::Channel(info) = &body.kind else { return Err(LineageError::NotAChannel) };
        let (channel, name, steward) = (spec.id(), body.name.clone(), body.publisher);
        Ok(Self { channel, name, steward, spec: info.clone(), versions: Vec::new() })
    }

    /// The id of the manifest that opened the channel.
    pub fn channel(&self) -> ManifestId {
        self.channel
    }

    /// What its steward calls it.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The key that signs its versions.
    pub fn steward(&self) -> PublicKey {
        self.steward
    }

    /// Its rules.
    pub fn spec(&self) -> &ChannelInfo {
        &self.spec
    }

    /// From height 1 on.
    pub fn versions(&self) -> &[VersionEntry] {
        &self.versions
    }

    /// The newest version; none right after the channel was opened.
    pub fn head(&self) -> Option<&VersionEntry> {
        self.versions.last()
    }

    /// The version of that height; `None` for genesis and for what is not there.
    pub fn at(&self, height: u32) -> Option<&VersionEntry> {
        self.versions.get((height as usize).checked_sub(1)?)
    }

    /// The height of the next version.
    pub fn next_height(&self) -> u32 {
        self.versions.len() as u32 + 1
    }

    /// The weighted adapters in force.
    pub fn inputs(&self) -> &[(ManifestId, Weight)] {
        self.head().map_or(&[], |head| head.version.recipe.inputs())
    }

    /// All that was ever revoked, sorted.
    pub fn revoked(&self) -> &[ManifestId] {
        self.head().map_or(&[], |head| &head.version.revoked)
    }

    /// Whether an adapter for this base may be an input: genesis, or one of the versions.
    pub fn is_of(&self, base: &BaseId) -> bool {
        self.spec.genesis == *base || self.by_base(base).is_some()
    }

    /// The latest version that gives these weights.
    pub fn by_base(&self, base: &BaseId) -> Option<&VersionEntry> {
        self.versions.iter().rev().find(|entry| entry.version.base == *base)
    }

    /// The first sealed shard that no release has opened.
    pub fn next_shard(&self) -> u32 {
        let opened = self.versions.iter().filter_map(|entry| entry.version.opened.as_ref());
        opened.map(|opened| opened.index + 1).max().unwrap_or(0)
    }

    /// What a change makes of the inputs in force. `None` if the weights together are out of bounds.
    pub fn recipe(&self, inputs: impl IntoIterator<Item = (ManifestId, Weight)>) -> Option<Recipe> {
        Recipe::new(self.spec.genesis, self.spec.dtype, inputs).ok()
    }

    /// The inputs in force less these.
    pub fn without(&self, revoked: &[ManifestId]) -> Vec<(ManifestId, Weight)> {
        subtract(self.inputs(), revoked)
    }

    /// The inputs of an earlier height (0: none), less all that is revoked now.
    pub fn back_to(&self, height: u32) -> Option<Vec<(ManifestId, Weight)>> {
        let inputs = if height == 0 { &[][..] } else { self.at(height)?.version.recipe.inputs() };
        Some(subtract(inputs, self.revoked()))
    }

    /// Takes the next version, if it is one.
    pub fn extend(&mut self, manifest: &Authentic<Manifest>) -> Result<(), LineageError> {
        let body = manifest.body();
        let version = self.check(body)?.clone();
        self.versions.push(VersionEntry { id: manifest.id(), version, created: body.created });
        Ok(())
    }

    /// Whether this could be the next version, once it is signed by the publisher that it names: what a steward asks
    /// before signing.
    pub fn check<'a>(&self, body: &'a Manifest) -> Result<&'a VersionInfo, LineageError> {
        let Kind::Version(version) = &body.kind else { return Err(LineageError::NotAVersion) };
        self.check_position(version, body.publisher)?;
        self.check_change(version)?;
        self.check_opened(version, body)?;
        Ok(version)
    }

    fn check_position(&self, version: &VersionInfo, signer: PublicKey) -> Result<(), LineageError> {
        if version.channel != self.channel {
            return Err(LineageError::OtherChannel(version.channel));
        }
        if signer != self.steward {
            return Err(LineageError::Signer { signer, steward: self.steward });
        }
        if self.versions.len() >= VERSIONS_MAX {
            return Err(LineageError::Full);
        }
        let wanted = self.next_height();
        if version.height != wanted {
            return Err(LineageError::Height { height: version.height, wanted });
        }
        if version.previous != self.head().map(|head| head.id) {
            return Err(LineageError::Previous(wanted - 1));
        }
        if version.recipe.parent != self.spec.genesis {
            return Err(LineageError::Genesis(version.recipe.parent));
        }
        if version.recipe.dtype == self.spec.dtype { Ok(()) } else { Err(LineageError::Type) }
    }

    fn check_change(&self, version: &VersionInfo) -> Result<(), LineageError> {
        let before: BTreeSet<_> = self.revoked().iter().collect();
        let now: BTreeSet<_> = version.revoked.iter().collect();
        let more = now.len() > before.len();
        if !before.is_subset(&now) || (more && version.change != Change::Revoke) {
            return Err(LineageError::Revoked);
        }
        let inputs = match version.change {
            Change::Release => self.inputs().iter().copied().chain(taken_inputs(version)).collect(),
            Change::Revoke if !more => return Err(LineageError::NothingRevoked),
            Change::Revoke => self.without(&version.revoked),
            Change::Rollback(height) => self.back_to(height).ok_or(LineageError::Rollback(height))?,
        };
        let clean = !inputs.iter().any(|(adapter, _)| now.contains(adapter));
        let follows = self.recipe(inputs).is_some_and(|recipe| recipe == version.recipe);
        if clean && follows { Ok(()) } else { Err(LineageError::Recipe) }
    }

    fn check_opened(&self, version: &VersionInfo, body: &Manifest) -> Result<(), LineageError> {
        match (&version.opened, version.change) {
            (None, Change::Release) if !self.spec.evaluation.is_empty() => Err(LineageError::Unscored),
            (None, Change::Release) => Ok(()),
            (Some(opened), Change::Release) => self.check_shard(opened, body),
            (opened, _) if opened.is_some() || !version.verdicts.is_empty() => Err(LineageError::Scored),
            _ => Ok(()),
        }
    }

    fn check_shard(&self, opened: &Opened, body: &Manifest) -> Result<(), LineageError> {
        let index = opened.index;
        if index < self.next_shard() {
            return Err(LineageError::Reopened(index));
        }
        let commitment = self.spec.evaluation.get(index as usize);
        if commitment.is_none() || opened.sealed.commitment().ok().as_ref() != commitment {
            return Err(LineageError::Commitment(index));
        }
        for suite in &opened.sealed.suites {
            let path = suite.path();
            let there = body.files.iter().any(|file| file.path.as_str() == path && file.digest == suite.rows);
            if !there {
                return Err(LineageError::Rows(suite.name.clone()));
            }
        }
        Ok(())
    }

    /// The inputs in force that were trained on what has been revoked since: on a version that held it, or from it.
    /// They stay, and are marked: what they learnt from it cannot be taken out of them.
    pub fn stale(&self, adapters: &BTreeMap<ManifestId, AdapterInfo>) -> BTreeSet<ManifestId> {
        let revoked: BTreeSet<_> = self.revoked().iter().copied().collect();
        let mut stale = BTreeSet::new();
        // A parent may itself be stale: as often as something is found, at most once for each input.
        loop {
            let touched = |id: &ManifestId| revoked.contains(id) || stale.contains(id);
            let found: Vec<_> = adapters
                .iter()
                .filter(|(id, _)| !touched(id))
                .filter(|(_, info)| info.parents.iter().any(touched) || self.held(&info.base, &revoked))
                .map(|(id, _)| *id)
                .collect();
            if found.is_empty() {
                break;
            }
            stale.extend(found);
        }
        stale.retain(|id| self.inputs().iter().any(|(input, _)| input == id));
        stale
    }

    /// Whether the version that gives these weights held something of `revoked`.
    fn held(&self, base: &BaseId, revoked: &BTreeSet<ManifestId>) -> bool {
        let inputs = self.by_base(base).map_or(&[][..], |entry| entry.version.recipe.inputs());
        inputs.iter().any(|(input, _)| revoked.contains(input))
    }
}

fn subtract(inputs: &[(ManifestId, Weight)], revoked: &[ManifestId]) -> Vec<(ManifestId, Weight)> {
    inputs.iter().filter(|(adapter, _)| revoked.binary_search(adapter).is_err()).copied().collect()
}

fn taken_inputs(version: &VersionInfo) -> impl Iterator<Item = (ManifestId, Weight)> + '_ {
    version.verdicts.iter().filter_map(|verdict| match verdict.outcome {
        VerdictOutcome::Taken { weight, .. } => Some((verdict.adapter, weight)),
        VerdictOutcome::Refused(_) => None,
    })
}

/// Two different versions of one channel for one height, both signed by one key: one of them is a lie, whichever.
pub fn is_conflict(one: &Authentic<Manifest>, other: &Authentic<Manifest>) -> bool {
    let (Kind::Version(a), Kind::Version(b)) = (&one.body().kind, &other.body().kind) else { return false };
    a.channel == b.channel
        && a.height == b.height
        && one.body().publisher == other.body().publisher
        && one.id() != other.id()
}

/// Why enclosed versions prove nothing. Always the prover's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// One of them is not signed, or cannot be read.
    #[error("an enclosed version: {0}")]
    Signature(#[from] SignatureError),
    /// Signed, and no contradiction.
    #[error("what it encloses is not two versions of that channel, signed by one key for one height")]
    NoConflict,
}

/// The two manifests that a proof encloses, if they are two versions of its channel that one key signed for one height;
/// `None` if it encloses nothing. Whether the key is the steward's, the channel's manifest says.
pub fn enclosed(proof: &ProofInfo) -> Option<Result<[Authentic<Manifest>; 2], ProofError>> {
    let Claim::Enclosed { first, second } = &proof.claim else { return None };
    let open = |envelope: &Envelope| Signed::<Manifest>::decode(&envelope.0).map_err(SignatureError::from)?.verify();
    Some(open(first).and_then(|first| Ok([first, open(second)?])).map_err(ProofError::from).and_then(
        |[first, second]| {
            let of_channel = matches!(&first.body().kind, Kind::Version(version) if version.channel == proof.channel);
            if of_channel && is_conflict(&first, &second) { Ok([first, second]) } else { Err(ProofError::NoConflict) }
        },
    ))
}

/// The claim that encloses two conflicting versions, whichever is first; `None` if both together are too long for one
/// manifest.
pub fn enclose(one: &Authentic<Manifest>, other: &Authentic<Manifest>) -> Option<Claim> {
    let mut both = [one.signed().encode().ok()?, other.signed().encode().ok()?];
    both.sort();
    let [first, second] = both;
    let fits = first.len() + second.len() + PROOF_ROOM <= MANIFEST_MAX;
    fits.then_some(Claim::Enclosed { first: Envelope(first), second: Envelope(second) })
}

/// Bytes that a proof needs beside what it encloses: its name and description above all.
const PROOF_ROOM: usize = 8 << 10;

#[cfg(test)]
mod tests;
