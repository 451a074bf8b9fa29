//! Whole nodes: each keeps a catalogue, and pulls what it wants when its catalogue hears of it.

mod outcome;
mod plan;

pub use outcome::Outcome;
pub use plan::Plan;

use super::catalogue::{self, Offer};
use super::{Actor, Both, Input, Out, swarm};

/// Both machines of one node.
#[derive(Debug)]
pub struct Node {
    parts: Both<swarm::Node, catalogue::Node>,
    /// Manifests that exist in this world; those of the swarm come first, all others are talk.
    manifests: u16,
}

impl Node {
    pub fn new(swarm: swarm::Node, catalogue: catalogue::Node, manifests: u16) -> Self {
        Self { parts: Both(swarm, catalogue), manifests }
    }

    pub fn swarm(&self) -> &swarm::Node {
        &self.parts.0
    }

    pub fn catalogue(&self) -> &catalogue::Node {
        &self.parts.1
    }
}

impl Actor for Node {
    type Message = <Both<swarm::Node, catalogue::Node> as Actor>::Message;

    fn handle(&mut self, input: Input<Self::Message>, now_ms: u64, out: &mut Out<Self::Message>) {
        self.parts.handle(input, now_ms, out);
        for news in self.parts.1.take_news() {
            if let Some(manifest) = (0..self.manifests).find(|number| Offer::manifest(*number) == news) {
                self.parts.0.learn_of(manifest.into(), now_ms);
            }
        }
    }

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        self.parts.wake_at_ms(now_ms)
    }

    fn is_done(&self) -> bool {
        self.parts.is_done()
    }
}
