//! Homes that are restored, copied, or killed while they publish: nobody is banned, nothing is signed twice, every verb
//! after it succeeds.
//!
//! Three daemons on loopback: one that all know, one that is copied and killed, and an observer that writes down every
//! announcement it hears.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::{Outcome, draw};
use crate::kit::{Answer, Program, Up, answer, copy_folder, text, train_adapter};
use crate::swarm::observer::Observer;

const NETWORK: &str = "copies";
/// So many rounds share the daemon that all know.
const PER_HUB: u64 = 10;
/// For slow machines.
const PATIENCE: Duration = Duration::from_secs(60);
/// From the start of publishing to about its end.
const MICROS: u64 = 700_000;

/// What is done to a home.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Put back as it was before it published more.
    Restored,
    /// Run twice at once.
    Copied,
    /// `kill -9` in the middle of publishing.
    Killed,
}

pub const KINDS: [Kind; 3] = [Kind::Restored, Kind::Copied, Kind::Killed];

/// 100 rounds of each kind.
pub fn run(seed: u64) -> Outcome<Value> {
    rounds(&Program::this()?, seed, 100)
}

/// So many rounds of each kind; the figures.
pub fn rounds(program: &Program, seed: u64, each: u64) -> Outcome<Value> {
    let start = Instant::now();
    let root = tempfile::tempdir()?;
    let adapter = root.path().join("adapter");
    train_adapter(program, &root.path().join("trainer"), &adapter, 3);
    let mut figures = json!({ "rounds_of_each": each });
    let (mut heard, mut twins) = (0, 0);
    for kind in KINDS {
        for first in (0..each).step_by(PER_HUB as usize) {
            let folder = root.path().join(format!("{kind:?}{first}"));
            let mut scene = Scene::start(program, &folder, &adapter)?;
            for round in first..each.min(first + PER_HUB) {
                scene.round(kind, &format!("{kind:?} {seed} {round}"), round)?;
            }
            heard += scene.end()?;
            twins += scene.twins;
            drop(scene);
            std::fs::remove_dir_all(&folder)?;
        }
    }
    figures["announcements_heard"] = json!(heard);
    figures["twins_noticed"] = json!(twins);
    figures["seconds"] = json!(start.elapsed().as_secs());
    Ok(figures)
}

struct Scene<'a> {
    program: &'a Program,
    folder: PathBuf,
    adapter: String,
    hub: Up,
    observer: Observer,
    named: u64,
    twins: u64,
}

impl<'a> Scene<'a> {
    fn start(program: &'a Program, folder: &Path, adapter: &Path) -> Outcome<Self> {
        std::fs::create_dir(folder)?;
        let hub = up(program, &folder.join("hub"), &[]);
        let observer = Observer::start(NETWORK, program, &folder.join("hub"), &hub.address)?;
        Ok(Self { program, folder: folder.to_path_buf(), adapter: text(adapter), hub, observer, named: 0, twins: 0 })
    }

    fn up(&self, home: &Path) -> Up {
        up(self.program, home, &[&self.hub.address, self.observer.address()])
    }

    fn round(&mut self, kind: Kind, seed: &str, round: u64) -> Outcome<()> {
        let home = self.folder.join(format!("home{round}"));
        match kind {
            Kind::Restored => self.restored(&home, seed)?,
            Kind::Copied => self.copied(&home, seed)?,
            Kind::Killed => self.killed(&home, seed)?,
        }
        let subject = self.up(&home);
        self.every_verb(&home, seed)?;
        blameless(&subject, seed)?;
        blameless(&self.hub, seed)?;
        self.observer.nobody_is_banned().map_err(|error| format!("{seed}: {error}"))?;
        subject.stop();
        Ok(())
    }

    /// Publishes, is copied, publishes more, and is put back as it was.
    fn restored(&mut self, home: &Path, seed: &str) -> Outcome<()> {
        let mut subject = self.up(home);
        self.publish(home, seed)?;
        subject.stop();
        let backup = home.with_extension("backup");
        copy_folder(home, &backup);
        subject = self.up(home);
        for _ in 0..1 + draw(&format!("{seed} more"), 3) {
            self.publish(home, seed)?;
        }
        match draw(&format!("{seed} end"), 2) {
            0 => subject.stop(),
            _ => subject.kill(),
        }
        std::fs::remove_dir_all(home)?;
        std::fs::rename(&backup, home)?;
        // What it publishes now has numbers that it had given away already, as far as it remembers.
        let again = self.up(home);
        self.publish(home, seed)?;
        blameless(&again, seed)?;
        again.stop();
        Ok(())
    }

