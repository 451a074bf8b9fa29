//! A public network segment, and networks behind NATs beside it: namespaces, made and removed here.

use std::io::Write;
use std::process::{Command, Stdio};

/// What stands between a node and the public segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Open,
    /// A port-restricted cone.
    Cone,
    Symmetric,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Open, Self::Cone, Self::Symmetric];

    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cone => "cone",
            Self::Symmetric => "symmetric",
        }
    }

    fn rules(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Cone => Some(include_str!("../../nat/cone.nft")),
            Self::Symmetric => Some(include_str!("../../nat/symmetric.nft")),
        }
    }

    /// A hole can be made where each side's outer port for the other one is known beforehand, or one side needs none.
    pub fn meets_directly(self, other: Self) -> bool {
        match (self, other) {
            (Self::Open, _) | (_, Self::Open) | (Self::Cone, Self::Cone) => true,
            (Self::Symmetric, _) | (_, Self::Symmetric) => false,
        }
    }
}

/// One public segment, 198.51.100.0/24, with everything behind it.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    namespaces: Vec<String>,
}

impl Lab {
    /// The reason why no lab can be made on this machine.
    pub fn try_out() -> Result<(), String> {
        let mut lab = Self::new(usize::MAX)?;
        Kind::ALL.into_iter().zip(2..).try_for_each(|(kind, host)| lab.place(kind.name(), kind, host).map(drop))
    }

    pub fn new(number: usize) -> Result<Self, String> {
        let mut lab = Self { prefix: format!("potluck-{}-{number}", std::process::id()), namespaces: Vec::new() };
        let segment = lab.namespace("segment")?;
        ip(&["-n", &segment, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &segment, "link", "set", "bridge", "up"])?;
        Ok(lab)
    }

    /// A namespace for a node, behind its own router unless it is open. Hosts are told apart by `host`.
    pub fn place(&mut self, name: &str, kind: Kind, host: u8) -> Result<String, String> {
        let Some(rules) = kind.rules() else { return self.public(name, host) };
        let router = self.public(&format!("{name}-router"), host)?;
        let inner = self.namespace(name)?;
        ip(&["link", "add", "lan", "netns", &router, "type", "veth", "peer", "name", "lan", "netns", &inner])?;
        address(&router, "lan", &format!("10.0.{host}.1/24"))?;
        address(&inner, "lan", &format!("10.0.{host}.2/24"))?;
        ip(&["-n", &inner, "route", "add", "default", "via", &format!("10.0.{host}.1")])?;
        inside(&router, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], "")?;
        inside(&router, &["nft", "-f", "-"], rules)?;
        Ok(inner)
    }

    /// Limits what a namespace on the public segment sends, in bytes a second.
    pub fn shape(&self, namespace: &str, bytes_per_second: u64) -> Result<(), String> {
        let rate = format!("{}bit", 8 * bytes_per_second);
        let shape = ["qdisc", "add", "dev", "wan", "root", "tbf", "rate", &rate, "burst", "256kb", "latency", "50ms"];
        inside(namespace, &[&["tc"], &shape[..]].concat(), "")
    }

    /// Bytes that it has sent, headers included.
    pub fn sent(&self, namespace: &str) -> Result<u64, String> {
        let path = "/sys/class/net/wan/statistics/tx_bytes";
        let args = ["netns", "exec", namespace, "cat", path];
        let output = Command::new("ip").args(args).output().map_err(|error| format!("ip: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().map_err(|error| format!("{path} in {namespace}: `{}`: {error}", text.trim()))
    }

    /// A namespace on the public segment.
    fn public(&mut self, name: &str, host: u8) -> Result<String, String> {
        let (segment, port) = (format!("{}-segment", self.prefix), format!("to{host}"));
        let namespace = self.namespace(name)?;
        ip(&["link", "add", "wan", "netns", &namespace, "type", "veth", "peer", "name", &port, "netns", &segment])?;
        ip(&["-n", &segment, "link", "set", &port, "master", "bridge"])?;
        ip(&["-n", &segment, "link", "set", &port, "up"])?;
        address(&namespace, "wan", &format!("198.51.100.{host}/24"))?;
        Ok(namespace)
    }

    fn namespace(&mut self, name: &str) -> Result<String, String> {
        let namespace = format!("{}-{name}", self.prefix);
        ip(&["netns", "add", &namespace])?;
        self.namespaces.push(namespace.clone());
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What cannot be removed stays until the machine starts anew; there is nobody to tell.
        self.namespaces.iter().for_each(|name| drop(ip(&["netns", "del", name])));
    }
}

fn address(namespace: &str, link: &str, address: &str) -> Result<(), String> {
    ip(&["-n", namespace, "addr", "add", address, "dev", link])?;
    ip(&["-n", namespace, "link", "set", link, "up"])
}

fn ip(args: &[&str]) -> Result<(), String> {
    run("ip", args, "")
}

fn inside(namespace: &str, args: &[&str], input: &str) -> Result<(), String> {
    let all: Vec<_> = ["netns", "exec", namespace].into_iter().chain(args.iter().copied()).collect();
    run("ip", &all, input)
}

fn run(program: &str, args: &[&str], input: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{program} {}: {error}", args.join(" "));
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that takes no input may have ended already.
        let _ended = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}
