//! Real processes for tests: the program, its homes, and daemons on loopback.
//!
//! Every process is killed when its handle is dropped. Nothing here sleeps: a daemon is ready when it says so.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use potluck_node::api::ask::{self, Ask};
use serde_json::Value;

/// Set in the environment of this crate's own program, it makes it be `potluck`.
pub const AS_PROGRAM: &str = "POTLUCK_TESTS_AS_PROGRAM";

/// The program under test, as the test's own build made it.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// What it is started with, if not by itself.
    within: Vec<String>,
    /// The path is the one of this crate's program, which holds the other one.
    disguised: bool,
}

/// What a command came to.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    /// The last line of standard output, if it is JSON.
    pub json: Value,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    pub fn new(path: &str) -> Self {
        Self { path: PathBuf::from(path), within: Vec::new(), disguised: false }
    }

    /// The program that is compiled into the one that runs: long runs never meet an old one.
    pub fn this() -> std::io::Result<Self> {
        Ok(Self { path: std::env::current_exe()?, within: Vec::new(), disguised: true })
    }

    /// The program at a path, or else [`Self::this`].
    pub fn at(path: Option<&Path>) -> std::io::Result<Self> {
        match path {
            Some(path) => Ok(Self { path: std::path::absolute(path)?, within: Vec::new(), disguised: false }),
            None => Self::this(),
        }
    }

    /// The same program, in a network namespace. Homes are shared through the file system.
    pub fn inside(&self, namespace: &str) -> Self {
        let within = ["ip", "netns", "exec", namespace].map(str::to_owned).to_vec();
        Self { within, ..self.clone() }
    }

    /// A command on a home, with `--json`.
    pub fn command<A: AsRef<OsStr>>(&self, home: &Path, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = match self.within.split_first() {
            Some((first, rest)) => {
                let mut outer = Command::new(first);
                outer.args(rest).arg(&self.path);
                outer
            }
            None => Command::new(&self.path),
        };
        if self.disguised {
            command.env(AS_PROGRAM, "1");
        }
        command.arg("--home").arg(home).arg("--json").args(args).stdin(Stdio::null());
        command.env_remove("POTLUCK_HOME").env_remove("POTLUCK_FAILPOINT");
        command
    }

    /// Runs a command to its end.
    pub fn run<A: AsRef<OsStr>>(&self, home: &Path, args: impl IntoIterator<Item = A>) -> Answer {
        answer(self.command(home, args).output().expect("the program starts"))
    }

    /// Runs a command that must succeed.
    pub fn ok<A: AsRef<OsStr>>(&self, home: &Path, args: impl IntoIterator<Item = A>) -> Value {
        let answer = self.run(home, args);
        assert_eq!(answer.code, 0, "{answer:#?}");
        answer.json
    }

    /// Runs a command that must succeed; its answer, as the type that belongs to the request which the command sends.
    pub fn answer<R: Ask>(&self, home: &Path, args: &[&str]) -> R::Answer {
        ask::open::<R>(self.ok(home, args)).unwrap_or_else(|failure| panic!("{args:?}: {failure}"))
    }

    /// Makes a home, by the verb that has nothing to do in an empty one: those that only look make none.
    pub fn make_home(&self, home: &Path) {
        self.ok(home, ["store", "rebuild"]);
    }

    /// Starts a daemon and waits until it says where it listens.
    pub fn up(&self, home: &Path, network: &str, bootstrap: &[&str]) -> Up {
        let mut args = vec!["up", "--stop-with-input", "--network", network, "--listen", "/ip4/127.0.0.1/tcp/0"];
        bootstrap.iter().for_each(|address| args.extend(["--bootstrap", address]));
        self.up_with(home, &args, &[])
    }

    /// Starts a daemon with arguments and environment of the caller's.
    pub fn up_with(&self, home: &Path, args: &[&str], environment: &[(&str, &str)]) -> Up {
        let mut command = self.command(home, args);
        command.envs(environment.iter().copied());
        self.ready(home, command)
    }

    /// Starts a daemon whose log is appended to a file.
    pub fn up_logged(&self, home: &Path, args: &[&str], log: &Path) -> Up {
        let mut command = self.command(home, args);
        command.stderr(std::fs::File::options().create(true).append(true).open(log).expect("writable"));
        self.ready(home, command)
    }

    fn ready(&self, home: &Path, mut command: Command) -> Up {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the daemon did not come up: {line}"));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let metrics = ready["metrics"].as_str().map(str::to_owned);
        let (peer, address) = (text(&ready["peer"]), text(&ready["addresses"][0]));
        Up { child, peer, address, home: home.to_path_buf(), metrics }
    }
}

/// The outcome of a finished process.
pub fn answer(output: Output) -> Answer {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
    // A process that a signal ended has no code.
    let code = output.status.code().unwrap_or(-1);
    Answer { code, json, stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// A running daemon.
#[derive(Debug)]
pub struct Up {
    child: Child,
    pub peer: String,
    pub address: String,
    pub home: PathBuf,
    /// Where it serves metrics.
    pub metrics: Option<String>,
}

impl Up {
    /// kill -9, and the end of the process.
    pub fn kill(&mut self) {
        // Both fail only if it is dead already.
        let _dead = self.child.kill();
        let _dead = self.child.wait();
    }

    /// Ends the daemon as its user would, and waits for it.
    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("our child");
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("the system has it").success(), "{name}");
    }

    /// Waits for its end; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().expect("our child").code()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it serves as metrics.
    pub fn metrics_page(&self) -> std::io::Result<String> {
        use std::io::{Read, Write};
        let address = self.metrics.as_deref().ok_or(std::io::ErrorKind::NotConnected)?;
        let mut stream = std::net::TcpStream::connect(address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        if page.contains("potluck_build_info") { Ok(page) } else { Err(std::io::Error::other(page)) }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A small adapter over `tiny`, trained for a moment: enough to be published and pulled.
pub fn train_adapter(program: &Program, home: &Path, folder: &Path, seed: u64) {
    let data = folder.with_extension("jsonl");
    let rows: String =
        (0..8).map(|n| format!("{{\"prompt\":\"say {n}:\",\"completion\":\"{}\"}}\n", n * seed)).collect();
    std::fs::write(&data, rows).expect("writable");
    let (out, data, seed) = (text(folder), text(&data), seed.to_string());
    let args =
        ["train", "--base", "tiny", "--data", &data, "--out", &out, "--max-steps", "3", "--r", "4", "--seed", &seed];
    program.ok(home, args.iter().chain(&["--learning-rate", "1e-3", "--warmup-steps", "0"]));
}

/// Copies a folder with everything in it, such as a home that nobody uses, into one that may be there already.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("room");
        }
    }
}

/// Paths of tests are UTF-8.
pub fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}
