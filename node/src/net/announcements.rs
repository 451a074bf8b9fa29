//! The announcements that are known, and the verdict over each that comes.
//!
//! The verdict is a function of the bytes and of our own state, never of who forwarded them: gossipsub delivers one
//! content once, so an honest copy behind a judged one would never be heard.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use potluck_protocol::announce::Announcement;
use potluck_protocol::codec::CodecError;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::limits::ANNOUNCEMENT_MAX;
use potluck_protocol::signed::{Authentic, PublicKey, SignatureError, Signed};

use super::limits::{ANNOUNCEMENTS, GOSSIP_BURST, GOSSIP_PER_SECOND};

/// What is done with an announcement.
#[derive(Debug)]
pub enum Verdict {
    /// Authentic and new: remembered, and passed on.
    Accept(Arc<Authentic<Announcement>>),
    /// Provably wrong by its bytes: whoever forwarded it could have known.
    Reject(Fault),
    /// Not passed on, and nobody's fault.
    Ignore(Reason),
}

/// Why an announcement is provably wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{len} bytes, at most {ANNOUNCEMENT_MAX} are allowed")]
    TooLong { len: usize },
    #[error("it cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("it is not signed by its publisher: {0}")]
    Signature(#[from] SignatureError),
    #[error("it belongs to base {named:?} and came on the topic of {topic:?}")]
    OtherBase { named: BaseId, topic: BaseId },
}

/// Why an announcement is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This one or a newer one of the same manifest is known.
    Stale,
    /// More come than can be looked at.
    TooMany,
}

type Key = (PublicKey, ManifestId);

/// What is known: the newest announcement of each manifest by each publisher, the oldest forgotten first.
#[derive(Debug, Default)]
pub struct Announcements {
    known: HashMap<Key, Arc<Authentic<Announcement>>>,
    /// In the order of arrival; each key of `known` once.
    order: VecDeque<Key>,
    allowance: Allowance,
    /// How many were provably wrong.
    pub rejected: u64,
}

/// Gossip that is still allowed: everybody's together, because keys are free.
#[derive(Debug)]
struct Allowance {
    tokens: f64,
    at_ms: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { tokens: GOSSIP_BURST, at_ms: 0 }
    }
}

