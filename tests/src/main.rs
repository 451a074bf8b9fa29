//! `potluck-tests`: checks and long runs that are no part of `cargo test`.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what fails here fails the run"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use potluck_tests::check_demo::{self, Demands};
use potluck_tests::hostile::{self, Setting, Sizes};
use potluck_tests::{check_losses, crash, full_disk, fuzz, kit, side_by_side, skills, soak};

/// Counts only while an input is read.
#[global_allocator]
static ALLOCATOR: fuzz::Counting = fuzz::Counting;

#[derive(Parser)]
#[command(about = "Checks potluck from outside")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check what `potluck demo --json` printed
    CheckDemo {
        /// Its standard output; the last line is the report
        file: PathBuf,
        #[command(flatten)]
        demands: Demands,
    },
    /// Check that `potluck bench step --json` gave the losses of a reference
    CheckLosses {
        /// Its standard output
        measured: PathBuf,
        /// The reference, with `losses`
        reference: PathBuf,
        #[command(flatten)]
        demands: check_losses::Demands,
    },
    /// Run PEFT and potluck in turn, compare speed, memory and losses, and print a table
    SideBySide(Box<side_by_side::SideBySide>),
    /// Four publishers teach a base four skills through a channel; what it comes to is measured and judged
    Skills(skills::Skills),
    /// Run a soak
    Soak {
        /// A name that `soaks` lists
        name: String,
        /// The same seed gives the same run
        #[arg(long)]
        seed: u64,
        /// For `skew`: the program of another version that runs beside this one
        #[arg(long, value_name = "PATH")]
        old: Option<PathBuf>,
        /// For the simulations: so many seeds from this one on [default: 1000]
        #[arg(long, value_name = "N")]
        seeds: Option<u64>,
        #[command(flatten)]
        hostile: soak::hostile::Options,
    },
    /// List the soaks
    Soaks,
    /// Attack daemons of a program on loopback, and hold what comes of it against what is promised
    Attack {
        /// A name that `attacks` lists
        name: String,
        /// The program [default: the one that this one was built with]
        #[arg(long, value_name = "PATH")]
        potluck: Option<PathBuf>,
        /// The same seed gives the same keys
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        sizes: Sizes,
    },
    /// List the attacks
    Attacks,
    /// Give every parser of strangers' bytes changed inputs
    Fuzz(fuzz::command::Fuzz),
    /// Be one batch of `fuzz`
    #[command(hide = true)]
    FuzzBatch(fuzz::command::FuzzBatch),
    /// Work in a home until killed: for tests
    #[command(hide = true)]
    CrashChild { home: PathBuf, seed: u64, steps: u64 },
    /// Look in a home for the acknowledgements on standard input: for tests
    #[command(hide = true)]
    CrashCheck { home: PathBuf },
    /// Be the node that is flooded: for the soak
    #[command(hide = true)]
    FloodTarget { home: PathBuf },
    /// Fill a disk: for tests
    #[command(hide = true)]
    FullDiskChild { disk: PathBuf },
}

fn main() -> ExitCode {
    // Long runs start the program that they were built with: it is this one.
    // A worker of the program is given nothing of the environment that says so.
    let worker = std::env::args_os().nth(1).is_some_and(|verb| verb == "worker");
    if worker || std::env::var_os(kit::AS_PROGRAM).is_some() {
        return potluck_node::cli::main();
    }
    match Args::parse().command {
        Command::CheckDemo { file, demands } => check_demo(&file, &demands),
        Command::CheckLosses { measured, reference, demands } => check_losses(&measured, &reference, &demands),
        Command::SideBySide(args) => side_by_side(&args),
        Command::Skills(args) => skills(&args),
        Command::Soak { name, seed, old, seeds, hostile } => run_soak(&name, seed, old.as_deref(), seeds, &hostile),
        Command::Fuzz(args) => fuzz::command::run(&args),
        Command::FuzzBatch(args) => fuzz::command::run_batch(&args),
        Command::CrashChild { home, seed, steps } => end(crash::child(&home, seed, steps, crash::print)),
        Command::CrashCheck { home } => end(crash::check_input(&home)),
        Command::FloodTarget { home } => end(soak::flood::child(&home)),
        Command::FullDiskChild { disk } => end(full_disk::child(&disk)),
        Command::Soaks => {
            for soak in soak::ALL {
                println!("{:16} {}", soak.name, soak.about);
            }
            ExitCode::SUCCESS
        }
        Command::Attack { name, potluck, seed, sizes } => attack(&name, potluck.as_deref(), seed, sizes),
        Command::Attacks => {
            for attack in hostile::ALL {
                println!("{:4} {}", attack.name, attack.about);
            }
            ExitCode::SUCCESS
        }
    }
}

