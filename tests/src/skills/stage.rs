//! The run itself, by what a person would type.

use std::path::{Path, PathBuf};
use std::time::Instant;

use potluck_node::api::client::Client;
use potluck_node::api::proto::Heard;
use potluck_protocol::base::Architecture;
use potluck_trainer::base::Base;
use potluck_trainer::synthetic::settings::DemoSettings;
use potluck_trainer::synthetic::skills::all;
use potluck_trainer::tiny;
use serde_json::Value;

use super::rows::{OwnRows, SkillRows};
use super::{Followed, Measured, Report, Revoked, Set, Skills, bad, rows};
use crate::kit::{Answer, Program, Up, text};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const NETWORK: &str = "skills";
const CHANNEL: &str = "skills";
/// How long gossip and pulls may take before something is wrong.
const SECONDS: u64 = 120;

/// One publisher.
struct Publisher {
    name: &'static str,
    home: PathBuf,
    adapter: PathBuf,
}

pub fn play(skills: &Skills, root: &Path) -> Outcome<Report> {
    let started = Instant::now();
    let stage = Stage::new(skills, root)?;
    let (rows, own) = stage.rows(skills)?;
    let publishers = stage.train(&rows)?;
    let steward = stage.up("steward", None)?;
    let _publishers = publishers.iter().map(|one| stage.up(one.name, Some(&steward))).collect::<Outcome<Vec<_>>>()?;
    let _stranger = stage.up("stranger", Some(&steward))?;
    let channel = stage.open(&rows, &own, skills.guard)?;
    let mut proposals = Vec::new();
    let mut adapters = Vec::new();
    for one in publishers.iter() {
        let adapter = stage.publish(&one.home, &one.adapter, one.name)?;
        proposals.push(stage.propose(&one.home, &adapter, &channel)?);
        adapters.push((one.name, adapter));
    }
    for (name, factor) in [("flipped", -1.0), ("huge", 1000.0)] {
        let folder = root.join(name);
        bad::scaled(&publishers[0].adapter, &folder, factor, &stage.architecture)?;
        let adapter = stage.publish(&stage.home("stranger"), &folder, name)?;
        proposals.push(stage.propose(&stage.home("stranger"), &adapter, &channel)?);
        adapters.push((name, adapter));
    }
    stage.heard(&stage.home("steward"), &proposals)?;
    say("the steward releases");
    let mut release = stage.ok(&stage.home("steward"), &["channel", "release", CHANNEL])?;
    name_verdicts(&mut release, &adapters);
    let measured = stage.measure(&publishers, &rows, &own)?;
    let followed = stage.follow(&steward, &channel, &release)?;
    let revoked = stage.revoke(&release)?;
    let seconds = started.elapsed().as_secs_f64();
    let base = stage.base.clone();
    Ok(Report { schema: "potluck.skills/1", base, seconds, measured, release, followed, revoked })
}

/// The demo's volunteers are quick, and each costs what the base knew one to three percent. These rehearse more of it, for
/// longer, and cost it nothing that can be seen.
fn thorough() -> DemoSettings {
    DemoSettings { r: 2, learning_rate: 2e-3, max_steps: 900, rehearsal_rows: 11_000, ..DemoSettings::tiny() }
}

struct Stage {
    program: Program,
    root: PathBuf,
    base: String,
    demo: DemoSettings,
    architecture: Architecture,
    max_steps: u64,
}

impl Stage {
    fn new(skills: &Skills, root: &Path) -> Outcome<Self> {
        let small = skills.base != "tiny";
        let (base, architecture) = match small {
            true => {
                let path = std::path::absolute(&skills.base)?;
                (text(&path), Base::open(&path)?.architecture().clone())
            }
            false => (skills.base.clone(), tiny::architecture()),
        };
        let demo = if small { DemoSettings::small_model() } else { thorough() };
        let max_steps = skills.max_steps.unwrap_or(demo.max_steps);
        Ok(Self { program: Program::this()?, root: root.to_path_buf(), base, demo, architecture, max_steps })
    }

    fn home(&self, name: &str) -> PathBuf {
        self.root.join(format!("home-{name}"))
    }

    fn ok(&self, home: &Path, args: &[&str]) -> Outcome<Value> {
        let Answer { code, json, stderr, .. } = self.program.run(home, args);
        if code == 0 { Ok(json) } else { Err(format!("potluck {}: {code}: {stderr}", args.join(" ")).into()) }
    }

