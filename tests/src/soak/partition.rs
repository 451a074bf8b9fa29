//! Swarms that fall apart into two and into three, talk among themselves, and meet again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::Outcome;
use crate::swarm::Swarm;

const PAUSE: Duration = Duration::from_millis(250);
const CUT: Duration = Duration::from_secs(20);
/// How often connections between parts are looked for while they are cut.
const SWEEP: Duration = Duration::from_millis(500);
const AGREE: Duration = Duration::from_secs(30);

/// Two halves, then three parts.
pub fn run(seed: u64) -> Outcome<Value> {
    Ok(json!({ "two": fall_apart(seed, &[12, 12], CUT)?, "three": fall_apart(seed + 1, &[8, 8, 8], CUT)? }))
}

/// One swarm: whole, cut into groups for a while, whole again. The figures.
pub fn fall_apart(seed: u64, groups: &[usize], cut_for: Duration) -> Outcome<Value> {
    let mut swarm = Swarm::start(seed, groups, 3)?;
    join(&mut swarm, groups)?;
    for by in 0..swarm.members.len() {
        swarm.announce(by)?;
    }
    let before = swarm.agree(AGREE)?;
    let together = swarm.said.len();
    let mut cut = swarm.cut(groups)?;
    // Connections take a moment to close.
    while swarm.cut(groups)? > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let until = Instant::now() + cut_for;
    while Instant::now() < until {
        swarm.talk_until((Instant::now() + SWEEP).min(until), PAUSE)?;
        cut += swarm.cut(groups)?;
    }
    let apart = swarm.said.len() - together;
    let leaked = leaked(&swarm, groups, together);
    // A node that finds others by itself may connect to them for a moment, until the sweep.
    if apart == 0 || leaked * 10 > apart {
        return Err(format!("{leaked} of {apart} announcements crossed a cut").into());
    }
    join(&mut swarm, groups)?;
    let healed = swarm.agree(AGREE)?;
    let bans = swarm.bans()?;
    if bans > 0 {
        return Err(format!("{bans} honest nodes were banned").into());
    }
    Ok(json!({
        "groups": groups, "said_together": together, "equal_at_first_after_s": before.as_secs_f64(),
        "connections_cut": cut, "said_apart": apart, "crossed": leaked, "equal_again_after_s": healed.as_secs_f64(), "honest_banned": bans,
    }))
}

/// Two members of each group dial one each of the next group.
fn join(swarm: &mut Swarm, groups: &[usize]) -> Outcome<()> {
    let firsts: Vec<usize> = groups.iter().scan(0, |sum, size| Some(std::mem::replace(sum, *sum + size))).collect();
    for (n, (&first, &size)) in firsts.iter().zip(groups).enumerate() {
        let next = (n + 1) % groups.len();
        for _ in 0..2 {
            let (from, to) = (first + swarm.draw(size), firsts[next] + swarm.draw(groups[next]));
            let (there, here) = (swarm.members[to].plan.clone(), swarm.members[from].plan.clone());
            // A pair of ports that was connected a moment ago may rest on the side that closed.
            if swarm.members[from].dial(there.peer(), &there.address()?).is_err() {
                swarm.members[to].dial(here.peer(), &here.address()?)?;
            }
        }
    }
    Ok(())
}

/// How much of what was said during the cut is known in another group.
fn leaked(swarm: &Swarm, groups: &[usize], together: usize) -> usize {
    let group = |member: usize| {
        let mut sum = 0;
        groups.iter().position(|size| {
            sum += size;
            member < sum
        })
    };
    let known: Vec<_> = swarm.members.iter().map(|member| member.manifests()).collect();
    let crossed = |(manifest, by): (&potluck_protocol::id::ManifestId, usize)| {
        known.iter().enumerate().any(|(n, known)| group(n) != group(by) && known.contains(manifest))
    };
    swarm.said[together..].iter().filter(|(manifest, _, by)| crossed((manifest, *by))).count()
}
