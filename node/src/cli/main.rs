//! From the command line to an exit code.

use std::convert::Infallible;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde::Serialize;

use super::args::{Cli, Verb};
use super::global::Global;
use super::{
    base, bench, channel, data, demo, eval, generate, merge, network, output, peers, progress, publish, pull, search,
    show, status, store, train, up, verify,
};
use crate::api::ask::Envelope;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::signals;

/// Files that may be open at once, as far as the system lets us: 4,096 inputs of a recipe, and room for a swarm.
const OPEN_FILES: u64 = 16_384;
/// A verb that was asked to end may take so long before a word is said of it.
const SLOW: Duration = Duration::from_secs(1);

/// Parses, runs, prints. Never panics on input.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error),
    };
    // A store and a swarm, and a fold of thousands of adapters, have more files open than most shells let a program have.
    // Where that cannot be had the system's bound says so when it is met.
    let _bound = rlimit::increase_nofile_limit(OPEN_FILES);
    if matches!(cli.verb, Verb::Worker) {
        return finish(&cli.global, crate::worker::child::run());
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(config::log_filter()))
        .with_writer(std::io::stderr)
        .with_ansi(config::colours())
        // Where standard error is gone, a line that cannot be written is no reason to panic.
        .log_internal_errors(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return finish(&cli.global, Err(Failure::io("start the runtime", &error))),
    };
    let outcome = runtime.block_on(with_signals(&cli.global, dispatch(&cli)));
    // A blocking read of a terminal must not hold up the end.
    runtime.shutdown_background();
    finish(&cli.global, outcome)
}

/// Runs a verb with the signals heard: each verb ends in its own order once it is asked to, and is dropped once it is to
/// end at once.
async fn with_signals(global: &Global, verb: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    tokio::spawn(signals::listen().map_err(|error| Failure::io("listen for signals", &error))?);
    tokio::select! {
        biased;
        () = signals::requests().at_once.cancelled_owned() => Err(Failure::interrupted()),
        outcome = verb => outcome,
        never = hint_if_slow(global) => match never {},
    }
}

/// Tells whoever has asked a verb to end, and still waits, how to wait no longer.
async fn hint_if_slow(global: &Global) -> Infallible {
    signals::requests().to_end.cancelled_owned().await;
    tokio::time::sleep(SLOW).await;
    if !global.quiet {
        progress::note("stopping at the next safe point; press Ctrl-C again to stop at once");
    }
    std::future::pending().await
}

/// Help and version are answers, not errors; both print to where they belong. With `--json` a usage error is an object as
/// every other error is.
fn report_usage(error: &clap::Error) -> ExitCode {
    let _closed_pipe = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if config::wants_json() {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let failure = Failure::new(Kind::Usage, message).hint("see `potluck --help`, or `potluck VERB --help`");
        print_error(&failure);
    }
    ExitCode::from(Kind::Usage as u8)
}

fn finish(global: &Global, outcome: Outcome<()>) -> ExitCode {
    let outcome = outcome.and_then(|()| output::lost().map_or(Ok(()), Err));
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    let mut stderr = std::io::stderr().lock();
    for line in output::failure(&failure) {
        // If standard error is closed there is nobody to tell.
        let _closed = writeln!(stderr, "{line}");
    }
    if global.json {
        print_error(&failure);
    }
    ExitCode::from(failure.kind as u8)
}

/// The error for programs.
fn print_error(failure: &Failure) {
    let error = Failed { code: failure.kind as u8, error: failure };
    // A failure that is no JSON is told on standard error alone.
    if let Ok(text) = serde_json::to_string(&Envelope { schema: Failed::SCHEMA, body: &error }) {
        output::object(&text);
    }
}

/// What programs get in the place of an answer.
#[derive(Serialize)]
struct Failed<'a> {
    /// The exit code.
    code: u8,
    error: &'a Failure,
}

impl Failed<'_> {
    /// Name and version of the form.
    const SCHEMA: &'static str = "potluck.error/1";
}

async fn dispatch(cli: &Cli) -> Outcome<()> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Demo(verb) => demo::run(global, verb).await,
        Verb::Up(verb) => up::run(global, verb).await,
        Verb::Status => status::run(global).await,
        Verb::Peers => peers::run(global).await,
        Verb::Network(verb) => network::run(global, verb),
        Verb::Base(verb) => base::run(global, verb).await,
        Verb::Channel(verb) => channel::run(global, verb).await,
        Verb::Train(verb) => train::run(global, verb).await,
        Verb::Eval(verb) => eval::run(global, verb).await,
        Verb::Generate(verb) => generate::run(global, verb).await,
        Verb::Data(verb) => data::run(global, verb).await,
        Verb::Publish(verb) => publish::run(global, verb).await,
        Verb::Search(verb) => search::run(global, verb).await,
        Verb::Show { reference } => show::run(global, reference).await,
        Verb::Pull(verb) => pull::run(global, verb).await,
        Verb::Verify { id } => verify::run(global, id).await,
        Verb::Merge(verb) => merge::run(global, verb).await,
        Verb::Store(verb) => store::run(global, verb).await,
        Verb::Bench(verb) => bench::run(global, verb).await,
        Verb::Worker => Ok(()),
    }
}
