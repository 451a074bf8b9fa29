//! A node: serves what it has, pulls what it wants.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::provider::{Conduct, Provider};
use super::puller::Puller;
use super::{Library, Message, SMALL};
use crate::sim::{Actor, Input, Out};

/// One node of the swarm.
#[derive(Clone, Debug)]
pub struct Node {
    library: Rc<Library>,
    /// Shards that are here.
    have: Vec<bool>,
    provider: Provider,
    pulls: Vec<Puller>,
    neighbours: BTreeSet<usize>,
}

impl Node {
    /// Has nothing and wants nothing.
    pub fn new(library: Rc<Library>, conduct: Conduct, seed: u64) -> Self {
        let have = vec![false; library.shards.len()];
        let provider = Provider::new(conduct, seed);
        Self { library, have, provider, pulls: Vec::new(), neighbours: BTreeSet::new() }
    }

    /// Has these shards from the beginning.
    pub fn give(&mut self, shards: impl IntoIterator<Item = u32>) {
        shards.into_iter().for_each(|shard| self.have[shard as usize] = true);
    }

    /// Pulls a manifest when it is [`Node::learn_of`], and not before that time.
    pub fn pull(&mut self, manifest: u32, not_before_ms: u64, seed: u64) {
        self.pulls.push(Puller::new(manifest, not_before_ms, seed));
    }

    /// A manifest exists.
    pub fn learn_of(&mut self, manifest: u32, now_ms: u64) {
        self.pulls.iter_mut().filter(|pull| pull.manifest == manifest).for_each(|pull| pull.learn_of(now_ms));
    }

    pub fn pulls(&self) -> &[Puller] {
        &self.pulls
    }

    /// Bytes of shards that it has sent.
    pub fn served_bytes(&self) -> u64 {
        self.provider.served_bytes
    }

    /// Everything of a manifest is here.
    pub fn has_all(&self, manifest: u32) -> bool {
        self.library.manifests[manifest as usize].iter().all(|shard| self.have[*shard as usize])
    }

    fn message(&mut self, from: usize, message: Message, now_ms: u64, out: &mut Out<Message>) {
        match message {
            Message::Have { manifest } => {
                let all = self.provider.conduct.claims_all();
                let rows = &self.library.manifests[manifest as usize];
                let flags: Vec<bool> = rows.iter().map(|shard| all || self.have[*shard as usize]).collect();
                let bytes = SMALL + flags.len() as u64;
                out.send(from, Message::Holds { manifest, flags }, bytes);
            }
            Message::Holds { manifest, flags } => {
                if let Some(pull) = running(&mut self.pulls, manifest) {
                    pull.note_holdings(&self.library, from, &flags, now_ms, out);
                }
            }
            Message::Ask { stream, request, shard } => {
                let here = self.provider.conduct.claims_all() || self.have[shard as usize];
                let len = if here { self.library.shards[shard as usize].len } else { 0 };
                self.provider.ask(from, stream, request, len, out);
            }
            Message::Cancel { stream, request } => self.provider.cancel(from, stream, request),
            Message::Close { stream } => self.provider.close(from, stream),
            Message::Piece { stream, .. } | Message::NotFound { stream, .. } | Message::Busy { stream, .. } => {
                if let Some(pull) = running(&mut self.pulls, stream.manifest)
                    && let Some(shard) = pull.take_answer(&self.library, from, &message, now_ms, out)
                {
                    self.have[shard as usize] = true;
                }
            }
        }
    }

    fn wake(&mut self, now_ms: u64, out: &mut Out<Message>) {
        self.provider.drip(now_ms, out);
        for pull in &mut self.pulls {
            if pull.is_running() {
                pull.tick(&self.library, &self.neighbours, now_ms, out);
            } else if pull.is_due(now_ms) {
                pull.start(&self.library, &self.have, now_ms, out);
            }
        }
    }
}

fn running(pulls: &mut [Puller], manifest: u32) -> Option<&mut Puller> {
    pulls.iter_mut().find(|pull| pull.manifest == manifest && pull.is_running())
}

impl Actor for Node {
    type Message = Message;

    fn handle(&mut self, input: Input<Message>, now_ms: u64, out: &mut Out<Message>) {
        match input {
            Input::Linked { node } => {
                self.neighbours.insert(node);
                self.pulls.iter().for_each(|pull| pull.note_linked(node, out));
            }
            Input::Lost { node } => {
                self.neighbours.remove(&node);
                self.provider.note_lost(node);
                for pull in self.pulls.iter_mut().filter(|pull| pull.is_running()) {
                    pull.note_lost(&self.library, node, now_ms, out);
                }
            }
            Input::Message { from, message } => self.message(from, message, now_ms, out),
            Input::Sent { .. } => self.provider.note_sent(out),
            Input::Wake => self.wake(now_ms, out),
        }
    }

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        let pulls = self.pulls.iter().filter_map(|pull| pull.wake_at_ms(now_ms));
        pulls.chain(self.provider.wake_at_ms()).min()
    }

    fn is_done(&self) -> bool {
        self.pulls.iter().all(|pull| pull.finished_ms.is_some())
    }
}
