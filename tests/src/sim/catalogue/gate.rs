//! What a node lets in: the daemon's judge of gossip, its allowances for questions, and its bans.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use libp2p::PeerId;

use super::setting::{Defence, Setting};
use potluck_node::addresses::AddressGroup;
use potluck_node::exchange::limits::{ASKERS, CATALOGUE_QUESTIONS, QUESTIONS};
use potluck_node::net::announcements::{Announcements, Known, Verdict};
use potluck_node::net::forwarders::{Forwarders, Origin};
use potluck_node::net::{Bans, Misdeed, PeerGroup, Twin};
use potluck_protocol::announce::{self, Announcement, AnnouncementError};
use potluck_protocol::catalogue::{Catalogue, Inserted, Neighbour, Neighbourhood, Page, Trusted};
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::rate_limit::RateLimiter;
use potluck_protocol::signed::{Authentic, PublicKey};

/// Envelopes whose check is remembered, of all worlds of a thread.
const CHECKED: usize = 1 << 16;

/// What a node may be made to do: so much at once, and so much in each minute.
const SIGNATURES: (u64, u64) = (1_000, 12);
/// Questions of one peer that a node may answer within one second.
const ANSWERED: (u64, u64) = (QUESTIONS.burst + 1_000 / QUESTIONS.refill_ms, 0);
const KEPT_BYTES: (u64, u64) = (200_000, 1_000);
/// Records at once, of all that strangers say.
const RECORDS: (u64, u64) = (700, 0);

type Checked = Result<Authentic<Announcement>, AnnouncementError>;

thread_local! {
    static SEEN: RefCell<HashMap<Digest, Checked>> = RefCell::default();
}

/// As [`announce::verify`], and remembers what came of it: one record comes to forty nodes, in thousands of worlds.
pub fn verify(base: BaseId, bytes: &[u8]) -> Checked {
    let name = Digest::of_context("potluck tests checked envelope", &[&base.0.0[..], bytes].concat());
    SEEN.with_borrow_mut(|seen| {
        if seen.len() >= CHECKED {
            seen.clear();
        }
        seen.entry(name).or_insert_with(|| announce::verify(base, bytes)).clone()
    })
}

/// What one node's gate has let through, and what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Signatures that it checked, by gossip and by comparing.
    pub signatures: u64,
    /// Questions that it answered, and those that it had no time for.
    pub answered: u64,
    pub busy: u64,
    /// The most questions of one peer that it answered within one second.
    pub answered_one: u64,
    /// Records that came new into its catalogue, and their bytes: each is written.
    pub kept: u64,
    pub kept_bytes: u64,
    /// Bans that began.
    pub bans: u64,
    /// The most records at once.
    pub records: u64,
}

impl Costs {
    /// Of each figure the larger one.
    pub fn max(self, other: Self) -> Self {
        Self {
            signatures: self.signatures.max(other.signatures),
            answered: self.answered.max(other.answered),
            busy: self.busy.max(other.busy),
            answered_one: self.answered_one.max(other.answered_one),
            kept: self.kept.max(other.kept),
            kept_bytes: self.kept_bytes.max(other.kept_bytes),
            bans: self.bans.max(other.bans),
            records: self.records.max(other.records),
        }
    }

    /// Whether it is within what a node may be made to do in that time, whoever its neighbours are.
    pub fn check(&self, now_ms: u64) -> Result<(), String> {
        let bounds = [
            ("signatures checked", self.signatures, SIGNATURES),
            ("questions of one peer answered within a second", self.answered_one, ANSWERED),
            ("bytes of records kept", self.kept_bytes, KEPT_BYTES),
            ("records at once", self.records, RECORDS),
        ];
        let beyond = |(_, count, (at_once, each_minute)): &(&str, u64, (u64, u64))| {
            *count > at_once + each_minute * now_ms / 60_000
        };
        match bounds.into_iter().find(beyond) {
            Some((what, count, _)) => Err(format!("{count} {what}")),
            None => Ok(()),
        }
    }
}

/// One node's.
#[derive(Debug)]
pub struct Gate {
    judge: Announcements,
    forwarders: Forwarders,
    bans: Bans,
    questions: RateLimiter<PeerId>,
    comparisons: RateLimiter<PeerId>,
    /// How many questions of each node were answered in the second that is named.
    asked: BTreeMap<usize, (u64, u64)>,
    trusted: Trusted,
    epoch: u64,
    pub costs: Costs,
}

impl Gate {
    pub fn new(setting: &Setting, number: usize) -> Self {
        let nobody = PublicKey(Digest::of(&(number as u64).to_le_bytes()));
        let own = setting.key(number).filter(|_| !setting.lacks(Defence::Shelf));
        let judge = Announcements::new(own.unwrap_or(nobody), Twin::new(u64::MAX));
        judge.known.with(|catalogue| {
            *catalogue = Catalogue::new(setting.bounds);
            own.into_iter().for_each(|own| catalogue.set_own(own));
            if !setting.lacks(Defence::Shelf) {
                setting.followed.iter().for_each(|key| catalogue.follow(*key));
            }
            catalogue.set_epoch(setting.epoch(0));
        });
        Self {
            judge,
            forwarders: Forwarders::default(),
            bans: Bans::default(),
            questions: RateLimiter::new(QUESTIONS, ASKERS),
            comparisons: RateLimiter::new(CATALOGUE_QUESTIONS, ASKERS),
            asked: BTreeMap::new(),
            trusted: Trusted { followed: setting.followed.clone(), ..Trusted::default() },
            epoch: setting.epoch(0),
            costs: Costs::default(),
        }
    }

