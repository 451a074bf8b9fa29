//! What the actor counts, and whom it tells the guard about.

use libp2p::metrics::Recorder;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, identify};
use tokio::time::Instant;

use super::super::announcements::Verdict;
use super::super::behaviour::BehaviourEvent;
use super::super::forwarders::Origin;
use super::super::gossip;
use super::Actor;
use crate::net::misdeed::{Denied, Judged, Misdeed};

impl Actor<'_> {
    /// Passes an event to libp2p's counters.
    pub(super) fn record(&self, event: &SwarmEvent<BehaviourEvent>) {
        let Some(recorder) = &self.state.recorder else { return };
        recorder.record(event);
        match event {
            SwarmEvent::IncomingConnectionError { .. } => self.state.guard.metrics().denied.inc(Denied::Other),
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(event)) => recorder.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => recorder.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            })) => {
                // What a peer states of itself would become labels: any number of them.
                let mut info = info.clone();
                info.listen_addrs.clear();
                let (connection_id, peer_id) = (*connection_id, *peer_id);
                recorder.record(&identify::Event::Received { connection_id, peer_id, info });
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => recorder.record(event),
            _ => {}
        }
    }

    /// Counts a verdict, and reports whoever brought the message if it could have known better, or brings too much.
    pub(super) fn count_verdict(&mut self, from: PeerId, origin: Origin, verdict: &Verdict) {
        let judged = match verdict {
            Verdict::Accept(_) => Judged::Accepted,
            Verdict::Reject(_) => Judged::Rejected,
            Verdict::Ignore(_) => Judged::Ignored,
        };
        let misdeed = self.forwarders.misdeed(from, origin, verdict, self.state.now_ms());
        self.state.guard.metrics().judged.inc(judged);
        if let Some(misdeed) = misdeed {
            self.swarm.behaviour_mut().guard.report(from, misdeed);
        }
    }

    /// What gossipsub finds wrong by itself (signatures above all) shows in its scores alone.
    pub(super) fn watch(&mut self) {
        self.failures.quiet(Instant::now());
        let behaviour = self.swarm.behaviour();
        let score = |peer: &PeerId| behaviour.gossipsub.peer_score(peer);
        let peers = behaviour.gossipsub.all_peers().map(|(peer, _)| *peer);
        let liars: Vec<_> = peers.filter(|peer| score(peer).is_some_and(|score| score < gossip::graylist())).collect();
        for peer in liars {
            self.swarm.behaviour_mut().guard.report(peer, Misdeed::Gossip);
        }
    }
}
