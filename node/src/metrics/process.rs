//! What the system says about this process.

/// Resident memory in bytes; `None` where the system does not say it in a file.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| parsed(line.strip_prefix("VmRSS:")?))
}

/// `  1234 kB`
fn parsed(text: &str) -> Option<u64> {
    let number = text.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_are_read_and_nonsense_is_not() {
        assert_eq!(parsed("\t  2048 kB"), Some(2 << 20));
        assert_eq!(parsed("2048"), None);
        assert_eq!(parsed("x kB"), None);
        #[cfg(target_os = "linux")]
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
