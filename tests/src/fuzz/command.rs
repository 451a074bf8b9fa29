//! The verbs `fuzz` and `fuzz-batch`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::batch::{self, Length};
use super::campaign::{self, Plan};
use super::{Target, all, allocator, faulty};

/// What a run is to be.
#[derive(Args, Debug)]
pub struct Fuzz {
    /// Only these; all if none is named
    targets: Vec<String>,
    /// List the targets
    #[arg(long)]
    list: bool,
    /// The same seed gives the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So long for each target
    #[arg(long, conflicts_with = "inputs", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: Option<u32>,
    /// So many inputs for each target instead of a time; without either, a short run
    #[arg(long)]
    inputs: Option<u64>,
    /// Put the inputs of finds there
    #[arg(long)]
    finds: Option<PathBuf>,
    /// Read this one input instead, of the one target that is named
    #[arg(long, conflicts_with_all = ["minutes", "inputs"])]
    replay: Option<PathBuf>,
}

/// What the child process of a run is told.
#[derive(Args, Debug)]
pub struct FuzzBatch {
    target: String,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    inputs: u64,
    #[arg(long)]
    milliseconds: u64,
    #[arg(long)]
    current: PathBuf,
}

/// Runs what was asked for; a line of JSON for each target.
pub fn run(args: &Fuzz) -> ExitCode {
    if args.list {
        all().iter().for_each(|target| println!("{:16} {}", target.name, target.about));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.targets.iter().find(|name| target(name).is_none()) {
        eprintln!("there is no target `{unknown}`; `potluck-tests fuzz --list` lists those that are");
        return ExitCode::from(2);
    }
    let named: Vec<Target> = args.targets.iter().filter_map(|name| target(name)).collect();
    let targets = if named.is_empty() { all() } else { named };
    if let Some(path) = &args.replay {
        return replay(&targets, path);
    }
    match campaign(args, &targets) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(finds) => {
            eprintln!("{finds} finds: each target's line above says what, and where the input lies");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the run cannot go on: {error}");
            ExitCode::FAILURE
        }
    }
}

fn target(name: &str) -> Option<Target> {
    let mut all = all().into_iter().chain([faulty::target()]);
    all.find(|target| target.name == name)
}

/// The number of finds.
fn campaign(args: &Fuzz, targets: &[Target]) -> io::Result<usize> {
    let program = std::env::current_exe()?;
    let mut finds = 0;
    for target in targets {
        let time = args.minutes.map(|minutes| Duration::from_secs(60 * u64::from(minutes)));
        let inputs = args.inputs.or(time.is_none().then_some(target.short));
        let folder = args.finds.clone();
        let plan = Plan { program: program.clone(), seed: args.seed, time, inputs, folder };
        let report = campaign::run(&plan, target)?;
        finds += report.finds.len();
        println!("{}", serde_json::to_value(&report)?);
    }
    Ok(finds)
}

fn replay(targets: &[Target], path: &std::path::Path) -> ExitCode {
    let ([target], Ok(input)) = (targets, std::fs::read(path)) else {
        eprintln!("name one target, and a file that can be read: potluck-tests fuzz TARGET --replay FILE");
        return ExitCode::from(2);
    };
    let (result, memory) = batch::read(target, &input);
    println!("{result:?}, {memory} bytes of memory");
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One batch; its counts as JSON.
pub fn run_batch(args: &FuzzBatch) -> ExitCode {
    let Some(target) = target(&args.target) else { return ExitCode::from(2) };
    if !allocator::is_counting() {
        eprintln!("the program does not count its memory");
        return ExitCode::FAILURE;
    }
    let length = Length { inputs: args.inputs, time: Duration::from_millis(args.milliseconds) };
    match batch::run(target, args.seed, length, &args.current) {
        Ok(counts) => {
            println!("{}", serde_json::to_value(&counts).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
