//! How it stands with each address that a person named to begin with: said once when it fails, and once when it works.

use std::error::Error;

use libp2p::core::transport::TransportError;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::private;

/// What came of the last dial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BootstrapHealth)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// It has not been dialled to the end yet.
    Untried,
    /// Whoever is there answers.
    Works,
    /// The last attempt failed.
    Fails {
        /// Why, for people.
        reason: String,
    },
    /// It is this node's own address.
    Own,
}

/// The addresses, in the order in which they were given. Outlives a panic of the swarm, so that nothing is said twice.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap(Vec<(Multiaddr, Health)>);

impl Bootstrap {
    /// None of them has been tried yet.
    pub fn new(addresses: &[Multiaddr]) -> Self {
        Self(addresses.iter().map(|address| (address.clone(), Health::Untried)).collect())
    }

    /// Every address with what is known of it.
    pub fn all(&self) -> &[(Multiaddr, Health)] {
        &self.0
    }

    /// Notes how it stands; a line in the log if that is news to a person.
    pub fn note(&mut self, address: &Multiaddr, health: Health) {
        let Some((_, known)) = self.0.iter_mut().find(|(one, _)| one == address) else { return };
        match (&*known, &health) {
            (Health::Untried | Health::Works | Health::Own, Health::Fails { reason }) => {
                tracing::warn!("bootstrap peer {address} cannot be reached: {reason}; it is tried again and again");
            }
            (Health::Fails { .. }, Health::Works) => tracing::warn!("bootstrap peer {address} is reached now"),
            _ => {}
        }
        *known = health;
    }
}

/// What a failed dial says of an address. `own`: this node's name.
pub fn health_of(error: &DialError, own: PeerId, keyed: bool) -> Option<Health> {
    let reason = match error {
        // It is being dialled, or connected, for another reason.
        DialError::DialPeerConditionFalse(_) | DialError::Aborted => return None,
        // Our own addresses are left out of what is dialled.
        DialError::NoAddresses | DialError::LocalPeerId { .. } => return Some(Health::Own),
        DialError::WrongPeerId { obtained, .. } if *obtained == own => {
            "this node itself answers there, not the peer that the address names".to_owned()
        }
        DialError::WrongPeerId { obtained, .. } => {
            format!("peer {obtained} answers there, not the one that the address names")
        }
        DialError::Transport(errors) if errors.iter().all(|(_, error)| !private::is_handshake(error)) => {
            let reasons: Vec<String> = errors.iter().map(|(_, error)| cause(error)).collect();
            reasons.join("; ")
        }
        other => private::explain(other, keyed),
    };
    Some(Health::Fails { reason })
}

/// The innermost error: what the system said. Those around it repeat the address.
fn cause(error: &TransportError<std::io::Error>) -> String {
    let TransportError::Other(outer) = error else { return "this build cannot dial it".to_owned() };
    let mut inner: &(dyn Error + 'static) = outer;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_stands_is_the_last_that_was_noted() {
        let address: Multiaddr = "/ip4/192.0.2.7/tcp/1".parse().expect("an address");
        let mut bootstrap = Bootstrap::new(std::slice::from_ref(&address));
        assert_eq!(bootstrap.all(), [(address.clone(), Health::Untried)]);
        for health in [Health::Fails { reason: "refused".to_owned() }, Health::Works, Health::Own] {
            bootstrap.note(&address, health.clone());
            assert_eq!(bootstrap.all(), [(address.clone(), health)]);
        }
        bootstrap.note(&"/ip4/192.0.2.7/tcp/2".parse().expect("an address"), Health::Works);
        assert_eq!(bootstrap.all().len(), 1, "what nobody named is not kept");
    }

    #[test]
    fn who_answers_instead_is_named() {
        let (own, other, address) = (PeerId::random(), PeerId::random(), "/ip4/192.0.2.7/tcp/1".parse().expect("one"));
        let wrong = DialError::WrongPeerId { obtained: other, address };
        assert!(
            matches!(health_of(&wrong, own, false), Some(Health::Fails { reason }) if reason.contains(&other.to_string()))
        );
        assert_eq!(health_of(&DialError::NoAddresses, own, false), Some(Health::Own));
        assert_eq!(health_of(&DialError::Aborted, own, false), None);
    }
}
