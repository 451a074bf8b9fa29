//! What each volunteer gets: a skill, rows to train on, rows held out, and settings that fit the base.

use std::fs;
use std::path::{Path, PathBuf};

use potluck_trainer::lora::config::Targets;
use potluck_trainer::synthetic::Example;
use potluck_trainer::synthetic::corpus::Corpus;
use potluck_trainer::synthetic::settings::DemoSettings;
use potluck_trainer::synthetic::skills::{self, Skill, Split};
use serde_json::json;

use super::{Options, prose};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::proto::TrainSettings;

/// The same rows for everybody who runs the demo.
const SEED: u64 = 2026;
/// Rows of a sealed suite: enough to tell a gain from chance.
const SEALED: usize = 60;

/// The whole demo, before anything is started.
pub struct Plan {
    pub base: String,
    pub base_name: String,
    /// A network of this run's own.
    pub network: String,
    pub settings: TrainSettings,
    pub volunteers: Vec<Seat>,
    /// What the base can do by itself, sealed: no version may do it much worse.
    pub own: PathBuf,
    /// What of that may be lost. The base inside this program knows its corpus nearly by heart, and each skill costs it
    /// some of that.
    pub guard_ppm: u32,
}

/// One volunteer's files.
#[derive(Clone, Debug)]
pub struct Seat {
    pub skill: String,
    pub home: PathBuf,
    pub train: PathBuf,
    /// Prompts that the base answers itself, if there are any.
    pub rehearsal: Option<PathBuf>,
    /// Everybody has a seed of their own, as strangers do.
    pub seed: u64,
    pub held_out: PathBuf,
    /// Rows that the steward seals: neither trained on nor measured in the end.
    pub sealed: PathBuf,
    pub adapter: PathBuf,
}

impl Plan {
    /// Writes the rows and chooses the settings.
    pub fn new(options: &Options, root: &Path) -> Outcome<Self> {
        let tiny = options.base == "tiny";
        let demo = if tiny { DemoSettings::tiny() } else { DemoSettings::small_model() };
        let heldout = options.heldout.unwrap_or(if tiny { 200 } else { 100 });
        if heldout == 0 {
            return Err(Failure::new(Kind::Usage, "--heldout 0 measures nothing").hint("give at least 1"));
        }
        let chosen = skills::all().iter().take(options.nodes);
        let volunteers = chosen.enumerate().map(|(index, skill)| seat(root, index, skill, &demo, heldout));
        let volunteers = volunteers.collect::<Outcome<Vec<_>>>()?;
        let threads = config::processors().div_ceil(options.nodes).max(1);
        Ok(Self {
            base: options.base.clone(),
            base_name: base_name(&options.base),
            network: format!("demo-{}", std::process::id()),
            settings: settings(&demo, threads),
            volunteers,
            own: own_rows(root, tiny)?,
            guard_ppm: if tiny { 100_000 } else { 10_000 },
        })
    }
}

/// What `tiny` was pretrained on, drawn anew; of another base its own answers are not known, and some English will do.
fn own_rows(root: &Path, tiny: bool) -> Outcome<PathBuf> {
    let path = root.join("own.jsonl");
    let rows = if tiny {
        jsonl(&Corpus::new(!SEED).take(SEALED).collect::<Vec<_>>())
    } else {
        prose::TEXTS.iter().map(|text| format!("{}\n", json!({ "text": text }))).collect()
    };
    fs::write(&path, rows).map_err(|error| Failure::io(format!("write the rows to {}", path.display()), &error))?;
    Ok(path)
}

fn seat(root: &Path, index: usize, skill: &Skill, demo: &DemoSettings, heldout: usize) -> Outcome<Seat> {
    let folder = root.join(format!("volunteer-{}-{}", index + 1, skill.name));
    let make = |error: std::io::Error| Failure::io(format!("write the rows to {}", folder.display()), &error);
    fs::create_dir_all(&folder).map_err(make)?;
    let write = |name: &str, rows: String| {
        let path = folder.join(name);
        fs::write(&path, rows).map(|()| path).map_err(make)
    };
    let unseen = skill.samples(SEED, heldout + SEALED, Split::HeldOut);
    let (measured, sealed) = unseen.split_at(heldout.min(unseen.len()));
    Ok(Seat {
        skill: skill.name.to_owned(),
        home: folder.join("home"),
        train: write("train.jsonl", jsonl(&demo.training_rows(skill, SEED)))?,
        rehearsal: match demo.own_answers + demo.begun_answers {
            0 => None,
            _ => Some(write("rehearsal.jsonl", prompts(&demo.rehearsal_prompts(skill, SEED)))?),
        },
        seed: SEED + index as u64,
        held_out: write("heldout.jsonl", jsonl(measured))?,
        sealed: write("sealed.jsonl", jsonl(sealed))?,
        adapter: folder.join("adapter"),
    })
}

impl Seat {
    pub fn adapter_text(&self) -> Outcome<String> {
        text(&self.adapter)
    }
}

fn text(path: &Path) -> Outcome<String> {
    let wrong =
        || Failure::new(Kind::Usage, format!("the path {} is not UTF-8", path.display())).hint("choose another --home");
    path.to_str().map(str::to_owned).ok_or_else(wrong)
}

fn jsonl(rows: &[Example]) -> String {
    let line = |row: &Example| format!("{}\n", json!({ "prompt": row.prompt, "completion": row.completion }));
    rows.iter().map(line).collect()
}

fn prompts(prompts: &[String]) -> String {
    prompts.iter().map(|prompt| format!("{}\n", json!({ "prompt": prompt }))).collect()
}

/// What people call the base: its file or folder without the way there.
fn base_name(reference: &str) -> String {
    let path = Path::new(reference);
    path.file_name().map_or_else(|| reference.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn settings(demo: &DemoSettings, threads: usize) -> TrainSettings {
    let names: Vec<String> = demo.target_modules.iter().map(|&name| name.to_owned()).collect();
    TrainSettings {
        r: demo.r,
        lora_alpha: Some(demo.lora_alpha),
        target_modules: if names.is_empty() { Targets::AllLinear } else { Targets::Names(names) },
        learning_rate: demo.learning_rate,
        max_steps: demo.max_steps,
        batch_size: demo.batch_size,
        warmup_steps: demo.warmup_steps,
        weight_decay: demo.weight_decay,
        seed: SEED,
        max_length: 256,
        rehearsal_tokens: demo.answer_tokens,
        checkpoint_every: 0,
        threads,
        ..TrainSettings::default()
    }
}
