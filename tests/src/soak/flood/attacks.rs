//! What strangers do, all at once, from many neighbourhoods of the loopback interface's addresses.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::AsyncWriteExt;
use libp2p::identity::Keypair;
use potluck_protocol::bulk::Request;
use potluck_protocol::codec;
use potluck_protocol::id::ShardId;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::gossip;
use super::raw::{Wire, connect};
use super::target::{NETWORK, Target};
use crate::crash::Outcome;
use crate::loopback;
use crate::soak::attackers::{Attackers, Tally, Task};
use crate::swarm::key;

/// Connections with a handshake, opened and left.
const DIALS: u64 = 10_000;
const DIALLERS: u64 = 40;
const DIAL_HELD: Duration = Duration::from_millis(500);

/// Connections without a byte, from so many neighbourhoods, held until they are closed and then opened again.
const HALF_OPEN: u64 = 600;
const HALF_OPEN_GROUPS: u64 = 12;

/// Bulk streams that are opened and left open, over so many connections at a time.
const STREAMS: u64 = 5_000;
const STREAM_WIRES: u64 = 8;

/// Of each other kind, so many at once.
const SLOW_READERS: u64 = 8;
const DECLARERS: u64 = 4;
const GOSSIPERS: u64 = 4;

/// What is counted.
const DIALLED: &str = "dials";
const THROUGH: &str = "dials_through";
const OPENED: &str = "half_open";
const STREAMED: &str = "streams";
const DECLARED: &str = "declared_gigabytes";
const UNREAD: &str = "requests_unread";

#[derive(Clone)]
struct Attacker {
    seed: String,
    port: u16,
    shards: Vec<ShardId>,
    tally: Tally,
}

/// Begins all of them.
pub fn start(seed: u64, target: &Target) -> Attackers {
    let lies = [Lie::Invalid, Lie::Unsigned, Lie::Duplicate, Lie::Oversized];
    let counted = [DIALLED, THROUGH, OPENED, STREAMED, DECLARED, UNREAD];
    let tally = Tally::new(&[&counted[..], &lies.map(Lie::counted)].concat());
    let shards: Vec<ShardId> = target.shards.iter().map(|row| row.id).collect();
    let attacker = |kind: &str, n: u64| Attacker {
        seed: format!("{seed} {kind} {n}"),
        port: target.port,
        shards: shards.clone(),
        tally: tally.clone(),
    };
    let mut all: Vec<Task> = Vec::new();
    for n in 0..DIALLERS {
        all.push(Box::pin(attacker("dial", n).dials(address(60, n))));
    }
    for n in 0..HALF_OPEN {
        all.push(Box::pin(attacker("half", n).half_open(address(61, n % HALF_OPEN_GROUPS))));
    }
    for n in 0..STREAM_WIRES {
        all.push(Box::pin(attacker("stream", n).streams(address(62, n))));
    }
    for n in 0..SLOW_READERS {
        all.push(Box::pin(attacker("slow", n).reads_nothing(address(63, n))));
    }
    for n in 0..DECLARERS {
        all.push(Box::pin(attacker("declare", n).declares(address(64, n))));
    }
    for n in 0..GOSSIPERS {
        for what in lies {
            let from = address(65 + what as u8, n);
            all.push(Box::pin(attacker(what.counted(), n).lies(from, what)));
        }
    }
    Attackers::start(&Handle::current(), tally, all)
}

/// An address of this machine, in a neighbourhood that follows from a number.
fn address(kind: u8, n: u64) -> Ipv4Addr {
    loopback::address(kind, n as u8)
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    Invalid,
    Unsigned,
    Duplicate,
    Oversized,
}

impl Lie {
    /// As what it is counted.
    fn counted(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unsigned => "unsigned",
            Self::Duplicate => "duplicate",
            Self::Oversized => "oversized",
        }
    }
}

fn bulk() -> String {
    format!("/potluck/{NETWORK}/bulk/1")
}

impl Attacker {
    /// A name that nobody has seen.
    fn identity(&self, n: u64) -> Outcome<Keypair> {
        Ok(key(&format!("{} {n}", self.seed))?.into())
    }

    /// A new connection under a new name; `None` if none is to be had.
    async fn wire(&self, from: Ipv4Addr, n: u64) -> Option<(Wire, Keypair)> {
        let identity = self.identity(n).ok()?;
        let wire = timeout(Duration::from_secs(10), Wire::dial(from, self.port, &identity)).await.ok()?.ok()?;
        Some((wire, identity))
    }

