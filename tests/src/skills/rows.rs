//! Rows to train on, to seal, and to measure with: no row is in two of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use potluck_trainer::synthetic::Example;
use potluck_trainer::synthetic::corpus::Corpus;
use potluck_trainer::synthetic::settings::DemoSettings;
use potluck_trainer::synthetic::skills::{self, Skill, Split};
use serde_json::json;

const SEED: u64 = 2026;
/// Sealed shards: one for the release, one to spare.
pub const SHARDS: usize = 2;
/// Rows of the base's own text for each row of a skill.
const OWN: usize = 100;
/// Shorter paragraphs say little about a model.
const PARAGRAPH_MIN: usize = 200;

/// The files of one skill.
#[derive(Clone, Debug)]
pub struct SkillRows {
    pub train: PathBuf,
    pub rehearsal: Option<PathBuf>,
    pub sealed: PathBuf,
    pub held_out: PathBuf,
}

/// The base's own text.
#[derive(Clone, Debug)]
pub struct OwnRows {
    pub sealed: PathBuf,
    pub held_out: PathBuf,
}

pub fn skill(
    folder: &Path,
    skill: &Skill,
    demo: &DemoSettings,
    sealed: usize,
    held_out: usize,
) -> std::io::Result<SkillRows> {
    let wanted = held_out + SHARDS * sealed;
    let unseen = skill.samples(SEED + 1, wanted, Split::HeldOut);
    let (measured, hidden) = unseen.split_at(held_out.min(unseen.len()));
    let prompts = demo.rehearsal_prompts(skill, SEED);
    let rehearsal: String = prompts.iter().map(|prompt| format!("{}\n", json!({ "prompt": prompt }))).collect();
    Ok(SkillRows {
        train: write(folder, "train.jsonl", &jsonl(&demo.training_rows(skill, SEED)))?,
        rehearsal: match prompts.is_empty() {
            true => None,
            false => Some(write(folder, "rehearsal.jsonl", &rehearsal)?),
        },
        sealed: write(folder, "sealed.jsonl", &jsonl(hidden))?,
        held_out: write(folder, "heldout.jsonl", &jsonl(measured))?,
    })
}

/// What the embedded base was pretrained on, without rows that an adapter rehearsed. A few rows of it have most of the
/// loss: of 2,000 rows one version raised the perplexity by 0.6 to 1.5 %, seven times drawn. So many more than of a skill.
pub fn corpus(folder: &Path, demo: &DemoSettings, sealed: usize, held_out: usize) -> std::io::Result<OwnRows> {
    let (sealed, held_out) = (OWN * sealed, OWN * held_out);
    let mut seen: BTreeSet<_> = skills::all().iter().flat_map(|skill| demo.training_rows(skill, SEED)).collect();
    let rows: Vec<_> =
        Corpus::new(!SEED).filter(|row| seen.insert(row.clone())).take(held_out + SHARDS * sealed).collect();
    let (measured, hidden) = rows.split_at(held_out);
    Ok(OwnRows {
        sealed: write(folder, "own-sealed.jsonl", &jsonl(hidden))?,
        held_out: write(folder, "own-heldout.jsonl", &jsonl(measured))?,
    })
}

/// Plain English for a pretrained model: the paragraphs of this repository's documents, dealt out in turn.
pub fn documents(folder: &Path, sealed: usize, held_out: usize) -> std::io::Result<OwnRows> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut files: Vec<PathBuf> = [&docs, &docs.join("decisions")]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    let mut paragraphs = Vec::new();
    for file in files {
        let text = fs::read_to_string(file)?;
        let prose = |text: &&str| text.len() >= PARAGRAPH_MIN && !text.starts_with(['|', '`', '#']);
        paragraphs.extend(text.split("\n\n").filter(prose).map(|text| format!("{}\n", json!({ "text": text }))));
    }
    let (mut measured, mut hidden) = (String::new(), String::new());
    for (index, row) in paragraphs.iter().enumerate() {
        let (rows, bound) = if index % 2 == 0 { (&mut measured, held_out) } else { (&mut hidden, SHARDS * sealed) };
        if index / 2 < bound {
            rows.push_str(row);
        }
    }
    Ok(OwnRows {
        sealed: write(folder, "own-sealed.jsonl", &hidden)?,
        held_out: write(folder, "own-heldout.jsonl", &measured)?,
    })
}

fn write(folder: &Path, name: &str, rows: &str) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(name);
    fs::write(&path, rows)?;
    Ok(path)
}

fn jsonl(rows: &[Example]) -> String {
    let line = |row: &Example| format!("{}\n", json!({ "prompt": row.prompt, "completion": row.completion }));
    rows.iter().map(line).collect()
}
