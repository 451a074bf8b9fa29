//! What nodes of this version, and of a made-up next one, say on the wire, and how this version takes it.
//!
//! `../versions/this.json` records one frame or announcement of every kind that there is. `../versions/next.json` records
//! what a version says that has one kind, one request, one reply and one refusal more, some of it damaged: the rules by
//! which the protocol grows (docs/protocol.md) say which of it is nobody's fault. The files change with
//! `POTLUCK_BLESS=1 cargo test --release -p potluck-protocol --test wire versions`; what is in them already must not.

use potluck_protocol::announce::{self, Announcement, AnnouncementError, KindTag};
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::codec::{self, Growing, Heard};
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::{Signable, body_id};
use potluck_protocol::verify::{Blame, VerifyError, verify_manifest};
use serde::{Deserialize, Serialize};

use crate::by_hand::{self, build, envelope};
use crate::samples::{self, digest};
use crate::vectors::{self, Hex};
use crate::{accepted, attacks, channels};

/// One file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    about: String,
    said: Vec<Said>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    name: String,
    says: String,
    how: How,
    hex: Hex,
    taken: Taken,
}

/// Where it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    /// By gossip, on the topic of the samples' base.
    Gossip,
    /// A frame of a bulk stream, to whoever answers.
    Request,
    /// A frame of a bulk stream, to whoever asked.
    Reply,
    /// A signed manifest, to whoever asked for the id of its body, or for another.
    Manifest { asked_for: ManifestId },
}

/// What this version does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Taken {
    /// It is understood.
    Known,
    /// Not understood, and nobody's fault: gossip is ignored, a request refused, a reply counts as a refusal, a manifest
    /// is not used.
    Later,
    /// A misdeed of the peer from which it came.
    Fault,
}

fn taken(said: &Said) -> Taken {
    let bytes = &said.hex.0;
    match said.how {
        How::Gossip => match announce::verify(samples::base_id(), bytes) {
            Ok(_) => Taken::Known,
            Err(error @ AnnouncementError::LaterKind { .. }) => {
                assert!(!error.is_fault(), "{}", said.name);
                Taken::Later
            }
            Err(error) => {
                assert!(error.is_fault(), "{}", said.name);
                Taken::Fault
            }
        },
        How::Request => frame::<Request>(bytes),
        How::Reply => frame::<Reply>(bytes),
        How::Manifest { asked_for } => match verify_manifest(asked_for, bytes) {
            Ok(_) => Taken::Known,
            Err(error @ VerifyError::Unreadable { .. }) => {
                assert_eq!(error.blame(), Blame::Nobody, "{}", said.name);
                Taken::Later
            }
            Err(error) => {
                assert_eq!(error.blame(), Blame::Peer, "{}", said.name);
                Taken::Fault
            }
        },
    }
}

fn frame<T: Growing>(bytes: &[u8]) -> Taken {
    match codec::decode_growing::<T>(bytes) {
        Ok(Heard::Known(_)) => Taken::Known,
        Ok(Heard::Later(_)) => Taken::Later,
        Err(_) => Taken::Fault,
    }
}

fn said(name: &str, says: &str, how: How, bytes: Vec<u8>, taken: Taken) -> Said {
    Said { name: name.to_owned(), says: says.to_owned(), how, hex: Hex(bytes), taken }
}

/// A body signed by the samples' publisher, as it travels.
fn signed<T: Signable>(body: &[u8]) -> Vec<u8> {
    envelope(body, &[attacks::entry::<T>(1, body)])
}

