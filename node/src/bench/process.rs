//! What a process has used, where the system tells it (Linux).

use serde::Serialize;

/// Of one daemon.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Used {
    /// Most memory that it held at once, MB; files that the system caches for it do not count.
    pub peak_rss_mb: Option<f64>,
    /// Processor time, all threads, seconds.
    pub cpu_seconds: Option<f64>,
}

/// Of the process with that number.
pub fn used(pid: u32) -> Used {
    Used { peak_rss_mb: peak_rss_mb(pid), cpu_seconds: cpu_seconds(pid) }
}

fn peak_rss_mb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib * 1024.0 / 1e5).round() / 10.0)
}

/// Fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second on every Linux; the name before them may hold spaces.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / 100.0)
}
