//! Nodes, lines, links, and the queue of what happens when.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::actor::{Actor, Fault, Input, Line, Out, Send};

struct Node<A> {
    actor: A,
    line: Line,
    /// When each way is free again, in microseconds.
    up_free: u64,
    down_free: u64,
    wake: Option<u64>,
    alive: bool,
    done: bool,
}

#[derive(Default)]
struct Link {
    delay_us: u64,
    up: bool,
    /// Counts the cuts: what was sent before the last one is lost.
    epoch: u32,
}

enum What<M> {
    /// It has come to the receiver's line.
    Edge {
        from: usize,
        to: usize,
        epoch: u32,
        message: M,
        bytes: u64,
    },
    Deliver {
        from: usize,
        to: usize,
        epoch: u32,
        message: M,
    },
    Sent {
        node: usize,
        token: u64,
    },
    Wake {
        node: usize,
    },
    Join {
        a: usize,
        b: usize,
    },
    Cut {
        a: usize,
        b: usize,
    },
    Kill {
        node: usize,
    },
}

/// A connection that a node dials is made in so long, and has that delay each way.
const DIAL_US: u64 = 20_000;

/// Everything that happened, as one BLAKE3 hash.
#[derive(Default)]
struct Trace(blake3::Hasher);

impl Hasher for Trace {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.finalize().as_bytes().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
    }
}

/// All of it.
pub struct World<A: Actor> {
    nodes: Vec<Node<A>>,
    links: BTreeMap<(usize, usize), Link>,
    /// By time in microseconds, then by order of scheduling.
    queue: BTreeMap<(u64, u64), What<A::Message>>,
    sequence: u64,
    now_us: u64,
    not_done: usize,
    trace: Trace,
    events: u64,
    broken: Option<Fault>,
}

impl<A: Actor> Default for World<A> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            links: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            now_us: 0,
            not_done: 0,
            trace: Trace::default(),
            events: 0,
            broken: None,
        }
    }
}

impl<A: Actor> World<A> {
    /// Adds a node; they are numbered from 0.
    pub fn add(&mut self, actor: A, line: Line) -> usize {
        self.not_done += usize::from(!actor.is_done());
        let done = actor.is_done();
        self.nodes.push(Node { actor, line, up_free: 0, down_free: 0, wake: None, alive: true, done });
        let node = self.nodes.len() - 1;
        self.schedule_wake(node);
        node
    }

    /// Connects two nodes from a time on, each way with that delay.
    pub fn link(&mut self, a: usize, b: usize, delay_ms: u64, from_ms: u64) {
        let known = self.links.contains_key(&pair(a, b));
        if a != b && !known {
            self.links.insert(pair(a, b), Link { delay_us: delay_ms * 1000, ..Link::default() });
            self.schedule(from_ms * 1000, What::Join { a, b });
        }
    }

    /// Cuts a connection for a while.
    pub fn cut(&mut self, a: usize, b: usize, from_ms: u64, to_ms: u64) {
        self.schedule(from_ms * 1000, What::Cut { a, b });
        self.schedule(to_ms.max(from_ms) * 1000, What::Join { a, b });
    }

    /// The node vanishes for good.
    pub fn kill(&mut self, node: usize, at_ms: u64) {
        self.schedule(at_ms * 1000, What::Kill { node });
    }

    pub fn actors(&self) -> impl Iterator<Item = &A> {
        self.nodes.iter().map(|node| &node.actor)
    }

    pub fn is_alive(&self, node: usize) -> bool {
        self.nodes[node].alive
    }

    pub fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    /// Everything that happened, as one hash.
    pub fn trace(&self) -> blake3::Hash {
        self.trace.0.finalize()
    }

    /// How much happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Until every living node is done.
    pub fn run(&mut self, limit_ms: u64) -> Result<(), Fault> {
        while self.not_done > 0 {
            if !self.step(limit_ms)? {
                return Err(self.not_done());
            }
        }
        Ok(())
    }

    /// Until a time, whoever is done.
    pub fn run_until(&mut self, until_ms: u64) -> Result<(), Fault> {
        while self.step(until_ms)? {}
        self.now_us = self.now_us.max(until_ms * 1000);
        Ok(())
    }