fn this() -> Vec<Said> {
    let kinds = [
        KindTag::Adapter,
        KindTag::Base,
        KindTag::Dataset,
        KindTag::Channel,
        KindTag::Proposal,
        KindTag::Version,
        KindTag::Proof,
    ];
    let gossip = |kind: KindTag| {
        let body = by_hand::announcement(&Announcement { kind, ..samples::announcement() });
        let (name, says) = (format!("announce_{kind:?}").to_lowercase(), format!("{kind:?}: one exists"));
        said(&name, &says, How::Gossip, signed::<Announcement>(&body), Taken::Known)
    };
    let frames = |file: &str, how: How| {
        let of =
            |one: vectors::Accepted| said(&format!("{file}_{}", one.name), &one.says, how, one.hex.0, Taken::Known);
        accepted::of(file).into_iter().map(of).collect::<Vec<_>>()
    };
    let manifests = accepted::of("manifest").into_iter().map(|one| {
        let how = How::Manifest { asked_for: asked_for(&one.hex.0) };
        said(&format!("manifest_{}", one.name), &one.says, how, signed::<Manifest>(&one.hex.0), Taken::Known)
    });
    let mut all: Vec<Said> = kinds.into_iter().map(gossip).collect();
    all.extend(frames("request", How::Request));
    all.extend(frames("reply", How::Reply));
    all.extend(manifests);
    all
}

fn next() -> Vec<Said> {
    [next_gossip(), next_requests(), next_replies(), next_manifests()].concat()
}

/// An announcement's body of a kind that no version before has, for a base.
fn announcement(kind: u32, base: BaseId) -> Vec<u8> {
    let mut body = by_hand::announcement(&Announcement { base, ..samples::announcement() });
    body[36..40].copy_from_slice(&kind.to_le_bytes());
    body
}

fn next_gossip() -> Vec<Said> {
    let body = announcement(KindTag::KNOWN, samples::base_id());
    let gossip = |name, says, bytes, taken| said(name, says, How::Gossip, bytes, taken);
    let good = signed::<Announcement>(&body);
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let of_kind = |kind| signed::<Announcement>(&announcement(kind, samples::base_id()));
    let elsewhere = announcement(KindTag::KNOWN, BaseId(digest("another base")));
    let longer = [&body[..], &[0; 8]].concat();
    vec![
        gossip("announce_later", "a kind that the next version added", good.clone(), Taken::Later),
        gossip("announce_last", "the last kind that the list can have", of_kind(255), Taken::Later),
        gossip("announce_noise", "a number that no list reaches", of_kind(256), Taken::Fault),
        gossip(
            "announce_damaged_body",
            "a bit of the later one's size flipped",
            flipped(8 + 36 + 4 + 8 + 9 + 32),
            Taken::Fault,
        ),
        gossip("announce_damaged_signature", "a bit of its signature flipped", flipped(good.len() - 1), Taken::Fault),
        gossip(
            "announce_by_another",
            "signed by a key that is not its publisher's",
            envelope(&body, &[attacks::entry::<Announcement>(2, &body)]),
            Taken::Fault,
        ),
        gossip("announce_elsewhere", "it belongs to another base", signed::<Announcement>(&elsewhere), Taken::Fault),
        gossip(
            "announce_longer",
            "a field more than announcements have",
            signed::<Announcement>(&longer),
            Taken::Fault,
        ),
    ]
}

fn next_requests() -> Vec<Said> {
    let request = |name, says, tag: u32, rest: &[u8], taken| {
        said(name, says, How::Request, [&tag.to_le_bytes()[..], rest].concat(), taken)
    };
    let id = digest("asked").0;
    vec![
        request("request_later", "a request that the next version added, about an id", 9, &id, Taken::Later),
        request("request_later_bare", "one without fields", 9, &[], Taken::Later),
        request("request_last", "the last request that the list can have", 255, &[1, 2, 3], Taken::Later),
        request("request_noise", "a number that no list reaches", 256, &id, Taken::Fault),
        request("request_changed", "a known request with a field more", 8, &id, Taken::Fault),
        said("request_short", "three bytes", How::Request, vec![9, 0, 0], Taken::Fault),
    ]
}

fn next_replies() -> Vec<Said> {
    let reply = |name, says, tags: &[u32], rest: &[u8], taken| {
        let tags = tags.iter().flat_map(|tag| tag.to_le_bytes());
        said(name, says, How::Reply, tags.chain(rest.iter().copied()).collect(), taken)
    };
    vec![
        reply("reply_later", "a reply that the next version added", &[9], &[7; 40], Taken::Later),
        reply("reply_noise", "a number that no list reaches", &[256], &[], Taken::Fault),
        reply("refused_later", "a refusal that the next version added", &[4, 3], &[9; 8], Taken::Later),
        reply("refused_later_bare", "one without fields", &[4, 3], &[], Taken::Later),
        reply("refused_noise", "a refusal beyond the list", &[4, 256], &[], Taken::Fault),
        reply("refused_changed", "a known refusal with a field more", &[4, 0], &[1; 4], Taken::Fault),
        reply("refused_nothing", "a refusal without its reason", &[4], &[], Taken::Fault),
    ]
}

