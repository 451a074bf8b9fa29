//! Who may send how much, and when: limits for all together, for one peer, and for one group of addresses.
//!
//! Fair among peers: a peer's streams take turns for one piece at a time, so where a common limit holds, peers share it
//! equally however many streams each of them has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::limits::SLOTS_PER_PEER;
use super::lock;
use super::pace::{self, Pace, Speed};
use crate::addresses::AddressGroup;

/// The limits that a person has set; without one, as fast as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speeds {
    /// What this node sends, to all together.
    pub upload: Option<Speed>,
    /// To one peer.
    pub upload_per_peer: Option<Speed>,
    /// To the peers of one group of addresses (IPv4 /24, IPv6 /56).
    pub upload_per_group: Option<Speed>,
    /// What this node fetches, from all together.
    pub download: Option<Speed>,
}

impl Speeds {
    fn limits_uploads(&self) -> bool {
        self.upload.is_some() || self.upload_per_peer.is_some() || self.upload_per_group.is_some()
    }
}

/// What is being sent to everybody. Entries go when their peer has no stream and its pace has rested. // I12
pub struct Uploads {
    speeds: Speeds,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    total: Option<Pace>,
    groups: HashMap<AddressGroup, Pace>,
    peers: HashMap<PeerId, Peer>,
}

struct Peer {
    streams: usize,
    /// Shards in memory for it.
    places: Arc<Semaphore>,
    /// Held by the stream whose piece is next.
    turn: Arc<tokio::sync::Mutex<()>>,
    pace: Option<Pace>,
}

/// Who asks, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The peer.
    pub peer: PeerId,
    /// Its neighbourhood.
    pub group: AddressGroup,
}

/// One stream's part in it.
pub struct Uploader {
    uploads: Arc<Uploads>,
    peer: PeerId,
    group: AddressGroup,
    turn: Arc<tokio::sync::Mutex<()>>,
    places: Arc<Semaphore>,
}

impl Uploads {
    /// Within these speeds; nobody takes anything yet.
    pub fn new(speeds: Speeds) -> Self {
        let state = State { total: speeds.upload.map(Pace::new), groups: HashMap::new(), peers: HashMap::new() };
        Self { speeds, began: Instant::now(), state: Mutex::new(state) }
    }

    /// A stream to a peer begins.
    pub fn join(self: &Arc<Self>, peer: PeerId, group: AddressGroup) -> Uploader {
        let now_us = self.now_us();
        let mut state = lock(&self.state);
        state.peers.retain(|_, one| one.streams > 0 || one.pace.is_some_and(|pace| !pace.is_rested(now_us)));
        state.groups.retain(|_, pace| !pace.is_rested(now_us));
        let entry = state.peers.entry(peer).or_insert_with(|| Peer {
            streams: 0,
            places: Arc::new(Semaphore::new(SLOTS_PER_PEER)),
            turn: Arc::default(),
            pace: self.speeds.upload_per_peer.map(Pace::new),
        });
        entry.streams += 1;
        let (turn, places) = (entry.turn.clone(), entry.places.clone());
        Uploader { uploads: self.clone(), peer, group, turn, places }
    }

    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn slot(&self, peer: PeerId, group: AddressGroup, bytes: usize) -> Instant {
        let now_us = self.now_us();
        let mut state = lock(&self.state);
        let State { total, groups, peers } = &mut *state;
        let of_group = self.speeds.upload_per_group.map(|speed| groups.entry(group).or_insert(Pace::new(speed)));
        let of_peer = peers.get_mut(&peer).and_then(|one| one.pace.as_mut());
        let at_us = pace::slot(total.as_mut().into_iter().chain(of_group).chain(of_peer), bytes, now_us);
        self.began + Duration::from_micros(at_us)
    }
}

impl Uploader {
    /// Whom the stream goes to.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The same, and from where it asks.
    pub fn asker(&self) -> Asker {
        Asker { peer: self.peer, group: self.group }
    }

    /// Waits until so many bytes may be sent.
    pub async fn turn(&self, bytes: usize) {
        if !self.uploads.speeds.limits_uploads() {
            return;
        }
        let _turn = self.turn.lock().await;
        sleep_until(self.uploads.slot(self.peer, self.group, bytes)).await;
    }

    /// Counts bytes that are sent without a turn: small answers, which are bounded by how many may be asked for. Whoever
    /// waits for one waits behind nobody's shards.
    pub fn charge(&self, bytes: usize) {
        if self.uploads.speeds.limits_uploads() {
            self.uploads.slot(self.peer, self.group, bytes);
        }
    }

    /// A place in memory for one shard, if the peer has one left.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        if let Some(peer) = lock(&self.uploads.state).peers.get_mut(&self.peer) {
            peer.streams -= 1;
        }
    }
}

/// The limit on what is fetched, shared by all providers of all pulls.
pub struct Downloads {
    began: Instant,
    pace: Option<Mutex<Pace>>,
}

impl Downloads {
    /// Within these speeds; nobody takes anything yet.
    pub fn new(speeds: Speeds) -> Self {
        Self { began: Instant::now(), pace: speeds.download.map(|speed| Mutex::new(Pace::new(speed))) }
    }

