//! What a node is, and what happens to it.

use std::error::Error;
use std::fmt;
use std::hash::Hash;

/// A node's behaviour: one or several machines with what drives them.
pub trait Actor {
    type Message: Hash;

    /// Takes what happened at a time and says what to send.
    fn handle(&mut self, input: Input<Self::Message>, now_ms: u64, out: &mut Out<Self::Message>);

    /// When [`Input::Wake`] is wanted if nothing else happens before.
    fn wake_at_ms(&self, now_ms: u64) -> Option<u64>;

    /// Has nothing more to reach. The run ends when all are done.
    fn is_done(&self) -> bool;

    /// Whether it has a connection with that node if one of them dials.
    fn admits(&self, _node: usize, _now_ms: u64) -> bool {
        true
    }
}

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<M> {
    /// There is a connection to `node` now.
    Linked {
        node: usize,
    },
    /// There is none any more; what was on its way is lost.
    Lost {
        node: usize,
    },
    Message {
        from: usize,
        message: M,
    },
    /// The message that was sent with this token has left, and the line is free.
    Sent {
        token: u64,
    },
    Wake,
}

/// What a node does.
#[derive(Debug)]
pub struct Out<M> {
    pub(super) sends: Vec<Send<M>>,
    /// Nodes that are dialled, and nodes that are hung up on (`false`).
    pub(super) dials: Vec<(usize, bool)>,
    pub(super) broken: Option<String>,
}

#[derive(Debug)]
pub(super) struct Send<M> {
    pub to: usize,
    pub message: M,
    pub bytes: u64,
    pub token: Option<u64>,
}

impl<M> Out<M> {
    pub(super) fn new() -> Self {
        Self { sends: Vec::new(), dials: Vec::new(), broken: None }
    }

    /// Sends a message that counts so many bytes. Without a link it is lost.
    pub fn send(&mut self, to: usize, message: M, bytes: u64) {
        self.sends.push(Send { to, message, bytes, token: None });
    }

    /// The same, and [`Input::Sent`] when it has left.
    pub fn send_and_tell(&mut self, to: usize, message: M, bytes: u64, token: u64) {
        self.sends.push(Send { to, message, bytes, token: Some(token) });
    }

    /// Dials a node: there is a connection soon if both admit each other.
    pub fn dial(&mut self, node: usize) {
        self.dials.push((node, true));
    }

    /// Ends the connection with a node.
    pub fn hang_up(&mut self, node: usize) {
        self.dials.push((node, false));
    }

    /// A rule does not hold: the run ends with it.
    pub fn fail(&mut self, rule: impl Into<String>) {
        self.broken.get_or_insert(rule.into());
    }
}

/// A node's line, in bytes a second.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub up: u64,
    pub down: u64,
}

/// Why a run did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A machine did what it must not do.
    Rule { at_ms: u64, node: usize, rule: String },
    /// Time was up before these nodes were done.
    NotDone { at_ms: u64, nodes: Vec<usize> },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { at_ms, node, rule } => write!(f, "at {at_ms} ms node {node} broke a rule: {rule}"),
            Self::NotDone { at_ms, nodes } => write!(f, "at {at_ms} ms these nodes were not done: {nodes:?}"),
        }
    }
}

impl Error for Fault {}