    /// Two homes with one key run and publish at once. One of them at least notices.
    fn copied(&mut self, home: &Path, seed: &str) -> Outcome<()> {
        let first = self.up(home);
        self.publish(home, seed)?;
        first.stop();
        let twin = home.with_extension("twin");
        copy_folder(home, &twin);
        let both = [self.up(home), self.up(&twin)];
        let children: Vec<Child> =
            [home, &twin].map(|home| self.publishing(home)).into_iter().collect::<Outcome<_>>()?;
        for child in children {
            let ended = answer(child.wait_with_output()?);
            let refused = ended.code == 9 && ended.stderr.contains("with this node's key");
            if ended.code != 0 && !refused {
                return Err(format!("{seed}: {ended:#?}").into());
            }
        }
        let until = Instant::now() + PATIENCE;
        let notices = |home: &Path| !self.program.ok(home, ["status"])["twin"].is_null();
        while !notices(home) && !notices(&twin) {
            if Instant::now() > until {
                return Err(format!("{seed}: nobody has noticed the twin").into());
            }
        }
        self.twins += 1;
        for up in both {
            blameless(&up, seed)?;
            up.stop();
        }
        Ok(())
    }

    /// Killed at a moment while it publishes, and started at once.
    fn killed(&mut self, home: &Path, seed: &str) -> Outcome<()> {
        for kill in 0..2 {
            let mut subject = self.up(home);
            let start = Instant::now();
            let children = (0..1 + draw(&format!("{seed} {kill} many"), 3))
                .map(|_| self.publishing(home))
                .collect::<Outcome<Vec<_>>>()?;
            let moment = Duration::from_micros(draw(&format!("{seed} {kill}"), MICROS));
            while start.elapsed() < moment {}
            subject.kill();
            for child in children {
                // Done, or told that the daemon went away.
                child.wait_with_output()?;
            }
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("n{}", self.named)
    }

    fn publishing(&mut self, home: &Path) -> Outcome<Child> {
        let (adapter, name) = (self.adapter.clone(), self.name());
        let mut command = self.program.command(home, ["publish", &adapter, "--base", "tiny", "--name", &name]);
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    fn publish(&mut self, home: &Path, seed: &str) -> Outcome<String> {
        let published = succeeded(answer(self.publishing(home)?.wait_with_output()?), seed)?;
        Ok(published["manifest"].as_str().ok_or("no manifest")?.to_owned())
    }

    /// What a person may do next succeeds, and others hear of what is published.
    fn every_verb(&mut self, home: &Path, seed: &str) -> Outcome<()> {
        let id = self.publish(home, seed)?;
        let verbs: [&[&str]; 7] = [
            &["status"],
            &["peers"],
            &["base", "list"],
            &["show", &id],
            &["verify", &id],
            &["store", "stat"],
            &["store", "verify"],
        ];
        // Of a node that has just come a search waits for more: now and then is enough.
        let search = (draw(&format!("{seed} search"), 10) == 0).then_some(&["search"][..]);
        for verb in verbs.into_iter().chain(search) {
            succeeded(self.program.run(home, verb), seed)?;
        }
        self.observer.hears(&id, PATIENCE).map_err(|error| format!("{seed}: {error}").into())
    }

    /// Stops all; how many announcements were heard, each number of a key for one of them.
    fn end(&mut self) -> Outcome<u64> {
        self.observer.end()
    }
}

fn up(program: &Program, home: &Path, bootstrap: &[&str]) -> Up {
    let mut args = vec!["up", "--stop-with-input", "--network", NETWORK, "--listen", "/ip4/127.0.0.1/tcp/0"];
    bootstrap.iter().for_each(|address| args.extend(["--bootstrap", address]));
    args.extend(["--metrics", "127.0.0.1:0"]);
    program.up_with(home, &args, &[])
}

fn succeeded(answer: Answer, seed: &str) -> Outcome<Value> {
    if answer.code == 0 { Ok(answer.json) } else { Err(format!("{seed}: {answer:#?}").into()) }
}

/// It has blamed nobody for anything.
fn blameless(up: &Up, seed: &str) -> Outcome<()> {
    match blamed(up)?.first() {
        Some(line) => Err(format!("{seed}: somebody honest was blamed: {line}").into()),
        None => Ok(()),
    }
}

/// What it has blamed others for, as its metrics say it.
pub(super) fn blamed(up: &Up) -> std::io::Result<Vec<String>> {
    let page = up.metrics_page()?;
    let blamed = |line: &&str| {
        let counted = line.starts_with("potluck_misdeeds_total") || line.starts_with("potluck_peers_banned_total");
        counted && !line.ends_with(" 0")
    };
    Ok(page.lines().filter(blamed).map(str::to_owned).collect())
}