    /// Waits before more is read, so that as much as has come is within the limit.
    pub async fn turn(&self, bytes: usize) {
        if let Some(pace) = &self.pace {
            let now_us = self.began.elapsed().as_micros() as u64;
            let at_us = pace::slot([&mut *lock(pace)], bytes, now_us);
            sleep_until(self.began + Duration::from_micros(at_us)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const PIECE: usize = 64 << 10;

    fn uploads(speeds: Speeds) -> Arc<Uploads> {
        Arc::new(Uploads::new(speeds))
    }

    fn speed(bytes: u64) -> Option<Speed> {
        Speed::new(bytes)
    }

    /// How many pieces each stream sends until all of them together have sent so many, and for how long that took.
    async fn sent(streams: Vec<Uploader>, all: usize) -> (Vec<usize>, Duration) {
        let (began, total) = (Instant::now(), AtomicUsize::new(0));
        let tasks = streams.into_iter().map(|stream| {
            let total = &total;
            async move {
                let mut count = 0;
                loop {
                    stream.turn(PIECE).await;
                    if total.fetch_add(1, Ordering::Relaxed) >= all {
                        return count;
                    }
                    count += 1;
                }
            }
        });
        (futures::future::join_all(tasks).await, began.elapsed())
    }

    /// What a speed allows in a time: with the burst, and one piece for each stream.
    fn allowed(bytes_per_second: usize, time: Duration, streams: usize) -> usize {
        ((time.as_secs_f64() + 0.1) * bytes_per_second as f64 / PIECE as f64) as usize + streams
    }

    #[tokio::test]
    async fn peers_share_a_limit_equally_however_many_streams_they_have() {
        let uploads = uploads(Speeds { upload: speed(20 << 20), ..Speeds::default() });
        let (one, many) = (PeerId::random(), PeerId::random());
        let group = AddressGroup::default();
        let mut streams = vec![uploads.join(one, group)];
        streams.extend((0..8).map(|_| uploads.join(many, group)));
        let (counts, time) = sent(streams, 200).await;
        let (alone, together) = (counts[0], counts[1..].iter().sum::<usize>());
        assert!(alone + together <= allowed(20 << 20, time, 9), "{counts:?} in {time:?}");
        assert!(alone.abs_diff(together) <= 20, "{counts:?}");
    }

    #[tokio::test]
    async fn a_peer_and_a_group_have_limits_of_their_own() {
        let speeds = Speeds { upload_per_peer: speed(2 << 20), upload_per_group: speed(6 << 20), ..Speeds::default() };
        let uploads = uploads(speeds);
        let group = |text: &str| AddressGroup::from(&text.parse::<libp2p::Multiaddr>().expect("an address"));
        let (near, far) = (group("/ip4/192.0.2.7/tcp/1"), group("/ip4/198.51.100.7/tcp/1"));
        let mut streams: Vec<_> = (0..6).map(|_| uploads.join(PeerId::random(), near)).collect();
        streams.push(uploads.join(PeerId::random(), far));
        let (counts, time) = sent(streams, 100).await;
        // Six peers of one group share what three could have; the one elsewhere has its own.
        assert!(counts[..6].iter().sum::<usize>() <= allowed(6 << 20, time, 6), "{counts:?} in {time:?}");
        assert!(counts[6] <= allowed(2 << 20, time, 1), "{counts:?} in {time:?}");
        assert!(counts[6] > counts[..6].iter().sum::<usize>() / 6, "{counts:?}");
    }

    #[tokio::test]
    async fn nothing_is_kept_of_peers_that_are_gone() {
        let uploads = uploads(Speeds { upload_per_peer: speed(1 << 20), ..Speeds::default() });
        for _ in 0..100 {
            drop(uploads.join(PeerId::random(), AddressGroup::default()));
        }
        let state = lock(&uploads.state);
        assert!(state.peers.len() <= 1, "{}", state.peers.len());
    }

    #[tokio::test]
    async fn who_comes_back_at_once_has_no_new_burst() {
        let uploads = uploads(Speeds { upload_per_peer: speed(1 << 20), ..Speeds::default() });
        let (peer, began) = (PeerId::random(), Instant::now());
        for _ in 0..8 {
            uploads.join(peer, AddressGroup::default()).turn(PIECE).await;
        }
        assert!(8 <= allowed(1 << 20, began.elapsed(), 1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_peer_has_so_many_shards_in_memory_over_all_its_streams() {
        let uploads = uploads(Speeds::default());
        let peer = PeerId::random();
        let streams: Vec<_> = (0..4).map(|_| uploads.join(peer, AddressGroup::default())).collect();
        let places: Vec<_> = streams.iter().cycle().take(100).filter_map(Uploader::place).collect();
        assert_eq!(places.len(), SLOTS_PER_PEER);
        assert!(uploads.join(PeerId::random(), AddressGroup::default()).place().is_some());
        drop(places);
        assert!(streams[0].place().is_some());
    }
}