    fn rows(&self, skills: &Skills) -> Outcome<(Vec<(&'static str, SkillRows)>, OwnRows)> {
        let one = |skill: &'static potluck_trainer::synthetic::skills::Skill| {
            let folder = self.root.join(format!("rows-{}", skill.name));
            Ok::<_, std::io::Error>((
                skill.name,
                rows::skill(&folder, skill, &self.demo, skills.sealed, skills.heldout)?,
            ))
        };
        let own = match self.base == "tiny" {
            true => rows::corpus(&self.root, &self.demo, skills.sealed, skills.heldout)?,
            false => rows::documents(&self.root, skills.sealed, skills.heldout)?,
        };
        Ok((all().iter().map(one).collect::<Result<_, _>>()?, own))
    }

    /// One after the other, each with the whole machine.
    fn train(&self, rows: &[(&'static str, SkillRows)]) -> Outcome<Vec<Publisher>> {
        let mut publishers = Vec::new();
        for (index, (name, rows)) in rows.iter().enumerate() {
            say(&format!("training `{name}`"));
            let one = Publisher { name, home: self.home(name), adapter: self.root.join(format!("adapter-{name}")) };
            let demo = &self.demo;
            let numbers = [
                ("--r", demo.r.to_string()),
                ("--lora-alpha", demo.lora_alpha.to_string()),
                ("--learning-rate", demo.learning_rate.to_string()),
                ("--max-steps", self.max_steps.to_string()),
                ("--batch-size", demo.batch_size.to_string()),
                ("--warmup-steps", demo.warmup_steps.to_string()),
                ("--weight-decay", demo.weight_decay.to_string()),
                ("--rehearsal-tokens", demo.answer_tokens.to_string()),
                ("--max-length", "256".to_owned()),
                ("--checkpoint-every", "0".to_owned()),
                ("--seed", (2026 + index).to_string()),
            ];
            let (data, out) = (text(&rows.train), text(&one.adapter));
            let mut args = vec!["train", "--base", &self.base, "--data", &data, "--out", &out];
            let rehearsal = rows.rehearsal.as_deref().map(text);
            args.extend(rehearsal.iter().flat_map(|path| ["--rehearsal", path.as_str()]));
            args.extend(numbers.iter().flat_map(|(flag, value)| [*flag, value.as_str()]));
            self.ok(&one.home, &args)?;
            publishers.push(one);
        }
        Ok(publishers)
    }

    /// A daemon that knows the base.
    fn up(&self, name: &str, first: Option<&Up>) -> Outcome<Up> {
        let home = self.home(name);
        if self.base != "tiny" {
            self.ok(&home, &["base", "add", &self.base])?;
        }
        Ok(self.program.up(&home, NETWORK, &first.map(|up| up.address.as_str()).into_iter().collect::<Vec<_>>()))
    }

    fn open(&self, rows: &[(&'static str, SkillRows)], own: &OwnRows, guard: f64) -> Outcome<String> {
        let improve: Vec<_> = rows.iter().map(|(name, rows)| format!("{name}={}", text(&rows.sealed))).collect();
        let keep = format!("own={}", text(&own.sealed));
        // Less than what is judged: the rows that are sealed and those that are measured are two draws.
        let (shards, guard) = (rows::SHARDS.to_string(), format!("{}%", 0.4 * guard));
        let mut args = vec![
            "channel",
            "open",
            CHANNEL,
            "--genesis",
            &self.base,
            "--keep",
            &keep,
            "--shards",
            &shards,
            "--guard",
            &guard,
        ];
        args.extend(improve.iter().flat_map(|suite| ["--improve", suite.as_str()]));
        let opened = self.ok(&self.home("steward"), &args)?;
        field(&opened, "channel")
    }

    fn publish(&self, home: &Path, folder: &Path, name: &str) -> Outcome<String> {
        let folder = text(folder);
        let args = ["publish", &folder, "--name", name, "--base", &self.base, "--licence", "Apache-2.0"];
        field(&self.ok(home, &args)?, "manifest")
    }

    fn propose(&self, home: &Path, adapter: &str, channel: &str) -> Outcome<String> {
        field(&self.ok(home, &["channel", "propose", adapter, "--to", channel])?, "proposal")
    }

    /// Waits until a daemon has heard of these manifests.
    fn heard(&self, home: &Path, manifests: &[String]) -> Outcome<()> {
        let shown = self.ok(home, &["base", "show", &self.base])?;
        let request =
            Heard { base: field(&shown, "base")?, adapters: manifests.to_vec(), timeout_seconds: SECONDS.into() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut client = Client::connect(home).await?.ok_or("no daemon answers")?;
            client.call(request, |_| {}).await?;
            Ok(())
        })
    }

    /// The base, each good adapter alone and the version, on every set: where the steward is, who has them all.
    fn measure(
        &self,
        publishers: &[Publisher],
        rows: &[(&'static str, SkillRows)],
        own: &OwnRows,
    ) -> Outcome<Vec<Measured>> {
        let adapters = publishers.iter().map(|one| (one.name, self.base.as_str(), Some(text(&one.adapter))));
        let models =
            [("base", self.base.as_str(), None)].into_iter().chain(adapters).chain([("version", CHANNEL, None)]);
        let sets = rows.iter().map(|(name, rows)| (*name, &rows.held_out)).chain([("own", &own.held_out)]);
        let sets: Vec<_> = sets.collect();
        let mut measured = Vec::new();
        for (model, base, adapter) in models {
            say(&format!("measuring `{model}`"));
            let one = |(name, path): &(&str, &PathBuf)| {
                let data = text(path);
                let mut args = vec!["eval", "--base", base, "--data", &data];
                args.extend(adapter.iter().flat_map(|folder| ["--adapter", folder.as_str()]));
                let figures = self.ok(&self.home("steward"), &args)?;
                let loss = figures["loss"].as_f64().ok_or("no loss")?;
                Ok::<_, Box<dyn std::error::Error>>(Set {
                    name: (*name).to_owned(),
                    loss,
                    accuracy: figures["exact_match"].as_f64(),
                })
            };
            measured.push(Measured { model: model.to_owned(), sets: sets.iter().map(one).collect::<Outcome<_>>()? });
        }
        Ok(measured)
    }

    /// A fresh node: it has nothing but the base.
    fn follow(&self, steward: &Up, channel: &str, release: &Value) -> Outcome<Followed> {
        say("a fresh node follows");
        let _fresh = self.up("fresh", Some(steward))?;
        let home = self.home("fresh");
        let followed = self.ok(&home, &["channel", "follow", channel])?;
        let verified = self.ok(&home, &["verify", &field(release, "version")?])?;
        let taken = release["verdicts"].as_array().into_iter().flatten();
        let taken = taken.filter(|verdict| verdict["outcome"]["taken"].is_object());
        let mut adapter_bytes = 0;
        for verdict in taken {
            adapter_bytes +=
                self.ok(&home, &["show", &field(verdict, "adapter")?])?["bytes"].as_u64().unwrap_or_default();
        }
        let fetched_bytes = followed["fetched_bytes"].as_u64().ok_or("no fetched bytes")?;
        Ok(Followed { version: field(&followed, "version")?, fetched_bytes, adapter_bytes, verified })
    }

    /// Revokes one, and folds the others by hand.
    fn revoke(&self, release: &Value) -> Outcome<Revoked> {
        say("one of the four is revoked");
        let home = self.home("steward");
        let verdicts: Vec<&Value> = release["verdicts"].as_array().into_iter().flatten().collect();
        let taken = verdicts.iter().find(|verdict| verdict["outcome"]["taken"].is_object());
        let gone = field(taken.ok_or("nothing was taken")?, "adapter")?;
        let revoked = self.ok(&home, &["channel", "revoke", CHANNEL, &gone])?;
        let mut others = Vec::new();
        for verdict in verdicts {
            let Some(weight) = verdict["outcome"]["taken"]["weight"].as_i64() else { continue };
            let adapter = field(verdict, "adapter")?;
            if adapter != gone {
                others.push(format!("{adapter}@{}", weight as f64 / 65536.0));
            }
        }
        let out = text(&self.root.join("never"));
        let mut args = vec!["merge", "--base", &self.base, "--fold", "--out", &out];
        args.extend(others.iter().map(String::as_str));
        let never = self.ok(&home, &args)?;
        Ok(Revoked { digest: field(&revoked, "digest")?, never: field(&never, "digest")? })
    }
}

/// Which adapter each verdict is about, by the name under which it was published.
fn name_verdicts(release: &mut Value, adapters: &[(&str, String)]) {
    for verdict in release["verdicts"].as_array_mut().into_iter().flatten() {
        if let Some((name, _)) = adapters.iter().find(|(_, id)| verdict["adapter"] == id.as_str()) {
            verdict["name"] = Value::from(*name);
        }
    }
}

fn field(value: &Value, name: &str) -> Outcome<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("no `{name}` in {value}").into())
}

fn say(text: &str) {
    eprintln!("{text}");
}
