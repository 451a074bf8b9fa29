//! Whole nodes: each keeps a catalogue, and pulls what it wants when its catalogue hears of it.
//!
//! [`Plan`] makes worlds of nodes that are slow, lie, vanish and fall into parts; [`attacked`] makes worlds of honest
//! nodes and of strangers who attack them.

pub mod attacked;
mod outcome;
mod plan;

pub use outcome::Outcome;
pub use plan::Plan;

use std::collections::BTreeMap;
use std::rc::Rc;

use self::attacked::Stranger;
use super::catalogue::Setting;
use super::{Actor, Both, Either, Input, Out, catalogue, swarm};
use potluck_node::net::Misdeed;
use potluck_protocol::id::ManifestId;
use potluck_protocol::signed::PublicKey;

/// What exists in a world to be pulled: its number, and whose announcement tells of it if not everybody's does.
pub type Manifests = BTreeMap<ManifestId, (u16, Option<PublicKey>)>;

pub type Message = Either<swarm::Message, catalogue::Message>;

/// Both machines of one node.
#[derive(Debug)]
pub struct Node {
    parts: Both<swarm::Node, catalogue::Node>,
    setting: Rc<Setting>,
    manifests: Rc<Manifests>,
    /// Manifests that were pulled, and are known to be here.
    here: Vec<u32>,
    /// What it does beside that, if it is no honest node.
    stranger: Option<Stranger>,
}

impl Node {
    pub fn new(
        swarm: swarm::Node,
        catalogue: catalogue::Node,
        setting: Rc<Setting>,
        manifests: Rc<Manifests>,
        stranger: Option<Stranger>,
    ) -> Self {
        Self { parts: Both(swarm, catalogue), setting, manifests, here: Vec::new(), stranger }
    }

    pub fn swarm(&self) -> &swarm::Node {
        &self.parts.0
    }

    /// Whether it is a stranger that has done nothing.
    pub fn is_idle_stranger(&self) -> bool {
        self.stranger.as_ref().is_some_and(|stranger| !stranger.has_acted())
    }

    pub fn catalogue(&self) -> &catalogue::Node {
        &self.parts.1
    }

    /// Whether it looks at what came. It answers one peer so many small questions and no more.
    fn heeds(&mut self, input: &Input<Message>, now_ms: u64) -> bool {
        match input {
            Input::Message { from, message: Either::First(swarm::Message::Have { .. }) } => {
                self.parts.1.may_ask(*from, now_ms)
            }
            _ => true,
        }
    }

    /// What one part has found out, the other is told.
    fn exchange(&mut self, now_ms: u64, out: &mut Out<Message>) {
        let Self { parts: Both(swarm, catalogue), setting, manifests, here, .. } = self;
        for node in swarm.take_wrong() {
            catalogue.report(node, Misdeed::WrongBytes, now_ms, out);
        }
        for (id, by) in catalogue.take_news() {
            if let Some((number, publisher)) = manifests.get(&id)
                && publisher.is_none_or(|publisher| publisher == by)
            {
                let announcers = catalogue.announcers(&id);
                swarm.learn_from((*number).into(), &setting.nodes_of(&announcers), now_ms);
            }
        }
        let pulled = swarm.pulls().iter().filter(|pull| pull.finished_ms.is_some()).map(|pull| pull.manifest);
        if pulled.clone().count() == here.len() {
            return;
        }
        let new: Vec<u32> = pulled.filter(|manifest| !here.contains(manifest)).collect();
        for (id, (number, publisher)) in manifests.iter() {
            if let Some(publisher) = publisher
                && new.contains(&u32::from(*number))
            {
                catalogue.trust(*id, *publisher);
            }
        }
        here.extend(new);
    }
}

impl Actor for Node {
    type Message = Message;

    fn handle(&mut self, input: Input<Message>, now_ms: u64, out: &mut Out<Message>) {
        if let Some(stranger) = &mut self.stranger {
            stranger.handle(&input, now_ms, out);
            self.parts.1.give(&stranger.take_said());
        }
        if !self.heeds(&input, now_ms) {
            return;
        }
        self.parts.handle(input, now_ms, out);
        self.exchange(now_ms, out);
        if self.stranger.is_none()
            && let Err(rule) = self.parts.1.check_costs(now_ms)
        {
            out.fail(rule);
        }
    }

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        let stranger = self.stranger.as_ref().and_then(Stranger::wake_at_ms);
        self.parts.wake_at_ms(now_ms).into_iter().chain(stranger).min()
    }

    fn is_done(&self) -> bool {
        self.parts.is_done()
    }

    fn admits(&self, node: usize, now_ms: u64) -> bool {
        self.parts.admits(node, now_ms)
    }
}
