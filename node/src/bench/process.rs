//! What a process has used, where the system tells it (Linux).

use serde::Serialize;

use crate::procfs;

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
    let process = pid.to_string();
    let megabytes = |bytes: u64| (bytes as f64 / 1e5).round() / 10.0;
    Used { peak_rss_mb: procfs::memory(&process, "VmHWM").map(megabytes), cpu_seconds: procfs::cpu_seconds(&process) }
}
