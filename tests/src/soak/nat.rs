//! Pairs of nodes, each behind a NAT of its own kind or none, and one relay that both know: every pair meets, directly
//! wherever its NATs let it, and what is pulled comes over the direct connection or not at all.

mod pair;

use std::thread;

use serde_json::{Value, json};

use crate::crash::Outcome;
use crate::kit::{Program, train_adapter};

use super::lab::{Kind, Lab};
use pair::{Met, Pair};

/// Over what the nodes speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Quic,
}

impl Transport {
    fn all() -> &'static [Self] {
        if cfg!(feature = "quic") { &[Self::Tcp, Self::Quic] } else { &[Self::Tcp] }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        }
    }

    fn listen(self) -> &'static str {
        match self {
            Self::Tcp => "/ip4/0.0.0.0/tcp/7740",
            Self::Quic => "/ip4/0.0.0.0/udp/7740/quic-v1",
        }
    }
}

/// Every pairing, over every transport that this build has. The seed trains the adapter that travels.
pub fn run(seed: u64) -> Outcome<Value> {
    if let Err(reason) = Lab::try_out() {
        eprintln!("skipped: no NATs can be made here ({reason})");
        return Ok(json!({ "skipped": reason }));
    }
    let (program, root) = (Program::this()?, tempfile::tempdir()?);
    let adapter = root.path().join("adapter");
    train_adapter(&program, &root.path().join("trainer"), &adapter, seed);
    eprintln!("{:5} {:10} {:10} {:9} {:>12} {:>10}  pull", "over", "from", "to", "route", "met after", "direct");
    let mut rows = Vec::new();
    for transport in Transport::all() {
        // All wait for their verdicts together; then one after the other meets.
        let mut pairs = Vec::new();
        for starting in start_all(&program, root.path(), *transport) {
            pairs.push(starting.join().map_err(|_| "a pair could not be started")??);
        }
        for pair in pairs {
            let met = pair.meet(&adapter)?;
            eprintln!("{met}");
            rows.push(met);
        }
    }
    let wrong: Vec<_> = rows.iter().filter_map(Met::fault).collect();
    if !wrong.is_empty() {
        return Err(wrong.join("; ").into());
    }
    Ok(json!({ "pairs": rows.iter().map(Met::to_json).collect::<Vec<_>>() }))
}

type Starting = thread::JoinHandle<Result<Pair, String>>;

fn start_all(program: &Program, root: &std::path::Path, transport: Transport) -> Vec<Starting> {
    let pairs = Kind::ALL.into_iter().flat_map(|from| Kind::ALL.into_iter().map(move |to| (from, to)));
    pairs
        .enumerate()
        .map(|(number, (from, to))| {
            let program = program.clone();
            let home = root.join(format!("{}-{number}", transport.name()));
            thread::spawn(move || {
                Pair::start(&program, &home, number, transport, from, to).map_err(|error| error.to_string())
            })
        })
        .collect()
}
