//! Nodes that pull several manifests from each other and serve while they pull.

use std::collections::BTreeSet;

use potluck_tests::sim::swarm::{LIMIT_MS, Outcome, Plan};
use potluck_tests::sim::{Actor, Both, Input, Out};

fn twice(seed: u64) -> Outcome {
    let plan = Plan::swarm(seed, 25);
    let outcome = plan.run().unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    assert_eq!(plan.run().as_ref(), Ok(&outcome), "seed {seed}");
    outcome
}

#[test]
fn every_pull_ends_and_a_seed_is_a_run() {
    let outcomes: Vec<Outcome> = (0..20).map(twice).collect();
    assert!(outcomes.iter().map(|outcome| outcome.pulls).sum::<u64>() > 400);
    assert!(outcomes.windows(2).all(|pair| pair[0].trace != pair[1].trace));
}

/// Another machine: is done when it has heard from every node that it was ever linked to.
#[derive(Default)]
struct Greeter {
    met: BTreeSet<usize>,
    heard: BTreeSet<usize>,
}

impl Actor for Greeter {
    type Message = &'static str;

    fn handle(&mut self, input: Input<&'static str>, _: u64, out: &mut Out<&'static str>) {
        match input {
            Input::Linked { node } => {
                self.met.insert(node);
                out.send_and_tell(node, "hello", 5, node as u64);
            }
            Input::Message { from, message: "hello" } => drop(self.heard.insert(from)),
            // Told of its own messages only.
            Input::Sent { token } if !self.met.contains(&(token as usize)) => out.fail("somebody else's message"),
            _ => {}
        }
    }

    fn wake_at_ms(&self, _: u64) -> Option<u64> {
        None
    }

    fn is_done(&self) -> bool {
        self.met.len() == self.heard.len()
    }
}

#[test]
fn two_machines_live_in_one_node() {
    let plan = Plan::swarm(7, 25);
    let mut world = plan.world_with(|_, mut node| {
        (0..plan.manifests() as u32).for_each(|manifest| node.learn_of(manifest, 0));
        Both(node, Greeter::default())
    });
    world.run(LIMIT_MS).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(world.actors().all(|both| both.1.met.len() >= both.1.heard.len()));
    let pulls: usize = world.actors().map(|both| both.0.pulls().len()).sum();
    assert!(pulls > 10 && world.actors().filter(|both| both.1.heard.len() > 2).count() > 15);
}
