//! What is followed, said and heard: one topic for each base.

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, PublishError};
use potluck_protocol::announce::{Announcement, base_of_topic};
use potluck_protocol::catalogue::{Neighbour, Neighbourhood};
use potluck_protocol::id::BaseId;
use potluck_protocol::signed::Authentic;

use super::super::announcements::{Reason, Verdict};
use super::super::error::NetError;
use super::super::forwarders::Origin;
use super::super::handle::{Event, Interest};
use super::super::{gossip, limits};
use super::Actor;
use crate::addresses::AddressGroup;

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
            self.state.emit(Event::Subscribed { peer, base, near: self.near(&peer) });
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

    /// See [`crate::net::Handle::bases_of_others`].
    pub(super) fn bases_of_others(&self) -> Vec<Interest> {
        let network = &self.state.config.network;
        let mut interests = Vec::new();
        for (peer, topics) in self.swarm.behaviour().gossipsub.all_peers() {
            let (peer, near) = (*peer, self.near(peer));
            let foreign = topics.into_iter().filter(|topic| !self.topics.contains_key(topic));
            let bases = foreign.filter_map(|topic| base_of_topic(network, topic.as_str()));
            interests.extend(bases.take(limits::TOPICS).map(|base| Interest { peer, near, base }));
        }
        interests
    }

    /// Where a connected peer is.
    fn near(&self, peer: &PeerId) -> Neighbourhood {
        let group = self.state.peers.remote(peer).map(AddressGroup::from).unwrap_or_default();
        Neighbourhood(group.number())
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
                    self.state.emit(Event::Subscribed { peer: peer_id, base, near: self.near(&peer_id) });
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => tracing::debug!(%peer_id, "a peer is slow to take gossip"),
            gossipsub::Event::GossipsubNotSupported { .. } | gossipsub::Event::Unsubscribed { .. } => {}
        }
    }

    fn judge(&mut self, from: &PeerId, message: &gossipsub::Message) -> MessageAcceptance {
        let Some(&base) = self.topics.get(&message.topic) else { return MessageAcceptance::Ignore };
        let now_ms = self.state.now_ms();
        let forwarder = Neighbour { peer: *from, near: self.near(from) };
        let verdict = self.state.announcements.judge(forwarder, base, &message.data, now_ms);
        let origin = if message.source == Some(*from) { Origin::Own } else { Origin::Relayed };
        self.count_verdict(*from, origin, &verdict);
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
                match reason {
                    Reason::TooMany if self.state.announcements.tell_missed(now_ms) => {
                        self.state.emit(Event::Missed(base));
                    }
                    Reason::NoRoom => self.state.emit(Event::Crowded { peer: *from, base }),
                    _ => {}
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