fn asked_for(body: &[u8]) -> ManifestId {
    ManifestId(body_id::<Manifest>(body))
}

fn next_manifests() -> Vec<Said> {
    let manifest = |name, says, asked_for, bytes, taken| said(name, says, How::Manifest { asked_for }, bytes, taken);
    let later = build(|out| {
        out.u32(7).digest(&digest("a field of the new kind")).bytes(b"and a text").u64(3);
    });
    // Behind the commit of a recipe and the rest: a proposal refused for a reason that the list does not have yet.
    let mut version = by_hand::manifest(&channels::version());
    let already_in = build(|out| {
        out.u32(1).u32(9);
    });
    let at = version.windows(8).rposition(|window| window == already_in).expect("the sample has that reason");
    version[at + 4] = 11;
    let mut damaged = signed::<Manifest>(&later);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let id = asked_for(&later);
    vec![
        manifest("manifest_later", "a kind that the next version added", id, signed::<Manifest>(&later), Taken::Later),
        manifest(
            "manifest_later_reason",
            "a version of a channel that gives a reason which the next version added",
            asked_for(&version),
            signed::<Manifest>(&version),
            Taken::Later,
        ),
        manifest("manifest_damaged", "a bit of the later one's signature flipped", id, damaged, Taken::Fault),
        manifest(
            "manifest_other",
            "a later kind, and not what was asked for",
            samples::manifest_id("asked for"),
            signed::<Manifest>(&later),
            Taken::Fault,
        ),
        manifest("manifest_unsigned", "a later kind without an envelope", id, later.clone(), Taken::Fault),
    ]
}

fn check(file: &str, about: &str, made: Vec<Said>) {
    let path = vectors::folder().with_file_name("versions").join(format!("{file}.json"));
    let made = Version { about: about.to_owned(), said: made };
    if vectors::blessing() {
        let text = serde_json::to_string_pretty(&made).expect("it serialises") + "\n";
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, text).expect("the file can be written");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kept: Version = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (kept, made) in kept.said.iter().zip(&made.said) {
        assert_eq!(kept, made, "{file}: what was recorded changed");
    }
    assert_eq!(kept, made, "{file}: a record was added or removed");
    for one in &kept.said {
        assert_eq!(taken(one), one.taken, "{file}: {}: {}", one.name, one.says);
    }
}

#[test]
fn versions_beside_this_one_are_taken_as_documented() {
    check("this", "Frames and announcements of this version, one of every kind.", this());
    check("next", "What a made-up next version says, and what damage makes of it.", next());
}

/// Whoever adds to a list adds here what nodes say by it.
#[test]
fn versions_record_all_that_this_one_can_say() {
    let tags = |how: How, inner: bool| {
        let first = |said: &Said| {
            let at = if inner { 4 } else { 0 };
            said.hex.0.get(at..at + 4).map(|tag| u32::from_le_bytes(tag.try_into().expect("4 bytes")))
        };
        let of = this().into_iter().filter(move |said| said.how == how && (!inner || said.hex.0[0] == 4));
        of.filter_map(|said| first(&said)).collect::<std::collections::BTreeSet<u32>>()
    };
    let all = |count: u32| (0..count).collect::<std::collections::BTreeSet<u32>>();
    assert_eq!(tags(How::Request, false), all(9));
    assert_eq!(tags(How::Reply, false), all(9));
    assert_eq!(tags(How::Reply, true), all(3), "refusals");
    let gossip = this().iter().filter(|said| said.how == How::Gossip).count();
    assert_eq!(gossip as u32, KindTag::KNOWN);
    // One number more than the list has is no kind.
    let beyond = announcement(KindTag::KNOWN, samples::base_id());
    assert!(codec::decode::<Announcement>(&beyond).is_err());
}