impl Allowance {
    fn take(&mut self, now_ms: u64) -> bool {
        let elapsed = now_ms.saturating_sub(self.at_ms) as f64 / 1000.0;
        self.at_ms = self.at_ms.max(now_ms);
        self.tokens = (self.tokens + elapsed * GOSSIP_PER_SECOND).min(GOSSIP_BURST);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

/// Takes an announcement's bytes apart and checks its signature. // I8
pub fn authentic(bytes: &[u8]) -> Result<Authentic<Announcement>, Fault> {
    if bytes.len() > ANNOUNCEMENT_MAX {
        return Err(Fault::TooLong { len: bytes.len() });
    }
    Ok(Signed::<Announcement>::decode(bytes)?.verify()?)
}

fn on_topic(topic: BaseId, bytes: &[u8]) -> Result<Authentic<Announcement>, Fault> {
    let announcement = authentic(bytes)?;
    let named = announcement.body().base;
    if named == topic { Ok(announcement) } else { Err(Fault::OtherBase { named, topic }) }
}

impl Announcements {
    /// The verdict over gossip that came on the topic of `topic`.
    pub fn judge(&mut self, topic: BaseId, bytes: &[u8], now_ms: u64) -> Verdict {
        let announcement = match on_topic(topic, bytes) {
            Ok(announcement) => announcement,
            Err(fault) => {
                self.rejected += 1;
                return Verdict::Reject(fault);
            }
        };
        if self.is_stale(&announcement) {
            return Verdict::Ignore(Reason::Stale);
        }
        if !self.allowance.take(now_ms) {
            return Verdict::Ignore(Reason::TooMany);
        }
        Verdict::Accept(self.insert(announcement))
    }

    /// Remembers an announcement; `None` if it or a newer one is known.
    pub fn learn(&mut self, announcement: Authentic<Announcement>) -> Option<Arc<Authentic<Announcement>>> {
        (!self.is_stale(&announcement)).then(|| self.insert(announcement))
    }

    /// The announcements of a base, newest last.
    pub fn of_base(&self, base: BaseId) -> Vec<Arc<Authentic<Announcement>>> {
        let all = self.order.iter().filter_map(|key| self.known.get(key));
        all.filter(|one| one.body().base == base).cloned().collect()
    }

    /// Who announced a manifest.
    pub fn publishers(&self, manifest: ManifestId) -> Vec<PublicKey> {
        self.order.iter().filter(|(_, id)| *id == manifest).map(|(publisher, _)| *publisher).collect()
    }

    fn is_stale(&self, new: &Authentic<Announcement>) -> bool {
        self.known.get(&key(new)).is_some_and(|known| known.body().sequence >= new.body().sequence)
    }

    fn insert(&mut self, announcement: Authentic<Announcement>) -> Arc<Authentic<Announcement>> {
        let key = key(&announcement);
        let announcement = Arc::new(announcement);
        if self.known.insert(key, announcement.clone()).is_some() {
            self.order.retain(|other| *other != key);
        }
        self.order.push_back(key);
        if self.order.len() > ANNOUNCEMENTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        announcement
    }
}

fn key(announcement: &Authentic<Announcement>) -> Key {
    (announcement.body().publisher, announcement.body().manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::announcement;

    fn bytes(announcement: &Authentic<Announcement>) -> Vec<u8> {
        announcement.signed().encode().expect("it was encoded before")
    }

    #[test]
    fn new_ones_are_accepted_once_and_newer_ones_replace_older_ones() {
        let mut known = Announcements::default();
        let (first, second) = (announcement(1, "a", 1), announcement(1, "a", 2));
        let base = first.body().base;
        assert!(matches!(known.judge(base, &bytes(&first), 0), Verdict::Accept(_)));
        assert!(matches!(known.judge(base, &bytes(&first), 0), Verdict::Ignore(Reason::Stale)));
        assert!(matches!(known.judge(base, &bytes(&second), 0), Verdict::Accept(_)));
        assert!(matches!(known.judge(base, &bytes(&first), 0), Verdict::Ignore(Reason::Stale)));
        assert_eq!(known.of_base(base).len(), 1);
        assert_eq!(known.of_base(base)[0].body().sequence, 2);
        assert_eq!(known.publishers(first.body().manifest), [first.body().publisher]);
    }

    #[test]
    fn every_provable_fault_is_rejected() {
        let mut known = Announcements::default();
        let good = announcement(1, "a", 1);
        let base = good.body().base;
        let other = BaseId(potluck_protocol::id::Digest::of(b"other"));
        assert!(matches!(known.judge(other, &bytes(&good), 0), Verdict::Reject(Fault::OtherBase { .. })));
        assert!(matches!(known.judge(base, &[0; ANNOUNCEMENT_MAX + 1], 0), Verdict::Reject(Fault::TooLong { .. })));
        for index in 0..bytes(&good).len() {
            let mut wrong = bytes(&good);
            wrong[index] ^= 1;
            assert!(matches!(known.judge(base, &wrong, 0), Verdict::Reject(_)), "byte {index}");
        }
        assert!(known.of_base(base).is_empty());
    }

    #[test]
    fn a_flood_is_ignored() {
        let mut known = Announcements::default();
        let judged = (0..200).map(|n| {
            let one = announcement(1, &format!("a{n}"), 1);
            known.judge(one.body().base, &bytes(&one), 0)
        });
        let accepted = judged.filter(|verdict| matches!(verdict, Verdict::Accept(_))).count();
        assert_eq!(accepted, GOSSIP_BURST as usize);
        let late = announcement(1, "late", 1);
        assert!(matches!(known.judge(late.body().base, &bytes(&late), 1000), Verdict::Accept(_)));
    }
}
