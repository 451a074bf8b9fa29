//! Two nodes and the relay that both know: one publishes, the other pulls, and so they meet.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::lab::{Kind, Lab};
use super::Transport;
use crate::crash::Outcome;
use crate::kit::{Program, Up, text};

/// Until a node knows how it is reached: a probe that gets no answer takes 16 s.
const VERDICT: Duration = Duration::from_secs(90);
/// Between two looks at a node.
const LOOK: Duration = Duration::from_millis(50);
/// Beyond the 10 s that a pull waits for a direct connection.
const PULL_SECONDS: &str = "20";

/// Three running daemons. They end before their namespaces do.
pub struct Pair {
    program: Program,
    root: PathBuf,
    kinds: [Kind; 2],
    transport: Transport,
    _relay: Up,
    from: Up,
    to: Up,
    _lab: Lab,
}

impl Pair {
    /// Starts them and waits until both know how they are reached.
    pub fn start(
        program: &Program,
        root: &Path,
        number: usize,
        transport: Transport,
        from: Kind,
        to: Kind,
    ) -> Outcome<Self> {
        fs::create_dir_all(root)?;
        let mut lab = Lab::new(number)?;
        let places = [lab.place("relay", Kind::Open, 1)?, lab.place("from", from, 11)?, lab.place("to", to, 12)?];
        let up = |place: usize, more: &[&str]| {
            let home = root.join(["relay", "from", "to"][place]);
            let args = ["up", "--stop-with-input", "--network", "nat", "--no-upnp", "--listen", transport.listen()];
            program.inside(&places[place]).up_with(&home, &[&args, more].concat(), &[])
        };
        let relay = up(0, &["--relay"]);
        let addresses = program.ok(&relay.home, ["status"])["addresses"].clone();
        let address = strings(&addresses).into_iter().find(|one| one.contains("198.51.100.1/"));
        let address = address.ok_or_else(|| format!("the relay does not listen outside: {addresses}"))?;
        let (to_up, from_up) = (up(2, &["--bootstrap", &address]), up(1, &["--bootstrap", &address]));
        let pair = Self {
            program: program.clone(),
            root: root.to_path_buf(),
            kinds: [from, to],
            transport,
            _relay: relay,
            from: from_up,
            to: to_up,
            _lab: lab,
        };
        [(&pair.from, from), (&pair.to, to)].into_iter().try_for_each(|(up, kind)| pair.await_verdict(up, kind))?;
        Ok(pair)
    }

    fn await_verdict(&self, up: &Up, kind: Kind) -> Outcome<()> {
        let deadline = Instant::now() + VERDICT;
        loop {
            let status = self.program.ok(&up.home, ["status"]);
            let relayed = strings(&status["addresses"]).iter().any(|address| address.contains("/p2p-circuit"));
            let settled = match kind {
                Kind::Open => status["reachability"] == "public",
                Kind::Cone | Kind::Symmetric => status["reachability"] == "private" && relayed,
            };
            if settled {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("a node behind `{}` has come to no verdict: {status}", kind.name()).into());
            }
            thread::sleep(4 * LOOK);
        }
    }

    /// The one pulls what the other publishes, knowing the relay alone.
    pub fn meet(self, adapter: &Path) -> Outcome<Met> {
        let published =
            self.program.ok(&self.to.home, ["publish", &text(adapter), "--name", "travels", "--licence", "CC0-1.0"]);
        let id = published["manifest"].as_str().ok_or("no id")?.to_owned();
        let start = Instant::now();
        let (program, home) = (self.program.clone(), self.from.home.clone());
        let pulling = thread::spawn(move || {
            let answer = program.run(&home, ["pull", &id, "--timeout", PULL_SECONDS]);
            (answer, start.elapsed())
        });
        let (mut met, mut direct) = (None, None);
        loop {
            let ended = pulling.is_finished();
            match self.route().as_deref() {
                Some("direct") => direct = direct.or(Some(start.elapsed())),
                Some(_) => {}
                None if ended => return Err(format!("{} never met", self.names()).into()),
                None => continue,
            }
            met = met.or(Some(start.elapsed()));
            if ended {
                break;
            }
            thread::sleep(LOOK);
        }
        let (answer, took) = pulling.join().map_err(|_| "the pull could not be run")?;
        let pull = if answer.code == 0 { Ok(took) } else { Err(answer.stderr + &answer.stdout) };
        fs::remove_dir_all(&self.root).ok();
        Ok(Met { kinds: self.kinds, transport: self.transport, met: met.unwrap_or_default(), direct, pull })
    }

    /// How the one that pulls is connected to the other, if it is.
    fn route(&self) -> Option<String> {
        let peers = self.program.ok(&self.from.home, ["peers"]);
        let other = peers["peers"].as_array()?.iter().find(|peer| peer["peer"] == self.to.peer.as_str())?;
        Some(other["route"].as_str()?.to_owned())
    }

    fn names(&self) -> String {
        format!("{} and {} over {}", self.kinds[0].name(), self.kinds[1].name(), self.transport.name())
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What became of a pair.
pub struct Met {
    kinds: [Kind; 2],
    transport: Transport,
    /// Since the pull began, as everything here.
    met: Duration,
    direct: Option<Duration>,
    /// How long it took, or what it said.
    pull: Result<Duration, String>,
}

impl Met {
    /// What is not as the theory has it.
    pub fn fault(&self) -> Option<String> {
        let [from, to] = self.kinds;
        let names = format!("{} and {} over {}", from.name(), to.name(), self.transport.name());
        match (from.meets_directly(to), self.direct, &self.pull) {
            (true, None, _) => Some(format!("{names}: relayed, and a direct connection is possible")),
            (true, Some(_), Err(said)) => Some(format!("{names}: directly connected, and the pull failed: {said}")),
            (false, Some(_), _) => {
                Some(format!("{names}: direct, where no hole can be made: these are not those NATs"))
            }
            (false, None, Ok(_)) => Some(format!("{names}: shards went through a relay")),
            (false, None, Err(said)) if !said.contains("relay") => {
                Some(format!("{names}: the pull does not say that a relay is the reason: {said}"))
            }
            (true, Some(_), Ok(_)) | (false, None, Err(_)) => None,
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "over": self.transport.name(), "from": self.kinds[0].name(), "to": self.kinds[1].name(),
            "route": self.route(), "met_ms": self.met.as_millis() as u64,
            "direct_ms": self.direct.map(|after| after.as_millis() as u64),
            "pulled_ms": self.pull.as_ref().ok().map(|after| after.as_millis() as u64),
        })
    }

    fn route(&self) -> &'static str {
        if self.direct.is_some() { "direct" } else { "relayed" }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |after: Duration| format!("{} ms", after.as_millis());
        let direct = self.direct.map_or_else(|| "-".to_owned(), ms);
        let pull = self.pull.as_ref().map_or_else(|_| "refused".to_owned(), |after| ms(*after));
        let [from, to] = self.kinds;
        write!(
            f,
            "{:5} {:10} {:10} {:9} {:>12} {:>10}  {pull}",
            self.transport.name(),
            from.name(),
            to.name(),
            self.route(),
            ms(self.met),
            direct
        )
    }
}
