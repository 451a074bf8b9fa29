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
    fn a_child_is_found_until_it_has_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        assert!(children(std::process::id()).expect("readable").contains(&child.id()));
        assert!(!has_ended(child.id()));
        signal("KILL", &child.id().to_string());
        child.wait().expect("our child");
        assert!(has_ended(child.id()));
    }
}
