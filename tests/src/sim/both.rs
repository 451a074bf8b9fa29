//! Two machines in one node, that know nothing of each other.

use super::actor::{Actor, Input, Out, Send};

/// A node of two parts. The run ends when both are done everywhere.
#[derive(Clone, Debug)]
pub struct Both<A, B>(pub A, pub B);

/// A message of one part or the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    First(A),
    Second(B),
}

impl<A: Actor, B: Actor> Actor for Both<A, B> {
    type Message = Either<A::Message, B::Message>;

    fn handle(&mut self, input: Input<Self::Message>, now_ms: u64, out: &mut Out<Self::Message>) {
        let (mut first, mut second) = (Out::new(), Out::new());
        match input {
            Input::Message { from, message: Either::First(message) } => {
                self.0.handle(Input::Message { from, message }, now_ms, &mut first);
            }
            Input::Message { from, message: Either::Second(message) } => {
                self.1.handle(Input::Message { from, message }, now_ms, &mut second);
            }
            // The lowest bit of a token says whose it is.
            Input::Sent { token } if token & 1 == 0 => {
                self.0.handle(Input::Sent { token: token >> 1 }, now_ms, &mut first);
            }
            Input::Sent { token } => self.1.handle(Input::Sent { token: token >> 1 }, now_ms, &mut second),
            Input::Linked { node } => {
                self.0.handle(Input::Linked { node }, now_ms, &mut first);
                self.1.handle(Input::Linked { node }, now_ms, &mut second);
            }
            Input::Lost { node } => {
                self.0.handle(Input::Lost { node }, now_ms, &mut first);
                self.1.handle(Input::Lost { node }, now_ms, &mut second);
            }
            Input::Wake => {
                self.0.handle(Input::Wake, now_ms, &mut first);
                self.1.handle(Input::Wake, now_ms, &mut second);
            }
        }
        merge(first, out, Either::First, 0);
        merge(second, out, Either::Second, 1);
    }

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        self.0.wake_at_ms(now_ms).into_iter().chain(self.1.wake_at_ms(now_ms)).min()
    }

    fn is_done(&self) -> bool {
        self.0.is_done() && self.1.is_done()
    }

    fn admits(&self, node: usize, now_ms: u64) -> bool {
        self.0.admits(node, now_ms) && self.1.admits(node, now_ms)
    }
}

fn merge<M, E>(part: Out<M>, out: &mut Out<E>, wrap: impl Fn(M) -> E, bit: u64) {
    out.sends.extend(part.sends.into_iter().map(|Send { to, message, bytes, token }| Send {
        to,
        message: wrap(message),
        bytes,
        token: token.map(|token| token << 1 | bit),
    }));
    out.dials.extend(part.dials);
    if let Some(rule) = part.broken {
        out.fail(rule);
    }
}
