//! The rules that the transfer scheduler keeps, checked from outside: a second account of what was asked and answered.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use potluck_protocol::fetch::{Action, Event, Fetch, Holdings, REQUESTS_MAX, RequestId, WINDOW_MAX};
use potluck_protocol::id::ShardId;
use potluck_protocol::limits::SHARD_MAX;

/// What is known of one machine.
#[derive(Clone, Debug)]
pub struct Ledger {
    index: BTreeMap<ShardId, usize>,
    lens: Vec<u32>,
    arrived: Vec<bool>,
    peers: BTreeMap<PeerId, Known>,
    wrong: BTreeSet<PeerId>,
    /// Every request that was ever made.
    asked: BTreeMap<RequestId, (PeerId, usize)>,
    answered: BTreeSet<RequestId>,
    done: bool,
    /// Bytes of shards that came although they had come.
    duplicate_bytes: u64,
}

#[derive(Clone, Debug, Default)]
struct Known {
    holdings: Vec<bool>,
    live: BTreeMap<RequestId, usize>,
}

impl Ledger {
    pub fn new(fetch: &Fetch) -> Self {
        let rows = fetch.wants().iter().enumerate();
        Self {
            index: rows.map(|(index, row)| (row.id, index)).collect(),
            lens: fetch.wants().iter().map(|row| row.len).collect(),
            arrived: vec![false; fetch.wants().len()],
            peers: BTreeMap::new(),
            wrong: BTreeSet::new(),
            asked: BTreeMap::new(),
            answered: BTreeSet::new(),
            done: false,
            duplicate_bytes: 0,
        }
    }

    pub fn duplicate_bytes(&self) -> u64 {
        self.duplicate_bytes
    }

    /// Gives the machine an event and checks what it does.
    pub fn step(&mut self, fetch: &mut Fetch, event: Event, now_ms: u64) -> Result<Vec<Action>, String> {
        self.note(&event);
        let actions = fetch.handle(event, now_ms);
        for action in &actions {
            self.check(action).map_err(|rule| format!("{rule}: {action:?}"))?;
        }
        let missing = self.arrived.iter().filter(|arrived| !**arrived).count();
        let bytes =
            self.lens.iter().zip(&self.arrived).filter(|(_, arrived)| !**arrived).map(|(len, _)| u64::from(*len));
        let missing = (missing, bytes.sum::<u64>());
        if fetch.missing_count() != missing {
            return Err(format!("{:?} should be missing, {:?} are", missing, fetch.missing_count()));
        }
        if missing.0 == 0 && !self.done {
            return Err("everything is here and `Done` was not said".to_owned());
        }
        Ok(actions)
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Found { peer, holdings } if !self.wrong.contains(peer) => {
                let count = self.lens.len();
                let mut flags = match holdings {
                    Holdings::All => vec![true; count],
                    Holdings::These(flags) => flags.clone(),
                };
                flags.resize(count, false);
                self.peers.entry(*peer).or_default().holdings = flags;
            }
            Event::Arrived { peer, request } => self.note_arrived(peer, request),
            Event::Wrong { peer } => {
                self.wrong.insert(*peer);
                self.peers.remove(peer);
            }
            Event::Lost { peer } => drop(self.peers.remove(peer)),
            Event::NotFound { peer, request } => {
                if let Some(index) = self.note_refused(peer, request)
                    && let Some(known) = self.peers.get_mut(peer)
                {
                    known.holdings[index] = false;
                }
            }
            Event::Busy { peer, request, .. } => drop(self.note_refused(peer, request)),
            Event::Found { .. } | Event::Progress { .. } | Event::Tick => {}
        }
    }

    fn note_refused(&mut self, peer: &PeerId, request: &RequestId) -> Option<usize> {
        let index = self.peers.get_mut(peer)?.live.remove(request)?;
        self.answered.insert(*request);
        Some(index)
    }

    fn note_arrived(&mut self, peer: &PeerId, request: &RequestId) {
        let Some((_, index)) = self.asked.get(request).copied().filter(|(asked, _)| asked == peer) else { return };
        if self.answered.contains(request) {
            return;
        }
        if let Some(known) = self.peers.get_mut(peer) {
            known.live.remove(request);
        }
        if std::mem::replace(&mut self.arrived[index], true) {
            self.duplicate_bytes += u64::from(self.lens[index]);
        }
        // A second answer is no answer to it.
        self.answered.insert(*request);
    }

    fn check(&mut self, action: &Action) -> Result<(), &'static str> {
        if self.done {
            return Err("nothing comes after `Done`");
        }
        match action {
            Action::Ask { peer, request, shard } => self.check_ask(*peer, *request, shard.id),
            Action::Cancel { peer, request } => {
                let known = self.peers.get_mut(peer).ok_or("an unknown peer's request is cancelled")?;
                known.live.remove(request).map(drop).ok_or("what is cancelled was on its way")
            }
            Action::Reset { peer } => {
                self.peers.get_mut(peer).ok_or("an unknown peer is reset")?.live.clear();
                Ok(())
            }
            Action::Release { peer } => self.peers.remove(peer).map(drop).ok_or("an unknown peer has no place to lose"),
            Action::Drop { peer } => self.wrong.contains(peer).then_some(()).ok_or("an innocent peer is dropped"),
            Action::Done => {
                self.done = true;
                self.arrived.iter().all(|arrived| *arrived).then_some(()).ok_or("not everything is here")
            }
        }
    }

    fn check_ask(&mut self, peer: PeerId, request: RequestId, shard: ShardId) -> Result<(), &'static str> {
        let index = *self.index.get(&shard).ok_or("only what is wanted is asked for")?;
        let elsewhere = self.peers.values().filter(|known| known.live.values().any(|live| *live == index)).count();
        let known = self.peers.get_mut(&peer).ok_or("only known peers are asked")?;
        let bytes: u64 = known.live.values().map(|live| u64::from(self.lens[*live])).sum();
        let rules = [
            (known.holdings[index], "a peer is asked only for what it has"),
            (!self.arrived[index], "what is here is not asked for"),
            (self.asked.last_key_value().is_none_or(|(last, _)| *last < request), "requests have new numbers"),
            (elsewhere == 0 || known.live.is_empty(), "a second copy only of one that has nothing to do"),
            (known.live.len() < REQUESTS_MAX, "too many requests on their way"),
            (bytes < WINDOW_MAX + SHARD_MAX as u64, "too many bytes on their way"),
        ];
        if let Some((_, rule)) = rules.into_iter().find(|(kept, _)| !kept) {
            return Err(rule);
        }
        known.live.insert(request, index);
        self.asked.insert(request, (peer, index));
        Ok(())
    }
}
