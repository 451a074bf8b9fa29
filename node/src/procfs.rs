//! What Linux says of a process in `/proc`. Where there is no `/proc`, nothing is known.

#![expect(clippy::disallowed_methods, reason = "files of the kernel, short and never a pipe")]

use std::fs;

/// A field of `/proc/PROCESS/status` as it stands there, without the spaces around it. `process` is a number or `self`.
pub fn status(process: &str, name: &str) -> Option<String> {
    field(&fs::read_to_string(format!("/proc/{process}/status")).ok()?, name).map(str::to_owned)
}

/// A field of `/proc/PROCESS/status` that is an amount of memory, in bytes.
pub fn memory(process: &str, name: &str) -> Option<u64> {
    bytes(&status(process, name)?)
}

/// Processor time of all threads of a process, in seconds.
pub fn cpu_seconds(process: &str) -> Option<f64> {
    ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?).map(|ticks| ticks / 100.0)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// `1234 kB`
fn bytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second on every Linux; the name before them may hold spaces.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_nonsense_is_not() {
        let status = "Name:\tpotluck\nVmRSS:\t    2048 kB\nSigIgn:\t0000000000001001\n";
        assert_eq!(field(status, "VmRSS").and_then(bytes), Some(2 << 20));
        assert_eq!(field(status, "SigIgn"), Some("0000000000001001"));
        assert_eq!(field(status, "VmR"), None, "a name is whole");
        assert_eq!(bytes("2048"), None);
        assert_eq!(bytes("x kB"), None);
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(ticks(stat), Some(300.0));
        #[cfg(target_os = "linux")]
        assert!(memory("self", "VmRSS").is_some_and(|bytes| bytes > 1 << 20));
    }
}
