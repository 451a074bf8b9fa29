//! How a node answers, honest or not.

use super::Offer;
use potluck_protocol::bulk::Reply;
use potluck_protocol::catalogue::Differing;
use potluck_protocol::catalogue::timing::ANSWER_MS;
use potluck_protocol::id::{AnnouncementId, Digest};

/// How a node answers what it is asked about its catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    Honest,
    /// Never answers.
    Silent,
    /// Sends records with a wrong signature.
    Forger,
    /// Sends a record that was not asked for.
    Pusher,
    /// Names hundreds of records, and has none of them.
    Boaster,
    /// Sends one record in answer to each question, about as late as it may.
    Dribbler,
    /// Says that nothing differs.
    Hider,
    /// Stands behind whatever it says, and has thousands of keys to say it with.
    Crowd,
}

/// Records that a boaster names.
const BOAST: u32 = 500;

impl Manner {
    pub const BAD: [Self; 6] = [Self::Silent, Self::Forger, Self::Pusher, Self::Boaster, Self::Dribbler, Self::Hider];

    pub fn is_honest(self) -> bool {
        self == Self::Honest
    }

    /// What can be proved by one answer.
    pub fn is_provable(self) -> bool {
        matches!(self, Self::Forger | Self::Pusher)
    }

    /// What it says where the right reply would be this.
    pub fn reply(self, right: Reply) -> Option<Reply> {
        Some(match (self, right) {
            (Self::Silent, _) => return None,
            (Self::Hider, Reply::Differing(_)) => Reply::Differing(Differing(Vec::new())),
            (Self::Boaster, Reply::Differing(_)) => {
                let id = |n: u32| AnnouncementId(Digest::of(&n.to_le_bytes()));
                Reply::Differing(Differing::of((0..BOAST).map(id)))
            }
            (Self::Forger, Reply::Records(mut records)) => {
                for last in records.iter_mut().filter_map(|record| record.last_mut()) {
                    *last ^= 1;
                }
                Reply::Records(records)
            }
            (Self::Pusher, Reply::Records(mut records)) => {
                let stray = Offer { publisher: 250, base: 0, manifest: 999, sequence: 1, variant: 0 };
                records.truncate(potluck_protocol::limits::CATALOGUE_WANTED_MAX - 1);
                records.extend(stray.sign().signed().encode());
                Reply::Records(records)
            }
            (Self::Dribbler, Reply::Records(mut records)) => {
                records.truncate(1);
                Reply::Records(records)
            }
            (_, right) => right,
        })
    }

    /// How long it waits before it answers.
    pub fn delay_ms(self) -> u64 {
        if self == Self::Dribbler { ANSWER_MS - 500 } else { 0 }
    }
}
