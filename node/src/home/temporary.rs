//! The names of what lies in `tmp/` and `staged/`: given here and nowhere else, so that the next start knows its own.

use std::path::Path;

use potluck_protocol::id::ShardId;
use potluck_trainer::removal;
use tempfile::TempDir;

/// What a temporary folder is for; its name begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An adapter in the form in which it is published.
    Publish,
    /// A base that is looked at.
    Base,
    /// A version that is folded.
    Version,
    /// A shard of evaluation rows.
    Sealed,
}

const PURPOSES: [Purpose; 4] = [Purpose::Publish, Purpose::Base, Purpose::Version, Purpose::Sealed];
/// Random characters at the end of a name.
const RANDOM: usize = 6;
/// Small files that wait for their name.
pub const FILE: &str = "file";
/// What the library for temporary files calls its own.
const UNNAMED: &str = ".tmp";

impl Purpose {
    fn prefix(self) -> &'static str {
        match self {
            Self::Publish => "publish-",
            Self::Base => "base-",
            Self::Version => "version-",
            Self::Sealed => "sealed-",
        }
    }
}

/// A private folder in `tmp/`, removed when dropped.
pub fn folder(tmp: &Path, purpose: Purpose) -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(purpose.prefix()).rand_bytes(RANDOM);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir_in(tmp)
}

/// Whether only this program gives such a name to what lies in `tmp/`.
pub fn is_ours(name: &str) -> bool {
    let random = |end: &str| end.len() == RANDOM && end.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let prefixes = PURPOSES.map(Purpose::prefix).into_iter().chain([UNNAMED]);
    prefixes.filter_map(|prefix| name.strip_prefix(prefix)).any(random) || is_numbered(name, |stem| stem == FILE)
}

/// The same for `staged/`: a shard's id and a number.
pub fn is_staged(name: &str) -> bool {
    is_numbered(name, |stem| stem.parse::<ShardId>().is_ok())
}

fn is_numbered(name: &str, stem: impl Fn(&str) -> bool) -> bool {
    name.split_once('.').is_some_and(|(start, number)| stem(start) && number.parse::<u64>().is_ok())
}

/// Removes what an earlier process left in `tmp/`: it was never acknowledged. What cannot be removed now, because a worker
/// of a process that was killed still writes there, goes at the next start.
pub fn sweep(tmp: &Path) {
    if tmp.is_symlink() {
        return;
    }
    let Ok(listed) = std::fs::read_dir(tmp) else { return };
    for path in listed.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours)
            && let Err(error) = removal::temporary(&path, is_ours)
        {
            tracing::debug!(%error, path = %path.display(), "it stays until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_told_from_a_persons() {
        let root = tempfile::tempdir().expect("a folder");
        for purpose in PURPOSES {
            let made = folder(root.path(), purpose).expect("writable");
            assert!(is_ours(made.path().file_name().and_then(|name| name.to_str()).expect("UTF-8")));
        }
        let unnamed = tempfile::NamedTempFile::new_in(root.path()).expect("writable");
        assert!(is_ours(unnamed.path().file_name().and_then(|name| name.to_str()).expect("UTF-8")));
        assert!(is_ours("file.0") && is_ours("file.17"));
        for name in
            ["file", "file.txt", "file.1.bak", "publish-", "publish-my-adapter", "thesis", "base-x", "tmp123456"]
        {
            assert!(!is_ours(name), "{name}");
        }
        assert!(is_staged(&format!("{}.3", "ab".repeat(32))) && !is_staged("results.csv") && !is_staged("ab.3"));
    }

    /// A worker whose parent was killed goes on writing while the next process starts.
    #[test]
    fn a_sweep_that_somebody_races_is_no_error() {
        let root = tempfile::tempdir().expect("a folder");
        let busy = root.path().join("publish-abcdef/adapter");
        let (stop, writing) = (std::sync::atomic::AtomicBool::new(false), busy.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0.. {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    let _swept = std::fs::create_dir_all(&writing);
                    let _swept = std::fs::write(writing.join(n.to_string()), b"x");
                }
            });
            (0..200).for_each(|_| sweep(root.path()));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        sweep(root.path());
        assert!(!busy.exists(), "once nobody writes it goes");
    }
}