fn attack(name: &str, potluck: Option<&std::path::Path>, seed: u64, sizes: Sizes) -> ExitCode {
    let Some(attack) = hostile::ALL.iter().find(|attack| attack.name == name) else {
        eprintln!("there is no attack `{name}`; `potluck-tests attacks` lists those that are");
        return ExitCode::from(2);
    };
    let found = kit::Program::at(potluck).map_err(Into::into);
    match found.and_then(|program| attack.run(&Setting { program, seed, sizes })) {
        Ok(found) => {
            println!("{}", found.figures);
            if found.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{name} with seed {seed}: {error}");
            if error.is::<hostile::NotAttacked>() { ExitCode::from(NOT_ATTACKED) } else { ExitCode::FAILURE }
        }
    }
}

/// An attack did not come about: it shows neither that what is promised holds nor that it does not.
const NOT_ATTACKED: u8 = 3;

fn end(outcome: crash::Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check_demo(file: &std::path::Path, demands: &Demands) -> ExitCode {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("cannot read {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    };
    let report = match check_demo::Report::parse(&text) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{}: the last line is no `potluck.demo/2` report: {error}", file.display());
            return ExitCode::FAILURE;
        }
    };
    print!("{}", report.summary());
    let findings = report.findings(demands);
    for finding in &findings {
        eprintln!("does not hold: {finding}");
    }
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn skills(args: &skills::Skills) -> ExitCode {
    match skills::run(args) {
        Ok((report, findings)) => {
            report.measured.iter().for_each(|measured| eprintln!("{}", measured.line()));
            println!("{}", serde_json::to_value(&report).unwrap_or_default());
            findings.iter().for_each(|finding| eprintln!("does not hold: {finding}"));
            if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_soak(
    name: &str,
    seed: u64,
    old: Option<&std::path::Path>,
    seeds: Option<u64>,
    hostile: &soak::hostile::Options,
) -> ExitCode {
    let Some(soak) = soak::ALL.iter().find(|soak| soak.name == name) else {
        eprintln!("there is no soak `{name}`; `potluck-tests soaks` lists those that are");
        return ExitCode::from(2);
    };
    let simulated = [soak::simulated_swarm::NAME, soak::simulated_strangers::NAME].contains(&name);
    if seeds.is_some() && !simulated {
        eprintln!("`--seeds` belongs to the soaks `simulated-strangers` and `simulated-swarm`");
        return ExitCode::from(2);
    }
    let outcome = match (name, old) {
        ("hostile", None) => soak::hostile::run_with(seed, hostile),
        (soak::skew::NAME, Some(old)) if !hostile.are_given() => soak::skew::run(seed, old),
        (_, Some(_)) => {
            eprintln!("`--old` belongs to the soak `skew`");
            return ExitCode::from(2);
        }
        (soak::simulated_swarm::NAME, None) if !hostile.are_given() => {
            soak::simulated_swarm::run_with(seed, seeds.unwrap_or(soak::simulated_swarm::SEEDS))
        }
        (soak::simulated_strangers::NAME, None) if !hostile.are_given() => {
            soak::simulated_strangers::run_with(seed, seeds.unwrap_or(soak::simulated_swarm::SEEDS))
        }
        _ if hostile.are_given() => {
            eprintln!("`--minutes` and `--potluck` belong to the soak `hostile`");
            return ExitCode::from(2);
        }
        _ => (soak.run)(seed),
    };
    match outcome {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name} with seed {seed}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check_losses(measured: &std::path::Path, reference: &std::path::Path, demands: &check_losses::Demands) -> ExitCode {
    match check_losses::check(measured, reference, demands) {
        Ok(largest) => {
            println!("the losses are the reference's within {largest:e}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn side_by_side(args: &side_by_side::SideBySide) -> ExitCode {
    match side_by_side::run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("not everything that was promised holds: see the table");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
