//! The same training steps in PEFT and in potluck, one after the other on one machine: speed, memory and losses, with a
//! table of what was promised. Generation beside llama.cpp too.
//!
//! Goals: every figure comes from a process of its own; both sides train on the same tokens from the same factors; a
//! run that fails or hangs loses its own lines only. Non-goals: judging a time in `cargo test`.
//!
//! ```text
//! text    tokens of the repository's own pages and sources, into files that both sides read
//! plan    which processes run, in what turn
//! runs    runs them, and keeps what they answered
//! judge   answers to lines (`line`): ours, theirs, what was promised
//! table   lines as markdown and JSON
//! ```

mod judge;
mod line;
mod plan;
mod runs;
mod table;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};

use plan::{Setup, Sizes};
use runs::Runs;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Run PEFT and potluck in turn, compare speed, memory and losses, and print a table.
#[derive(Debug, Args)]
pub struct SideBySide {
    /// A Python that has the packages of `tests/peft/requirements.txt`
    #[arg(long)]
    python: PathBuf,
    /// SmolLM2-135M-Instruct in Q4_1
    #[arg(long, value_name = "FILE.gguf")]
    gguf: PathBuf,
    /// The same weights as a Hugging Face folder in bf16; written from the file if it does not exist
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// potluck itself [default: the program beside this one]
    #[arg(long, value_name = "PROGRAM")]
    potluck: Option<PathBuf>,
    /// Where the tokens, answers and error outputs go
    #[arg(long, default_value = "target/reports/side-by-side", value_name = "FOLDER")]
    out: PathBuf,
    /// Threads of both sides
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// These parts only
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Small shapes and few steps, to see that everything runs: speed and memory are not judged
    #[arg(long)]
    quick: bool,
    /// One JSON object as the last line
    #[arg(long)]
    json: bool,
}

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Section {
    /// Tokens a second of a whole step
    Speed,
    /// Peak memory, with and without recomputation
    Memory,
    /// Loss curves on real text
    Losses,
    /// The same bits on any number of threads
    Bits,
    /// One long sequence, and short uneven ones
    Shapes,
    /// Prompt reading and generation beside llama.cpp
    Generation,
}

/// Runs everything; whether all that was promised holds.
pub fn run(args: &SideBySide) -> Outcome<bool> {
    let sections = if args.only.is_empty() { Section::value_variants().to_vec() } else { args.only.clone() };
    let setup = setup(args)?;
    let sizes = if args.quick { Sizes::QUICK } else { Sizes::FULL };
    text::write(&setup, &sizes)?;
    let plan = plan::plan(&setup, &sizes, &sections);
    let runs = Runs::run(&plan, &setup.out)?;
    let lines = judge::lines(&runs, &sizes, &sections, !args.quick);
    let about = table::About::of_this_machine(args.threads, args.quick);
    println!("{}", table::markdown(&about, &lines));
    let holds = lines.iter().all(line::Line::holds);
    if args.json {
        println!("{}", table::json(&about, &lines, holds));
    }
    Ok(holds)
}

/// Everything in its place, or an error before the first minute is spent.
fn setup(args: &SideBySide) -> Outcome<Setup> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the crate lies in no repository")?;
    let potluck = match &args.potluck {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name(format!("potluck{}", std::env::consts::EXE_SUFFIX)),
    };
    for (path, hint) in [
        (&potluck, "build it: `cargo build --release --workspace`, or name it: --potluck"),
        (&args.python, "see tests/peft/README.md"),
        (&args.gguf, "`.ci/run side_by_side` fetches it"),
    ] {
        if !path.is_file() {
            return Err(format!("there is no {}: {hint}", path.display()).into());
        }
    }
    std::fs::create_dir_all(&args.out)?;
    let absolute = |path: &Path| std::path::absolute(path);
    let setup = Setup {
        // Not resolved further: a virtual environment is known by the link to its Python.
        python: absolute(&args.python)?,
        potluck: absolute(&potluck)?,
        gguf: absolute(&args.gguf)?,
        folder: absolute(&args.folder)?,
        scripts: root.join("tests/peft"),
        repository: root.to_path_buf(),
        out: absolute(&args.out)?,
        threads: args.threads,
    };
    if !setup.folder.join("config.json").is_file() {
        write_folder(&setup)?;
    }
    Ok(setup)
}

fn write_folder(setup: &Setup) -> Outcome<()> {
    eprintln!("{} is written from {}", setup.folder.display(), setup.gguf.display());
    let mut command = Command::new(&setup.python);
    let output = command.arg(setup.scripts.join("smollm2_base.py")).arg(&setup.gguf).arg(&setup.folder).output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("smollm2_base.py failed: {}", words.lines().last().unwrap_or_default()).into())
}