    async fn dials(self, from: Ipv4Addr) {
        let mut n = 0;
        while self.tally.add(DIALLED, 1) < DIALS {
            n += 1;
            if let Some((wire, _)) = self.wire(from, n).await {
                self.tally.add(THROUGH, 1);
                tokio::spawn(async move {
                    sleep(DIAL_HELD).await;
                    drop(wire);
                });
            } else {
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn half_open(self, from: Ipv4Addr) {
        loop {
            if let Ok(stream) = connect(from, self.port).await {
                self.tally.add(OPENED, 1);
                // The node speaks first on nothing: readable means that it closed.
                while !matches!(stream.try_read(&mut [0; 256]), Ok(0)) {
                    if stream.readable().await.is_err() {
                        break;
                    }
                }
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn streams(self, from: Ipv4Addr) {
        for n in 0.. {
            if let Some((wire, _)) = self.wire(from, n).await {
                let mut open = Vec::new();
                while self.tally.of(STREAMED) < STREAMS
                    && let Ok(Some(stream)) = timeout(Duration::from_secs(1), wire.speak(&bulk())).await
                {
                    self.tally.add(STREAMED, 1);
                    open.push(stream);
                }
                sleep(Duration::from_secs(5)).await;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn reads_nothing(self, from: Ipv4Addr) {
        for n in 0.. {
            if let Some((wire, _)) = self.wire(from, n).await {
                let mut open = Vec::new();
                for _ in 0..16 {
                    if let Ok(Some(mut stream)) = timeout(Duration::from_secs(1), wire.speak(&bulk())).await {
                        drop(self.ask_on(&mut stream).await);
                        open.push(stream);
                    }
                }
                sleep(Duration::from_secs(40)).await;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks for as much as the stream takes, and reads nothing.
    async fn ask_on(&self, stream: &mut libp2p::core::muxing::SubstreamBox) -> Outcome<()> {
        for _ in 0..64 {
            for id in &self.shards {
                let request = codec::encode(&Request::Shard(*id))?;
                let frame = [(request.len() as u32).to_le_bytes().to_vec(), request].concat();
                timeout(Duration::from_millis(200), stream.write_all(&frame)).await??;
                self.tally.add(UNREAD, 1);
            }
            timeout(Duration::from_millis(200), stream.flush()).await??;
        }
        Ok(())
    }

    async fn declares(self, from: Ipv4Addr) {
        for n in 0.. {
            if let Some((wire, _)) = self.wire(from, n).await {
                while let Ok(Some(mut stream)) = timeout(Duration::from_secs(1), wire.speak(&bulk())).await {
                    let frame = [(1u32 << 30).to_le_bytes().to_vec(), vec![7; 64 << 10]].concat();
                    self.tally.add(DECLARED, 1);
                    let sent = async { stream.write_all(&frame).await.and(stream.flush().await) };
                    drop(timeout(Duration::from_secs(1), sent).await);
                    sleep(Duration::from_millis(10)).await;
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn lies(self, from: Ipv4Addr, what: Lie) {
        for n in 0.. {
            if let Some((wire, identity)) = self.wire(from, n).await {
                drop(self.lie_on(&wire, &identity, what).await);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// As fast as it is taken, until the connection ends.
    async fn lie_on(&self, wire: &Wire, identity: &Keypair, what: Lie) -> Outcome<()> {
        let twice = gossip::message(identity, 1, &gossip::good(&self.seed)?)?;
        let mut stream = wire.speak(&gossip::protocol()).await.ok_or("it is closed")?;
        for n in 0.. {
            let frame = match what {
                Lie::Invalid => gossip::message(identity, n, &gossip::nonsense(&format!("{} {n}", self.seed)))?,
                Lie::Unsigned => gossip::unsigned(identity, n, &gossip::nonsense(&format!("{} {n}", self.seed)))?,
                Lie::Duplicate => twice.clone(),
                Lie::Oversized => gossip::oversized(),
            };
            timeout(Duration::from_secs(2), stream.write_all(&frame)).await??;
            self.tally.add(what.counted(), 1);
            if n % 64 == 0 || matches!(what, Lie::Oversized) {
                timeout(Duration::from_secs(2), stream.flush()).await??;
            }
            if matches!(what, Lie::Oversized) {
                stream = wire.speak(&gossip::protocol()).await.ok_or("it is closed")?;
            }
        }
        Ok(())
    }
}