    pub fn known(&self) -> &Known {
        &self.judge.known
    }

    /// Time passed: lots may be drawn anew.
    pub fn tick(&mut self, setting: &Setting, now_ms: u64) {
        let epoch = setting.epoch(now_ms);
        if epoch != std::mem::replace(&mut self.epoch, epoch) {
            self.judge.known.with(|catalogue| catalogue.set_epoch(epoch));
        }
    }

    /// The verdict over gossip, and what its forwarder did wrong by it.
    pub fn judge(
        &mut self,
        setting: &Setting,
        (from, origin): (usize, Origin),
        base: BaseId,
        bytes: &[u8],
        now_ms: u64,
    ) -> (Verdict, Option<Misdeed>) {
        let (peer, near) = (setting.peer(from), setting.neighbourhood(from));
        let forwarder = Neighbour { peer, near };
        let mut checked = 0;
        let verdict = self.judge.judge_by(forwarder, base, bytes, now_ms, |claimed| {
            checked += claimed.signature_count() as u64;
            match verify(base, bytes) {
                Err(AnnouncementError::Signature(error)) => Err(error),
                Ok(authentic) => Ok(authentic),
                Err(_) => claimed.verify(),
            }
        });
        self.costs.signatures += checked;
        let misdeed = self.forwarders.misdeed(peer, origin, &verdict, now_ms);
        (verdict, misdeed)
    }

    /// Checks every record that came in answer to a question.
    pub fn verify_records(&mut self, base: BaseId, records: &[Vec<u8>]) -> Result<Page, AnnouncementError> {
        let mut page = Page::default();
        for bytes in records {
            // What is here already was checked.
            let here = |record: &Authentic<Announcement>| {
                self.judge.known.with(|catalogue| catalogue.contains(&base, &announce::id(record)))
            };
            let verified = verify(base, bytes);
            self.costs.signatures += u64::from(!verified.as_ref().is_ok_and(here));
            match verified {
                Ok(record) => page.records.push(record),
                Err(AnnouncementError::LaterKind { id, .. }) => page.later.push(id),
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// Whether a peer may ask this now; `compares` if it is about the catalogue.
    pub fn may_ask(&mut self, setting: &Setting, from: usize, compares: bool, now_ms: u64) -> bool {
        let peer = setting.peer(from);
        let may = setting.lacks(Defence::Allowances)
            || self.questions.take(peer, now_ms) && (!compares || self.comparisons.take(peer, now_ms));
        if !may {
            self.costs.busy += 1;
            return false;
        }
        let (second, count) = self.asked.entry(from).or_default();
        if std::mem::replace(second, now_ms / 1_000) != now_ms / 1_000 {
            *count = 0;
        }
        *count += 1;
        self.costs.answered += 1;
        self.costs.answered_one = self.costs.answered_one.max(*count);
        true
    }

    /// Whether it is time to say that gossip was too fast.
    pub fn tell_missed(&mut self, now_ms: u64) -> bool {
        self.judge.tell_missed(now_ms)
    }

    /// What this node has, and whose keys it follows, is trusted.
    pub fn trust(&mut self, setting: &Setting, manifest: ManifestId, publisher: PublicKey) {
        self.trusted.checked.insert((manifest, publisher));
        if !setting.lacks(Defence::Shelf) {
            self.judge.known.with(|catalogue| catalogue.set_trusted(self.trusted.clone()));
        }
    }

    /// Keeps an announcement of the node's own.
    pub fn insert(&mut self, announcement: Authentic<Announcement>) -> Inserted {
        self.judge.insert(announcement)
    }

    /// A record is new in the catalogue.
    pub fn note_kept(&mut self, record: &Authentic<Announcement>) {
        self.costs.kept += 1;
        self.costs.kept_bytes += record.signed().encode().map_or(0, |bytes| bytes.len() as u64);
    }

    /// Writes down what a peer did; whether it is banned for it.
    pub fn report(&mut self, setting: &Setting, node: usize, misdeed: Misdeed, now_ms: u64) -> bool {
        if !setting.bans || setting.lacks(Defence::Bans) {
            return false;
        }
        let banned = self.bans.report(setting.peer(node), Some(group(setting.neighbourhood(node))), misdeed, now_ms);
        self.costs.bans += u64::from(banned);
        banned
    }

    /// Whether a node is let in.
    pub fn admits(&self, setting: &Setting, node: usize, now_ms: u64) -> bool {
        !self.bans.is_banned(&setting.peer(node), now_ms)
            && !self.bans.is_shunned(group(setting.neighbourhood(node)), now_ms)
    }
}

fn group(near: Neighbourhood) -> PeerGroup {
    let [.., a, b] = near.0.to_be_bytes();
    PeerGroup::Near(AddressGroup::V4([10, a, b]))
}
