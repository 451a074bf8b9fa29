//! What is followed, said and heard: one topic for each base.

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, PublishError};
use potluck_protocol::announce::Announcement;
use potluck_protocol::id::BaseId;
use potluck_protocol::signed::Authentic;

use super::super::announcements::{Reason, Verdict};
use super::super::error::NetError;
use super::super::handle::Event;
use super::super::{gossip, limits};
use super::Actor;

impl Actor<'_> {
    pub(super) fn subscribe(&mut self, base: BaseId) -> Result<(), NetError> {
        if self.state.bases.contains(&base) {
            return Ok(());
        }
        if self.state.bases.len() >= limits::TOPICS {
            return Err(NetError::TooManyTopics { max: limits::TOPICS });
        }
        self.join(base)?;
        self.state.bases.push(base);
        // Who followed it before we did is news now.
        for peer in self.followers(base) {
            self.state.emit(Event::Subscribed { peer, base });
        }
        Ok(())
    }

    pub(super) fn join(&mut self, base: BaseId) -> Result<(), NetError> {
        let topic = gossip::topic(&self.state.config.network, &base);
        let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
        let setup = |error: String| NetError::Setup(format!("following base {base}: {error}"));
        gossipsub.set_topic_params(topic.clone(), gossip::topic_score()).map_err(|error| setup(error.to_owned()))?;
        gossipsub.subscribe(&topic).map_err(|error| setup(error.to_string()))?;
        self.topics.insert(topic.hash(), base);
        Ok(())
    }

    pub(super) fn followers(&self, base: BaseId) -> Vec<PeerId> {
        let topic = gossip::topic(&self.state.config.network, &base).hash();
        let peers = self.swarm.behaviour().gossipsub.all_peers();
        peers.filter(|(_, topics)| topics.contains(&&topic)).map(|(peer, _)| *peer).collect()
    }

    pub(super) fn announce(&mut self, announcement: Authentic<Announcement>) -> Result<(), NetError> {
        let base = announcement.body().base;
        let bytes = announcement.signed().encode().map_err(|error| NetError::Announce(error.to_string()))?;
        self.subscribe(base)?;
        self.state.announcements.insert(announcement);
        self.publish(base, bytes)
    }

    /// Sends an announcement, or keeps it until somebody listens. It is in the catalogue already, so that one which is
    /// not sent is found.
    fn publish(&mut self, base: BaseId, bytes: Vec<u8>) -> Result<(), NetError> {
        let now_ms = self.state.now_ms();
        if !self.state.said.has(now_ms) {
            tracing::debug!(
                ?base,
                "too much is said at once: peers find this announcement when they compare catalogues"
            );
            return Ok(());
        }
        let topic = gossip::topic(&self.state.config.network, &base);
        match self.swarm.behaviour_mut().gossipsub.publish(topic, bytes.clone()) {
            Ok(_) => {
                self.state.said.take(now_ms);
                Ok(())
            }
            Err(PublishError::Duplicate) => Ok(()),
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => {
                self.state.keep_for_later(base, bytes);
                Ok(())
            }
            Err(error) => Err(NetError::Announce(error.to_string())),
        }
    }

    pub(super) fn gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let acceptance = self.judge(&propagation_source, &message);
                // Every message gets its verdict: without one it would neither be passed on nor forgotten.
                self.swarm.behaviour_mut().gossipsub.report_message_validation_result(
                    &message_id,
                    &propagation_source,
                    acceptance,
                );
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                if let Some(&base) = self.topics.get(&topic) {
                    self.publish_kept(base);
                    self.state.emit(Event::Subscribed { peer: peer_id, base });
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => tracing::debug!(%peer_id, "a peer is slow to take gossip"),
            gossipsub::Event::GossipsubNotSupported { .. } | gossipsub::Event::Unsubscribed { .. } => {}
        }
    }

    fn judge(&mut self, from: &PeerId, message: &gossipsub::Message) -> MessageAcceptance {
        let Some(&base) = self.topics.get(&message.topic) else { return MessageAcceptance::Ignore };
        let now_ms = self.state.now_ms();
        let verdict = self.state.announcements.judge(base, &message.data, now_ms);
        self.count_verdict(*from, &verdict);
        match verdict {
            Verdict::Accept(announcement) => {
                self.state.emit(Event::Heard(announcement));
                MessageAcceptance::Accept
            }
            Verdict::Reject(fault) => {
                tracing::warn!(%from, %fault, "a wrong announcement was rejected");
                MessageAcceptance::Reject
            }
            Verdict::Ignore(reason) => {
                tracing::debug!(%from, ?reason, "an announcement was ignored");
                if reason == Reason::TooMany && self.state.announcements.tell_missed(now_ms) {
                    self.state.emit(Event::Missed(base));
                }
                MessageAcceptance::Ignore
            }
        }
    }

    fn publish_kept(&mut self, base: BaseId) {
        for bytes in self.state.take_kept(base) {
            if let Err(error) = self.publish(base, bytes) {
                tracing::warn!(%error, "an announcement that was kept cannot be sent");
            }
        }
    }
}
