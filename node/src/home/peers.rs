//! `peers`: who was here and where, so that a node that was connected once needs no bootstrap again.
//!
//! The first line is `network NAME`: peers of another network are no use. Then `SECONDS ADDRESS/p2p/PEER` a line, when the
//! peer was last connected and where it can be dialled.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use potluck_protocol::text::Name;
use potluck_trainer::files;

use super::FileError;
use super::files::{io_error, lines, read};
use crate::addresses::AddressScope;

/// Peers kept over a restart, addresses of each, and for how long without seeing them.
const REMEMBERED: usize = 64;
const REMEMBERED_ADDRESSES: usize = 4;
const REMEMBERED_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A peer and where it can be dialled.
pub type KnownPeer = (PeerId, Vec<Multiaddr>);

/// The peers of a network, each with the time at which it was last here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    network: Name,
    peers: BTreeMap<PeerId, (u64, Vec<Multiaddr>)>,
}

impl Remembered {
    /// Nobody yet.
    pub fn new(network: Name) -> Self {
        Self { network, peers: BTreeMap::new() }
    }

    /// What the file of a home says of this network. One that cannot be read is as none.
    pub fn open(path: &Path, network: Name, now: u64) -> Self {
        match read(path) {
            Ok(text) => Self::parse(&text.unwrap_or_default(), network, now),
            Err(error) => {
                tracing::warn!(%error, "the peers of the last run are not known");
                Self::new(network)
            }
        }
    }

    /// Whether a home's file names any peer, of whatever network: the node has met somebody then, who may know more of it
    /// than it does itself.
    pub fn any(path: &Path) -> bool {
        // One that cannot be read may have named somebody.
        read(path).map_or(true, |text| text.is_some_and(|text| lines(&text).nth(1).is_some()))
    }

    fn parse(text: &str, network: Name, now: u64) -> Self {
        let mut remembered = Self::new(network);
        let mut lines = lines(text).map(|(_, line)| line);
        if lines.next().and_then(|line| line.strip_prefix("network ")) != Some(remembered.network.as_str()) {
            return remembered;
        }
        for (seen, address) in lines.filter_map(|line| line.split_once(' ')) {
            let Ok(mut address) = address.parse::<Multiaddr>() else { continue };
            let (Some(Protocol::P2p(peer)), Ok(seen)) = (address.pop(), seen.parse::<u64>()) else { continue };
            remembered.note(peer, &[address], seen.min(now));
        }
        remembered.forget_old(now);
        remembered
    }

    /// A peer is here, and can be dialled there.
    pub fn note(&mut self, peer: PeerId, addresses: &[Multiaddr], now: u64) {
        let (seen, known) = self.peers.entry(peer).or_default();
        *seen = now.max(*seen);
        for address in addresses.iter().filter(|address| AddressScope::Machine.includes(address)) {
            if !known.contains(address) && known.len() < REMEMBERED_ADDRESSES {
                known.push(address.clone());
            }
        }
        if known.is_empty() {
            self.peers.remove(&peer);
        }
    }

    /// Peers that are here now: where they can be dialled may have changed.
    pub fn update(&mut self, peers: Vec<KnownPeer>, now: u64) {
        for (peer, addresses) in peers {
            let old = self.peers.remove(&peer);
            self.note(peer, &addresses, now);
            if let Some((_, old)) = old {
                self.note(peer, &old, now);
            }
        }
        self.forget_old(now);
    }

    /// Whoever was not here for long, and of the others all but the latest. // I12
    fn forget_old(&mut self, now: u64) {
        self.peers.retain(|_, (seen, _)| seen.saturating_add(REMEMBERED_AGE.as_secs()) > now);
        while self.peers.len() > REMEMBERED {
            let oldest = self.peers.iter().min_by_key(|(_, (seen, _))| *seen).map(|(peer, _)| *peer);
            oldest.inspect(|peer| drop(self.peers.remove(peer)));
        }
    }

    /// The latest first.
    pub fn peers(&self) -> Vec<KnownPeer> {
        let mut all: Vec<_> = self.peers.iter().collect();
        all.sort_by_key(|(_, (seen, _))| std::cmp::Reverse(*seen));
        all.into_iter().map(|(peer, (_, addresses))| (*peer, addresses.clone())).collect()
    }

    /// When a peer was last here, in seconds since 1970.
    pub fn seen(&self, peer: &PeerId) -> Option<u64> {
        self.peers.get(peer).map(|(seen, _)| *seen)
    }

    fn text(&self) -> String {
        let mut text = format!("network {}\n", self.network);
        for (peer, (seen, addresses)) in &self.peers {
            for address in addresses {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{seen} {address}/p2p/{peer}");
            }
        }
        text
    }

    /// Replaces the file durably.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        files::replace_private(path, self.text().as_bytes()).map_err(io_error("write", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn network() -> Name {
        Name::new("test").expect("a name")
    }

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/198.51.100.7/tcp/{port}").parse().expect("a good address")
    }

    #[test]
    fn who_was_here_is_known_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peers");
        let mut remembered = Remembered::open(&path, network(), NOW);
        assert!(!Remembered::any(&path), "there is no file yet");
        let (first, second) = (PeerId::random(), PeerId::random());
        remembered.update(vec![(first, vec![address(1), address(2)]), (PeerId::random(), vec![])], NOW);
        remembered.update(vec![(second, vec![address(3)])], NOW + 5);
        remembered.write(&path).expect("writable");
        let again = Remembered::open(&path, network(), NOW + 10);
        assert_eq!(again, remembered);
        assert_eq!(again.peers(), [(second, vec![address(3)]), (first, vec![address(1), address(2)])]);
        assert!(Remembered::any(&path), "somebody was met");
        let other = Name::new("other").expect("a name");
        assert!(Remembered::open(&path, other, NOW).peers().is_empty());
        let later = NOW + REMEMBERED_AGE.as_secs();
        assert_eq!(Remembered::open(&path, network(), later + 1).peers(), [(second, vec![address(3)])]);
        assert!(Remembered::open(&path, network(), later + 6).peers().is_empty());
    }

    #[test]
    fn the_newest_addresses_come_first_and_all_is_bounded() {
        let mut remembered = Remembered::new(network());
        let peer = PeerId::random();
        for port in 1..20 {
            remembered.update(vec![(peer, vec![address(port)])], NOW);
        }
        assert_eq!(remembered.peers()[0].1, [19, 18, 17, 16].map(address));
        for n in 0..2 * REMEMBERED as u64 {
            remembered.update(vec![(PeerId::random(), vec![address(1)])], NOW + 1 + n);
        }
        assert_eq!(remembered.peers().len(), REMEMBERED);
        assert!(remembered.peers().iter().all(|(one, _)| *one != peer));
    }

    #[test]
    fn damage_is_left_out() {
        let peer = PeerId::random();
        let text = format!(
            "network test\nx {0}/p2p/{peer}\n5\n{NOW} {0}\n{NOW} /ip4/0.0.0.0/tcp/1/p2p/{peer}\n99999999999 {1}/p2p/{peer}\n",
            address(1),
            address(2)
        );
        let remembered = Remembered::parse(&text, network(), NOW);
        assert_eq!(remembered.peers(), [(peer, vec![address(2)])]);
        assert_eq!(remembered.peers[&peer].0, NOW, "nobody was here tomorrow");
    }
}