    /// The next thing that happens; `false` if nothing does until then.
    fn step(&mut self, until_ms: u64) -> Result<bool, Fault> {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until_ms * 1000) else {
            return Ok(false);
        };
        let ((at, _), what) = entry.remove_entry();
        self.now_us = at;
        self.events += 1;
        at.hash(&mut self.trace);
        self.happen(what);
        self.broken.take().map_or(Ok(true), Err)
    }

    fn not_done(&self) -> Fault {
        let open = self.nodes.iter().enumerate().filter(|(_, node)| node.alive && !node.done);
        Fault::NotDone { at_ms: self.now_ms(), nodes: open.map(|(n, _)| n).collect() }
    }

    fn happen(&mut self, what: What<A::Message>) {
        match what {
            What::Edge { from, to, epoch, message, bytes } if self.is_up(from, to, epoch) => {
                let node = &mut self.nodes[to];
                node.down_free = node.down_free.max(self.now_us) + bytes * 1_000_000 / node.line.down.max(1);
                let at = node.down_free;
                self.schedule(at, What::Deliver { from, to, epoch, message });
            }
            What::Deliver { from, to, epoch, message } if self.is_up(from, to, epoch) => {
                (1u8, from, to, &message).hash(&mut self.trace);
                self.input(to, Input::Message { from, message });
            }
            What::Edge { .. } | What::Deliver { .. } => {}
            What::Sent { node, token } => self.input(node, Input::Sent { token }),
            What::Wake { node } => {
                if self.nodes[node].wake == Some(self.now_us) {
                    self.nodes[node].wake = None;
                    self.input(node, Input::Wake);
                }
            }
            What::Join { a, b } => self.meet(a, b),
            What::Cut { a, b } => self.lose(a, b),
            What::Kill { node } => self.die(node),
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        let both_live = self.nodes[a].alive && self.nodes[b].alive;
        if let Some(link) = self.links.get_mut(&pair(a, b)).filter(|link| both_live && !link.up) {
            link.up = true;
            (2u8, a, b).hash(&mut self.trace);
            self.input(a, Input::Linked { node: b });
            self.input(b, Input::Linked { node: a });
        }
    }

    fn meet(&mut self, a: usize, b: usize) {
        let now_ms = self.now_ms();
        let admit = |one: usize, other: usize| self.nodes[one].actor.admits(other, now_ms);
        if a != b && admit(a, b) && admit(b, a) {
            self.links.entry(pair(a, b)).or_insert_with(|| Link { delay_us: DIAL_US, ..Link::default() });
            self.join(a, b);
        }
    }

    fn lose(&mut self, a: usize, b: usize) {
        if let Some(link) = self.links.get_mut(&pair(a, b)).filter(|link| link.up) {
            link.up = false;
            link.epoch += 1;
            (3u8, a, b).hash(&mut self.trace);
            self.input(a, Input::Lost { node: b });
            self.input(b, Input::Lost { node: a });
        }
    }

    fn die(&mut self, node: usize) {
        let ends: Vec<(usize, usize)> = self.links.keys().copied().filter(|(a, b)| *a == node || *b == node).collect();
        self.nodes[node].alive = false;
        if !std::mem::replace(&mut self.nodes[node].done, true) {
            self.not_done -= 1;
        }
        ends.into_iter().for_each(|(a, b)| self.lose(a, b));
    }

    fn is_up(&self, from: usize, to: usize, epoch: u32) -> bool {
        self.links.get(&pair(from, to)).is_some_and(|link| link.up && link.epoch == epoch)
    }

    fn input(&mut self, index: usize, input: Input<A::Message>) {
        let now_ms = self.now_ms();
        let node = &mut self.nodes[index];
        if !node.alive {
            return;
        }
        let mut out = Out::new();
        node.actor.handle(input, now_ms, &mut out);
        let done = node.actor.is_done();
        if done != std::mem::replace(&mut node.done, done) {
            if done { self.not_done -= 1 } else { self.not_done += 1 }
        }
        if let Some(rule) = out.broken {
            self.broken.get_or_insert(Fault::Rule { at_ms: now_ms, node: index, rule });
        }
        out.sends.into_iter().for_each(|send| self.send(index, send));
        for (other, dials) in out.dials {
            if dials {
                self.schedule(self.now_us + DIAL_US, What::Join { a: index, b: other });
            } else {
                self.schedule(self.now_us, What::Cut { a: index, b: other });
            }
        }
        self.schedule_wake(index);
    }

    fn send(&mut self, from: usize, send: Send<A::Message>) {
        let Send { to, message, bytes, token } = send;
        let node = &mut self.nodes[from];
        node.up_free = node.up_free.max(self.now_us) + bytes * 1_000_000 / node.line.up.max(1);
        let left = node.up_free;
        if let Some(token) = token {
            self.schedule(left, What::Sent { node: from, token });
        }
        if let Some(link) = self.links.get(&pair(from, to)).filter(|link| link.up) {
            let (at, epoch) = (left + link.delay_us, link.epoch);
            self.schedule(at, What::Edge { from, to, epoch, message, bytes });
        }
    }

    fn schedule_wake(&mut self, index: usize) {
        let now_ms = self.now_ms();
        let node = &mut self.nodes[index];
        let Some(at) = node.actor.wake_at_ms(now_ms) else { return };
        // Never the same millisecond again: time must pass.
        let at = at.max(now_ms + 1) * 1000;
        if node.wake.is_none_or(|wake| at < wake) {
            node.wake = Some(at);
            self.schedule(at, What::Wake { node: index });
        }
    }

    fn schedule(&mut self, at_us: u64, what: What<A::Message>) {
        self.sequence += 1;
        self.queue.insert((at_us, self.sequence), what);
    }
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}
