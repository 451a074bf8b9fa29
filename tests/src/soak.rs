//! Long runs by name. Each prints its figures, which stand in `docs/benchmarks.md` with the seed and the machine.

mod attackers;
mod churn;
pub mod copies;
pub mod flood;
mod fold_digests;
pub mod hostile;
mod interruptions;
mod lab;
mod links;
mod nat;
pub mod partition;
pub mod simulated_strangers;
pub mod simulated_swarm;
pub mod skew;
mod store_kill;
mod store_scale;

use std::error::Error;

/// One long run.
pub struct Soak {
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// The same seed gives the same run. The value is one JSON object of figures.
    pub run: fn(u64) -> Result<serde_json::Value, Box<dyn Error>>,
}

/// All soaks, by name.
pub const ALL: &[Soak] = &[
    Soak {
        name: "churn",
        about: "50 nodes, 15 of them killed and started every 30 seconds for 5 minutes: what is said reaches all",
        run: churn::run,
    },
    Soak {
        name: "copies",
        about: "homes restored, copied, killed while publishing, 100 times each: nobody banned, nothing signed twice",
        run: copies::run,
    },
    Soak {
        name: "flood",
        about: "everything that strangers can throw at a node at once: honest nodes join meanwhile",
        run: flood::run,
    },
    Soak {
        name: "fold-digests",
        about: "1,000 random recipes: one digest each on all instructions and threads, that of a second program",
        run: fold_digests::run,
    },
    Soak {
        name: "hostile",
        about: "8 nodes and 4 attackers for an hour: all that is published is pulled, versions and proofs are followed",
        run: hostile::run,
    },
    Soak {
        name: "interruptions",
        about: "500 interruptions of training by five kinds of signal, with and without a daemon: the same adapter",
        run: interruptions::run,
    },
    Soak { name: "link-kill", about: "kill -9 of a puller, 20 times in one pull: bytes on the wire", run: links::kill },
    Soak {
        name: "link-shaped",
        about: "sources at 25 MB/s each, and one at 1 MB/s: what they add up to",
        run: links::shaped,
    },
    Soak { name: "nat", about: "pairs of nodes behind NATs in network namespaces: all meet", run: nat::run },
    Soak {
        name: "partition",
        about: "24 nodes fall into two and into three parts and meet again: catalogues are equal",
        run: partition::run,
    },
    Soak {
        name: simulated_strangers::NAME,
        about: "1,000 simulated worlds of 20 honest nodes and 20 strangers, each twice: all is found and pulled in time",
        run: simulated_strangers::run,
    },
    Soak {
        name: simulated_swarm::NAME,
        about: "1,000 simulated swarms of 25 nodes, each twice: every pull ends, all catalogues equal",
        run: simulated_swarm::run,
    },
    Soak {
        name: skew::NAME,
        about: "two daemons of another version (--old PATH) beside two of this one: all works both ways, nobody is blamed",
        run: skew::alone,
    },
    Soak { name: "store-kill", about: "kill -9 of a growing home, 300 times: nothing is lost", run: store_kill::run },
    Soak { name: "store-scale", about: "a store of 10,000 shards: rates, and times to open", run: store_scale::run },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soaks_are_sorted_and_each_name_is_there_once() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
