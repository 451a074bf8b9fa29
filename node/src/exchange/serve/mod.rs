//! Answers the requests of other nodes from the store.
//!
//! ```text
//! stream -> read: requests, call-backs -> prepare: the next answer, from the disk -> send: piece by piece, in its turn
//! ```
//!
//! One task a stream, its three steps at once: while one answer is sent the next is read from the disk. What waits for
//! the disk runs where waiting is allowed. A request of a peer that asks too much waits for its turn (`turns`), one that
//! finds no place is answered with `Busy`.

mod answers;
mod asked;
mod turns;

use std::time::Duration;

use futures::future;
use potluck_protocol::bulk::{Provider, Refusal, Reply, Request};
use potluck_protocol::codec::Heard;
use potluck_protocol::limits::DATA_MAX;
use potluck_protocol::shard::VerifiedShard;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep_until, timeout};

use super::limits::{REQUEST_IDLE, REQUESTS, SEND_SHARD};
use super::uploads::Uploader;
use super::{Exchange, lock};
use crate::net::{FrameError, Inbound, Misdeed, Replier, Requests};
use crate::store::StoreError;
pub(super) use answers::busy;
use asked::{Asked, Pending};
pub(super) use turns::Turns;
use turns::{Kind, Turn};

/// Why a stream was given up.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Our fault, not the peer's.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the peer did not accept a shard within {} s", SEND_SHARD.as_secs())]
    TooSlow,
}

/// An answer that can be sent.
enum Answer {
    Whole(Reply),
    /// In memory until it is sent, and for so long it keeps its place among all and its peer's.
    Shard(VerifiedShard, [OwnedSemaphorePermit; 2]),
}

/// Serves every stream that comes, until the node stops or the network is gone.
pub async fn run(exchange: Exchange, mut inbound: mpsc::Receiver<Inbound>) {
    let stop = exchange.0.tasks.stop().clone();
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            stream = inbound.recv() => stream,
        };
        let Some(stream) = stream else { return };
        let (one, stop) = (exchange.clone(), stop.clone());
        exchange.0.tasks.spawn("bulk stream", async move {
            // Stopping resets the streams: their peers ask others.
            let _ = stop.run_until_cancelled(one.serve(stream)).await;
        });
    }
}

impl Exchange {
    async fn serve(&self, stream: Inbound) {
        let uploader = self.0.uploads.join(stream.peer(), stream.group());
        let (requests, mut replier) = stream.split();
        let peer = replier.peer();
        match self.answer_all(requests, &mut replier, &uploader).await {
            Ok(()) => drop(replier.close().await),
            Err(ServeError::Frame(error)) if error.is_fault() => {
                tracing::warn!(%peer, %error, "a peer sent requests that make no sense");
                self.blame(peer, Misdeed::Protocol);
            }
            Err(ServeError::Store(error)) => tracing::error!(%error, "the store cannot be read for a peer"),
            Err(error) => tracing::debug!(%peer, %error, "a bulk stream ended early"),
        }
    }

    /// Until the peer is done, or is silent for too long.
    async fn answer_all(
        &self,
        requests: Requests,
        replier: &mut Replier,
        uploader: &Uploader,
    ) -> Result<(), ServeError> {
        let asked = Asked::default();
        let relayed = replier.is_relayed();
        let (queue, waiting) = mpsc::channel(REQUESTS);
        // One answer ahead of the one that is being sent.
        let (ready, answers) = mpsc::channel(1);
        let steps = future::try_join3(
            self.read(requests, uploader, &asked, queue),
            self.prepare((uploader, relayed), &asked, waiting, ready),
            self.send(replier, uploader, &asked, answers),
        );
        steps.await.map(|_| ())
    }

