//! Processes as the system lists them: whose child is whose, and signals to them.

use std::fs;
use std::process::{Command, Stdio};

/// Sends a signal to a process, or to a group if a minus stands before its number. One that has ended gets none.
pub fn signal(name: &str, target: &str) {
    let _ended = Command::new("kill").args([&format!("-{name}"), "--", target]).stderr(Stdio::null()).status();
}

/// The processes that a process has started and that have not ended.
pub fn children(parent: u32) -> std::io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if stat(pid).is_some_and(|(state, its_parent)| its_parent == parent && is_alive(state)) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether a process is over; one that nobody has waited for yet is.
pub fn has_ended(pid: u32) -> bool {
    !stat(pid).is_some_and(|(state, _)| is_alive(state))
}

/// The most memory that a process has had, in bytes (`VmHWM`).
pub fn peak_memory(pid: u32) -> std::io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| std::io::Error::other(format!("no VmHWM of {pid}")))
}

/// Seconds of processor time that a process has used, in all its threads; its children's are not among them.
pub fn processor_seconds(pid: u32) -> std::io::Result<f64> {
    // Linux counts in hundredths here, whatever the machine.
    const TICKS: f64 = 100.0;
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS),
        _ => Err(std::io::Error::other(format!("no times of {pid}"))),
    }
}

/// Bytes that a process has made the system write to disks.
pub fn written_bytes(pid: u32) -> std::io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let written = text.lines().find_map(|line| line.strip_prefix("write_bytes:")?.trim().parse().ok());
    written.ok_or_else(|| std::io::Error::other(format!("no written bytes of {pid}")))
}

fn is_alive(state: char) -> bool {
    !matches!(state, 'Z' | 'X')
}

/// State and parent. The second field is the program's name in brackets, with anything in it.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_time_and_written_bytes() {
        let own = std::process::id();
        assert!(peak_memory(own).expect("readable") > 1 << 20);
        assert!(processor_seconds(own).expect("readable") >= 0.0);
        written_bytes(own).expect("readable");
        assert!(peak_memory(u32::MAX).is_err());
    }

    #[test]
    fn a_child_is_found_until_it_has_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        assert!(children(std::process::id()).expect("readable").contains(&child.id()));
        assert!(!has_ended(child.id()));
        signal("KILL", &child.id().to_string());
        child.wait().expect("our child");
        assert!(has_ended(child.id()));
    }
}
