//! A node: serves what it has, pulls what it wants.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::provider::{Conduct, Provider};
use super::puller::{Around, Puller};
use super::{Library, Message, SMALL};
use crate::sim::{Actor, Input, Out};
use potluck_protocol::ask::Memory;

/// One node of the swarm.
#[derive(Clone, Debug)]
pub struct Node {
    library: Rc<Library>,
    /// Shards that are here.
    have: Vec<bool>,
    provider: Provider,
    pulls: Vec<Puller>,
    neighbours: BTreeSet<usize>,
    /// Which peers led nowhere, of all pulls.
    memory: Memory,
    /// Nodes that sent wrong bytes since this was last taken, once for each time.
    wrong: Vec<usize>,
}

impl Node {
    /// Has nothing and wants nothing.
    pub fn new(library: Rc<Library>, conduct: Conduct, seed: u64) -> Self {
        let have = vec![false; library.shards.len()];
        let provider = Provider::new(conduct, seed);
        let (neighbours, memory) = (BTreeSet::new(), Memory::default());
        Self { library, have, provider, pulls: Vec::new(), neighbours, memory, wrong: Vec::new() }
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
        self.learn_from(manifest, &[], now_ms);
    }

    /// A manifest exists, and these nodes are said to have it.
    pub fn learn_from(&mut self, manifest: u32, likely: &[usize], now_ms: u64) {
        self.pulls.iter_mut().filter(|pull| pull.manifest == manifest).for_each(|pull| pull.learn_of(likely, now_ms));
    }

    /// Who sent wrong bytes since this was last asked.
    pub fn take_wrong(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.wrong)
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
            // It takes the question, and never answers.
            Message::Have { .. } if self.provider.conduct == Conduct::Mute => {}
            Message::Have { manifest } => {
                let all = self.provider.conduct.claims_all();
                let rows = &self.library.manifests[manifest as usize];
                let flags: Vec<bool> = rows.iter().map(|shard| all || self.have[*shard as usize]).collect();
                let bytes = SMALL + flags.len() as u64;
                out.send(from, Message::Holds { manifest, flags }, bytes);
            }
            Message::Holds { manifest, flags } => {
                let (pulls, mut around) = self.around(now_ms);
                if let Some(pull) = running(pulls, manifest) {
                    pull.note_holdings(&mut around, from, &flags, out);
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
                let (pulls, mut around) = self.around(now_ms);
                let Some(pull) = running(pulls, stream.manifest) else { return };
                let before = pull.is_wrong(from);
                let shard = pull.take_answer(&mut around, from, &message, out);
                if !before && pull.is_wrong(from) {
                    self.wrong.push(from);
                }
                if let Some(shard) = shard {
                    self.have[shard as usize] = true;
                }
            }
        }
    }

    fn wake(&mut self, now_ms: u64, out: &mut Out<Message>) {
        self.provider.drip(now_ms, out);
        let Self { library, have, pulls, neighbours, memory, .. } = self;
        let mut around = Around { library, neighbours, memory, now_ms };
        for pull in pulls {
            if pull.is_running() {
                pull.tick(&mut around, out);
            } else if pull.is_due(now_ms) {
                pull.start(&mut around, have, out);
            }
        }
    }

    fn around(&mut self, now_ms: u64) -> (&mut [Puller], Around<'_>) {
        let Self { library, pulls, neighbours, memory, .. } = self;
        (pulls, Around { library, neighbours, memory, now_ms })
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
                let (pulls, mut around) = self.around(now_ms);
                for pull in pulls.iter_mut().filter(|pull| pull.is_running()) {
                    pull.note_linked(&mut around, node, out);
                }
            }
            Input::Lost { node } => {
                self.neighbours.remove(&node);
                self.provider.note_lost(node);
                let (pulls, mut around) = self.around(now_ms);
                for pull in pulls.iter_mut().filter(|pull| pull.is_running()) {
                    pull.note_lost(&mut around, node, out);
                }
            }
            Input::Message { from, message } => self.message(from, message, now_ms, out),
            Input::Sent { .. } => self.provider.note_sent(out),
            Input::Wake => self.wake(now_ms, out),
        }
    }

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        let pulls = self.pulls.iter().filter_map(|pull| pull.wake_at_ms(&self.memory, now_ms));
        pulls.chain(self.provider.wake_at_ms()).min()
    }

    fn is_done(&self) -> bool {
        self.pulls.iter().all(|pull| pull.finished_ms.is_some())
    }
}
