//! gossipsub's settings. Nothing is passed on before the application has judged it.

use std::time::Duration;

use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, Message, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode,
};
use libp2p::identity::Keypair;
use potluck_protocol::announce;
use potluck_protocol::id::BaseId;
use potluck_protocol::text::Name;

/// One message carries one announcement, of at most [`CATALOGUE_RECORD_MAX`](potluck_protocol::limits::CATALOGUE_RECORD_MAX)
/// bytes, and gossipsub's own signature; control messages need more.
const TRANSMIT_MAX: usize = 16 << 10;

/// The behaviour with its peer scoring, following nothing yet.
pub fn behaviour(network: &Name, identity: &Keypair) -> Result<gossipsub::Behaviour, String> {
    let config = ConfigBuilder::default()
        .protocol_id_prefix(format!("/potluck/{network}/meshsub"))
        .max_transmit_size(TRANSMIT_MAX)
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        // Own announcements come back: to a node that was restored from a copy, or killed after it had sent them. Whoever
        // passes them on has done nothing wrong, and they are how such a node learns what it has said already.
        .allow_self_origin(true)
        // What a node says itself goes to everybody who follows the topic. The mesh has twelve places, which silent peers
        // can take all of: then nobody would hear it before catalogues are compared.
        .flood_publish(true)
        .mesh_n_low(4)
        .mesh_n(6)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .history_length(12)
        .history_gossip(3)
        // Longer than anything travels, and no longer: each message of a flood stays so long. What is said again later is
        // known to the catalogue.
        .duplicate_cache_time(Duration::from_secs(120))
        .connection_handler_queue_len(512)
        .message_id_fn(message_id)
        .build()
        .map_err(|error| error.to_string())?;
    let mut gossipsub = gossipsub::Behaviour::new(MessageAuthenticity::Signed(identity.clone()), config)?;
    gossipsub.with_peer_score(score(), PeerScoreThresholds::default())?;
    Ok(gossipsub)
}

/// The topic of a base.
pub fn topic(network: &Name, base: &BaseId) -> IdentTopic {
    IdentTopic::new(announce::topic(network, base))
}

/// By content, so that one announcement travels once, whoever sends it again.
fn message_id(message: &Message) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(message.topic.as_str().as_bytes());
    hasher.update(&message.data);
    MessageId::from(hasher.finalize().as_bytes()[..20].to_vec())
}

fn score() -> PeerScoreParams {
    PeerScoreParams {
        // A score saved up must not pay for invalid messages: see `topic_score`.
        topic_score_cap: 20.0,
        // P6: a campus behind one address is not an attack, and 25 of it that we dial would all fall below the graylist.
        // How many of one neighbourhood come to us is the guard's to bound.
        ip_colocation_factor_weight: 0.0,
        // P7: an honest node that is overloaded, or was suspended, breaks promises: eleven in a second at most, one for each
        // message that says what it has. With the default's weight ten would take it below the graylist, where only lies lead.
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_weight: -1.0,
        // A slow line is nobody's fault, and the queue to a slow peer is bounded. The default silences those who need
        // gossip most.
        slow_peer_weight: 0.0,
        // Scores of those who left: an attacker has as many names as they like.
        retain_score: Duration::from_secs(600),
        ..Default::default()
    }
}

/// Below this a peer lies, and what it says is not listened to. Only provable faults lead there.
pub fn graylist() -> f64 {
    PeerScoreThresholds::default().graylist_threshold
}

/// The scoring of one topic. Three defaults are wrong for topics on which little is said: P3 and P3b punish peers for
/// the silence of the topic, and P1 grows to +1,800 within four seconds, which would pay for any number of lies.
pub fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_cap: 10.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // P4: one provable fault ends gossip with the peer for a while, two silence it.
        invalid_message_deliveries_weight: -45.0,
        invalid_message_deliveries_decay: 0.95,
        ..Default::default()
    }
}