    /// Reads requests until the peer is done. One that was called back keeps its place in the order.
    async fn read(
        &self,
        mut requests: Requests,
        uploader: &Uploader,
        asked: &Asked,
        queue: mpsc::Sender<Pending>,
    ) -> Result<(), ServeError> {
        while let Some((request, bytes)) = requests.receive().await? {
            if let Heard::Known(Request::Cancel(id)) = request {
                self.turn(uploader, Kind::Shard).await;
                asked.call_back(id);
                continue;
            }
            let room = asked.room(bytes).await;
            if queue.send(asked.note(request, room)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until it is a request's turn to be answered. Whether it is: it is refused then if too many others of its peer
    /// wait.
    async fn turn(&self, uploader: &Uploader, kind: Kind) -> bool {
        let now_ms = self.now_ms();
        let turn = lock(&self.0.turns).take(uploader.asker(), kind, now_ms);
        let (Turn::At(at_ms) | Turn::Refused(at_ms)) = turn;
        if at_ms > now_ms {
            self.0.metrics.requests_delayed.inc();
            sleep_until(self.0.started + Duration::from_millis(at_ms)).await;
        }
        matches!(turn, Turn::At(_))
    }

    async fn prepare(
        &self,
        (uploader, relayed): (&Uploader, bool),
        asked: &Asked,
        mut waiting: mpsc::Receiver<Pending>,
        ready: mpsc::Sender<(Pending, Answer)>,
    ) -> Result<(), ServeError> {
        loop {
            match timeout(REQUEST_IDLE, waiting.recv()).await {
                Ok(Some(pending)) => {
                    // A place first: one answer is sent and one is ready, and no third one is in memory.
                    let Ok(place) = ready.reserve().await else { return Ok(()) };
                    let answer = if self.turn(uploader, Kind::of(&pending.request)).await {
                        self.answer(uploader, relayed, &pending).await?
                    } else {
                        Answer::Whole(busy())
                    };
                    place.send((pending, answer));
                }
                Ok(None) => return Ok(()),
                Err(_) if asked.is_empty() => return Err(FrameError::stalled(REQUEST_IDLE).into()),
                // It waits for us, not we for it.
                Err(_) => {}
            }
        }
    }

    async fn send(
        &self,
        replier: &mut Replier,
        uploader: &Uploader,
        asked: &Asked,
        mut answers: mpsc::Receiver<(Pending, Answer)>,
    ) -> Result<(), ServeError> {
        while let Some((pending, answer)) = answers.recv().await {
            match answer {
                Answer::Whole(reply) => {
                    uploader.charge(size(&reply));
                    replier.send(&reply).await?;
                }
                Answer::Shard(shard, _places) => {
                    let sending = self.send_shard(replier, uploader, &pending, &shard);
                    let sending = self.0.stalls.watch(uploader.asker(), timeout(SEND_SHARD, sending));
                    sending.await.and_then(Result::ok).unwrap_or(Err(ServeError::TooSlow))?;
                }
            }
            asked.answered();
        }
        Ok(())
    }

    async fn send_shard(
        &self,
        replier: &mut Replier,
        uploader: &Uploader,
        pending: &Pending,
        shard: &VerifiedShard,
    ) -> Result<(), ServeError> {
        let len = shard.bytes().len() as u32;
        for (n, piece) in shard.bytes().chunks(DATA_MAX).enumerate() {
            uploader.turn(piece.len()).await;
            if pending.is_called_back() {
                return Ok(replier.send(&Reply::Refused(Refusal::Cancelled)).await?);
            }
            replier.send(&Reply::Shard { len, offset: (n * DATA_MAX) as u32, bytes: piece.to_vec() }).await?;
        }
        Ok(())
    }
}

/// What a reply counts for where the speed of uploads is limited: the bytes that it carries.
fn size(reply: &Reply) -> usize {
    match reply {
        Reply::Manifest(bytes) | Reply::Shard { bytes, .. } => bytes.len(),
        Reply::Have(flags) => flags.len(),
        Reply::Providers(peers) | Reply::Peers(peers) => {
            let addresses = |peer: &Provider| peer.addresses.iter().map(Vec::len).sum::<usize>();
            peers.iter().map(|peer| peer.peer.len() + addresses(peer)).sum()
        }
        Reply::Announcements(all) | Reply::Records(all) => all.iter().map(Vec::len).sum(),
        Reply::Differing(differing) => differing.ids().map(|id| id.0.0.len()).sum(),
        Reply::Refused(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::catalogue::Differing;
    use potluck_protocol::codec;
    use potluck_protocol::id::{AnnouncementId, Digest, ManifestId, ShardId};

    use super::super::testing::honest;
    use super::super::uploads::Asker;
    use super::*;
    use crate::addresses::AddressGroup;
    use crate::net::testing::{base, connect};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_asks_more_than_they_may_waits_and_is_answered_and_shards_are_counted_apart() {
        let (one, node) = (honest(1).await, honest(2).await);
        connect(&one.net, &node.net).await;
        let mut stream = one.net.open(node.net.peer_id()).await.expect("connected");
        let asker = Asker { peer: one.net.peer_id(), group: AddressGroup::default() };
        // All was asked for that may be, at a time to come: nothing comes back before, however slow this machine is.
        let later_ms = node.exchange.now_ms() + 3_600_000;
        let use_up = |kind| {
            let mut turns = lock(&node.exchange.0.turns);
            while turns.take(asker, kind, later_ms) == Turn::At(later_ms) {}
        };
        let delayed = || node.exchange.metrics().requests_delayed.get();
        let (manifest, shard) = (ManifestId(Digest::of(b"none")), ShardId(Digest::of(b"none")));
        let question = one.net.known().with(|catalogue| catalogue.question(base()));
        let questions = [
            Request::Providers(manifest),
            Request::Manifest(manifest),
            Request::Announcements(base()),
            Request::Have(vec![shard]),
            Request::Peers,
            Request::Compare(question),
        ];
        use_up(Kind::Question);
        for request in &questions {
            let before = delayed();
            let reply = stream.ask(request).await.expect("an answer");
            assert!(!matches!(reply, Reply::Refused(Refusal::Busy { .. })), "{request:?}");
            assert!(delayed() > before, "{request:?}");
        }
        let missing = Reply::Refused(Refusal::NotFound);
        assert_eq!(stream.ask(&Request::Shard(shard)).await.expect("an answer"), missing);
        use_up(Kind::Shard);
        let before = delayed();
        assert_eq!(stream.ask(&Request::Shard(shard)).await.expect("an answer"), missing);
        assert!(delayed() > before);
    }

    #[test]
    fn every_reply_counts_for_the_bytes_that_it_carries() {
        let provider = Provider { peer: vec![1; 38], addresses: vec![vec![2; 20]; 4] };
        let id = |n: u8| AnnouncementId(Digest::of(&[n]));
        let replies = [
            Reply::Manifest(vec![0; 5_000]),
            Reply::Have(vec![true; 1_024]),
            Reply::Shard { len: 9_000, offset: 0, bytes: vec![0; 9_000] },
            Reply::Providers(vec![provider.clone(); 16]),
            Reply::Peers(vec![provider; 16]),
            Reply::Announcements(vec![vec![0; 300]; 64]),
            Reply::Records(vec![vec![0; 300]; 256]),
            Reply::Differing(Differing::of((0..200).map(id))),
            Reply::Refused(Refusal::NotFound),
        ];
        for reply in replies {
            let (counted, encoded) = (size(&reply), codec::encode(&reply).expect("it is within its bounds").len());
            // Lengths and tags are not counted.
            assert!(counted <= encoded && (counted * 10 >= encoded * 6 || encoded < 16), "{counted} of {encoded}");
        }
    }
}
