//! What people are told of the records of a channel.

use potluck_protocol::channel::{ChannelInfo, Claim};
use potluck_protocol::manifest::Kind as ManifestKind;

use crate::store::Halt;

/// What `potluck show` says of one.
pub fn describe(kind: &ManifestKind) -> Vec<String> {
    match kind {
        ManifestKind::Channel(channel) => rules(channel),
        ManifestKind::Proposal(proposal) => vec![format!(
            "adapter {} at weight {} to channel {}",
            proposal.adapter.short(),
            proposal.weight.get(),
            proposal.channel.short()
        )],
        ManifestKind::Version(version) => vec![format!(
            "version {} of channel {}: {} adapters, base {}",
            version.height,
            version.channel.short(),
            version.recipe.inputs().len(),
            version.base.short()
        )],
        ManifestKind::Proof(proof) => {
            vec![format!("against channel {}: {}", proof.channel.short(), describe_claim(&proof.claim))]
        }
        ManifestKind::Adapter(_) | ManifestKind::Base(_) | ManifestKind::Dataset(_) => Vec::new(),
    }
}

/// The rules of a channel, a line each.
pub fn rules(channel: &ChannelInfo) -> Vec<String> {
    vec![
        format!("versions of {} from genesis {}", channel.dtype, channel.genesis.short()),
        format!(
            "an adapter must lower the held-out loss by {} % and may raise the perplexity of what is to be kept by {} %",
            f64::from(channel.gate.gain_ppm) / 1e4,
            f64::from(channel.gate.guard_ppm) / 1e4
        ),
        format!("{} sealed evaluation shards", channel.evaluation.len()),
    ]
}

/// What the steward did.
pub fn describe_halt(halt: &Halt) -> String {
    match halt {
        Halt::Equivocation { first, second } => {
            format!("its steward signed two versions for one height, {first} and {second}")
        }
        Halt::Mismatch { version, digest } => {
            format!("version {version} is not what its recipe gives: folding it here gave digest {digest}")
        }
    }
}

/// What a proof says that the steward did.
pub fn describe_claim(claim: &Claim) -> String {
    match claim {
        Claim::Equivocation { first, second } => describe_halt(&Halt::Equivocation { first: *first, second: *second }),
        Claim::Mismatch { version, digest } => describe_halt(&Halt::Mismatch { version: *version, digest: *digest }),
        Claim::Enclosed { .. } => "its steward signed two versions for one height; the proof encloses both".to_owned(),
    }
}
