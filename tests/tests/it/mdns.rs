//! Finding peers on a local network: two network namespaces and a veth pair between them, made and removed by the test.
//! Where namespaces are not allowed the test says so and proves nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use potluck_tests::kit::{Program, text};

use crate::program;

/// mDNS asks at the start and then every few minutes: this is for slow machines.
const PATIENCE: Duration = Duration::from_secs(60);

struct Namespaces([String; 2]);

impl Namespaces {
    /// `None`, with the reason, where they cannot be made.
    fn new() -> Result<Self, String> {
        let pid = std::process::id();
        let [a, b] = [format!("potluck-a-{pid}"), format!("potluck-b-{pid}")];
        let (one, two) = (format!("pla{}", pid % 100_000), format!("plb{}", pid % 100_000));
        ip(&["netns", "add", &a])?;
        let made = Self([a.clone(), b.clone()]);
        ip(&["netns", "add", &b])?;
        ip(&["link", "add", &one, "netns", &a, "type", "veth", "peer", "name", &two, "netns", &b])?;
        for (namespace, link, address) in [(&a, &one, "10.77.0.1/24"), (&b, &two, "10.77.0.2/24")] {
            ip(&["-n", namespace, "addr", "add", address, "dev", link])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
            ip(&["-n", namespace, "link", "set", link, "up"])?;
        }
        Ok(made)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // What was never made cannot be removed.
        self.0.iter().for_each(|name| drop(ip(&["netns", "del", name])));
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// The program inside a namespace: homes are shared through the file system.
fn inside(program: &Program, namespace: &str, home: &Path, args: &[&str]) -> Command {
    let plain = program.command(home, args);
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(plain.get_program()).args(plain.get_args());
    command
}

#[test]
fn peers_on_one_local_network_find_each_other() {
    let namespaces = match Namespaces::new() {
        Ok(namespaces) => namespaces,
        Err(reason) => return eprintln!("skipped: no network namespaces here ({reason})"),
    };
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let listen = ["/ip4/10.77.0.1/tcp/7740", "/ip4/10.77.0.2/tcp/7740"];
    let mut daemons = Vec::new();
    for (namespace, listen) in namespaces.0.iter().zip(listen) {
        let home = root.path().join(namespace);
        let args = ["up", "--stop-with-input", "--mdns", "--network", "lan", "--listen", listen];
        let child = inside(&program, namespace, &home, &args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        daemons.push((home, child.expect("ip starts")));
    }
    let deadline = Instant::now() + PATIENCE;
    let peers = |home: &Path| program.run(home, ["status"]).json["peers"].as_u64();
    // The local socket is a file: it is reached from outside the namespace.
    let met = || daemons.iter().all(|(home, _)| home.join("daemon.sock").exists() && peers(home) == Some(1));
    while !met() && Instant::now() < deadline {}
    let found: Vec<_> = daemons.iter().map(|(home, _)| (text(home), peers(home))).collect();
    for (_, child) in &mut daemons {
        drop(child.stdin.take());
        child.wait().expect("our child");
    }
    assert!(found.iter().all(|(_, peers)| *peers == Some(1)), "{found:?}");
}
