//! Where things are: the one file that reads the environment and the platform's folders.

#![expect(clippy::disallowed_methods, reason = "the one file that reads the environment")]

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Kind, Outcome};
use crate::hub;

/// The home folder: `--home`, else `POTLUCK_HOME`, else the platform's data folder.
pub fn home(flag: Option<&Path>) -> Outcome<PathBuf> {
    let chosen = flag
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os("POTLUCK_HOME").filter(|value| !value.is_empty()).map(PathBuf::from))
        .or_else(|| directories::ProjectDirs::from("", "", "potluck").map(|dirs| dirs.data_dir().to_path_buf()));
    let home = chosen.ok_or_else(|| {
        Failure::new(Kind::Usage, "this system names no home folder for its user")
            .hint("say where potluck keeps its data: `potluck --home DIR ...`")
    })?;
    absolute(&home)
}

/// This program, to start it again as a daemon or a worker.
pub fn program() -> Outcome<PathBuf> {
    // On Linux the very file that runs, even if an update has replaced it since: both sides stay of one version.
    let running = Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() {
        return Ok(running.to_path_buf());
    }
    std::env::current_exe().map_err(|error| Failure::io("find the potluck program itself", &error))
}

/// The Hugging Face Hub and its cache, by the variables of its own programs (docs/hub.md).
pub fn hub() -> Outcome<hub::Settings> {
    let home = directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_path_buf());
    let settings = hub::read_settings(|name| std::env::var_os(name), home.as_deref()).map_err(hub::HubError::from)?;
    Ok(hub::Settings { cache: absolute(&settings.cache)?, ..settings })
}

/// What a worker gets of the environment: where the system's libraries and short-lived files are, and what tests set.
/// Nothing else, least of all tokens: it reads what strangers wrote.
const WORKERS: [&str; 8] = [
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    // On Windows.
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "RUST_BACKTRACE",
    "POTLUCK_FAILPOINT",
];

/// The environment of a worker.
pub fn worker_environment() -> impl Iterator<Item = (&'static str, OsString)> {
    WORKERS.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

/// A folder for short-lived files.
pub fn temporary() -> PathBuf {
    std::env::temp_dir()
}

/// The user's own folder for sockets, where the system has one.
pub fn runtime() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The log filter: `POTLUCK_LOG`, in the syntax of `tracing`; warnings by default.
pub fn log_filter() -> String {
    // Kademlia warns whenever nobody is there to be asked, as at every start.
    std::env::var("POTLUCK_LOG").unwrap_or_else(|_| "warn,libp2p_kad=error".to_owned())
}

/// Whether what is written to standard error may have colours: on a terminal that knows them, unless `NO_COLOR` is set.
pub fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    std::io::stderr().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The absolute form of a path that a person gave, so that the daemon finds it too. It travels there as text.
pub fn absolute(path: &Path) -> Outcome<PathBuf> {
    let absolute =
        std::path::absolute(path).map_err(|error| Failure::io(format!("the path `{}`", path.display()), &error))?;
    if absolute.to_str().is_none() {
        return Err(Failure::new(Kind::Usage, format!("the path {} is not UTF-8", absolute.display()))
            .hint("rename it, or make a link to it whose name is UTF-8"));
    }
    Ok(absolute)
}

/// The wall clock, for statements that people read and for notes that outlive the process: nothing that must be right is
/// decided by it.
pub fn milliseconds_since_1970() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The same in microseconds.
pub fn microseconds_since_1970() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// The same in whole seconds.
pub fn seconds_since_1970() -> u64 {
    milliseconds_since_1970() / 1000
}

/// Whether a command line that could not be parsed asks for JSON; what follows `--` is no flag.
pub fn wants_json() -> bool {
    std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}
