//! All members together.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use potluck_protocol::id::ManifestId;
use tempfile::TempDir;

use super::{Member, Plan, announcement, key};
use crate::crash::{Outcome, draw};

/// How often the whole is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Publishers take turns, so that none announces more than the network accepts at once.
const PUBLISHERS: u64 = 200;

/// Members, and what was said among them.
pub struct Swarm {
    pub members: Vec<Member>,
    seed: u64,
    /// Each announcement: what, when, and by which member.
    pub said: Vec<(ManifestId, Instant, usize)>,
    draws: u64,
    _folder: TempDir,
}

impl Swarm {
    /// So many members, in groups of which each member dials `dials` others; all of them live.
    pub fn start(seed: u64, groups: &[usize], dials: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let mut plans = Vec::new();
        for n in 0..groups.iter().sum() {
            plans.push(Plan::new(folder.path().join(n.to_string()), &format!("swarm-{seed}"), &format!("{seed} {n}"))?);
        }
        let mut swarm = Self { members: Vec::new(), seed, said: Vec::new(), draws: 0, _folder: folder };
        let mut first = 0;
        for &count in groups {
            for n in 0..count {
                // The one before, which is there already, so that all hang together; and others by lot.
                let mut others = BTreeSet::from([(n + count - 1) % count]);
                while others.len() < dials.min(count - 1) {
                    others.insert(swarm.draw(count));
                }
                others.remove(&n);
                let addresses: Outcome<_> = others.iter().map(|other| plans[first + other].address()).collect();
                plans[first + n].dials = addresses?;
            }
            first += count;
        }
        swarm.members = plans.into_iter().map(Member::new).collect();
        swarm.members.iter_mut().try_for_each(Member::start)?;
        Ok(swarm)
    }

    /// A number below a bound, by the seed.
    pub fn draw(&mut self, below: usize) -> usize {
        self.draws += 1;
        draw(&format!("{} draw {}", self.seed, self.draws), below as u64) as usize
    }

    /// A member that lives says something new.
    pub fn announce(&mut self, by: usize) -> Outcome<()> {
        let n = self.said.len() as u64;
        let publisher = key(&format!("{} publisher {}", self.seed, n % PUBLISHERS))?;
        let one = announcement(&publisher, &format!("a{n}"), n + 1)?;
        let manifest = one.body().manifest;
        let at = Instant::now();
        self.members[by].announce(one)?;
        self.said.push((manifest, at, by));
        Ok(())
    }

    /// Somebody says something until a time.
    pub fn talk_until(&mut self, until: Instant, pause: Duration) -> Outcome<()> {
        while Instant::now() < until {
            let by = self.draw(self.members.len());
            if self.members[by].since().is_some() {
                self.announce(by)?;
            }
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Until all catalogues are equal and hold everything that was said: how long it took. An error after `limit`.
    pub fn agree(&self, limit: Duration) -> Outcome<Duration> {
        let begun = Instant::now();
        loop {
            let first = self.members[0].catalogue();
            let equal = self.members.iter().all(|member| member.catalogue() == first);
            if equal && first.len() == self.said.len() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > limit {
                let counts: Vec<_> = self.members.iter().map(|member| member.catalogue().len()).collect();
                let said = self.said.len();
                return Err(format!("catalogues are not equal after {limit:?}: of {said} they hold {counts:?}").into());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends every connection between groups (`groups` as in [`Swarm::start`]); how many there were.
    pub fn cut(&self, groups: &[usize]) -> Outcome<usize> {
        let (mut first, mut count) = (0, 0);
        for &size in groups {
            let inside = first..first + size;
            let outside: BTreeSet<PeerId> =
                (0..self.members.len()).filter(|n| !inside.contains(n)).map(|n| self.members[n].plan.peer()).collect();
            for member in &self.members[inside] {
                count += member.cut(&outside)?;
            }
            first += size;
        }
        Ok(count)
    }

    /// Bans of anybody by anybody: all are honest.
    pub fn bans(&self) -> Outcome<usize> {
        let mut bans = 0;
        for member in self.members.iter().filter(|member| member.since().is_some()) {
            bans += member.peers()?.1;
        }
        Ok(bans)
    }
}
