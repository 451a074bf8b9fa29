//! The lists that a person writes: `bootstrap` and `allow`.

use std::path::Path;

use libp2p::{Multiaddr, PeerId};

use super::FileError;
use super::files::{lines, read};
use crate::addresses::undialable;

/// Addresses that are dialled at the start, and peers that may connect. More would be a mistake.
const BOOTSTRAP_MAX: usize = 256;
const ALLOW_MAX: usize = 4_096;

/// The addresses of a `bootstrap` file; none if there is no file.
pub fn bootstrap(path: &Path) -> Result<Vec<Multiaddr>, FileError> {
    let example = "a multiaddress, e.g. /dns4/example.org/tcp/7740, is wanted";
    let read = |entry: &str| {
        let address: Multiaddr = entry.parse().map_err(|_| example.to_owned())?;
        undialable(&address).map_or(Ok(address), Err)
    };
    Ok(list(path, BOOTSTRAP_MAX, read)?.unwrap_or_default())
}

/// The peers of an `allow` file; `None`, which allows everybody, if there is no file. An empty one allows nobody.
pub fn allow(path: &Path) -> Result<Option<Vec<PeerId>>, FileError> {
    let wanted = "a peer id, e.g. 12D3KooW..., is wanted (`potluck status` on that node prints it)";
    list(path, ALLOW_MAX, |entry| entry.parse().map_err(|_| wanted.to_owned()))
}

/// What `read` makes of each line, each thing once; `read` says why it makes nothing of one.
fn list<T: PartialEq>(
    path: &Path,
    max: usize,
    read_one: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Vec<T>>, FileError> {
    let Some(text) = read(path)? else { return Ok(None) };
    let mut all: Vec<T> = Vec::new();
    for (line, entry) in lines(&text) {
        let shown: String = entry.chars().take(80).collect();
        let wrong =
            |why: String| FileError::Line { path: path.to_path_buf(), line, reason: format!("`{shown}`: {why}") };
        let one = read_one(entry).map_err(wrong)?;
        if !all.contains(&one) {
            all.push(one);
        }
        if all.len() > max {
            return Err(FileError::TooMany { path: path.to_path_buf(), max });
        }
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_comments_and_an_error_names_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bootstrap");
        assert!(bootstrap(&path).expect("no file is no error").is_empty());
        let text =
            "# ours\n/dnsaddr/potluck.example\n\n/ip4/192.0.2.7/tcp/7740 # the old one\n/ip4/192.0.2.7/tcp/7740\n";
        std::fs::write(&path, text).expect("writable");
        let all: Vec<String> = bootstrap(&path).expect("good").iter().map(ToString::to_string).collect();
        assert_eq!(all, ["/dnsaddr/potluck.example", "/ip4/192.0.2.7/tcp/7740"]);
        std::fs::write(&path, "/dns4/a.example/tcp/1\nexample.org:7740\n").expect("writable");
        let error = bootstrap(&path).expect_err("no multiaddress").to_string();
        assert!(error.contains("bootstrap line 2: `example.org:7740`"), "{error}");
        std::fs::write(&path, "# ours\n/ip4/192.0.2.7/tcp/7740\n/ip4/192.0.2.7/tcp/7740/ws\n").expect("writable");
        let error = bootstrap(&path).expect_err("nobody can dial it").to_string();
        assert!(error.contains("bootstrap line 3: `/ip4/192.0.2.7/tcp/7740/ws`: potluck does not speak"), "{error}");
        std::fs::write(&path, "\u{feff}/ip4/192.0.2.7/tcp/7740\r\n/ip4/192.0.2.8/tcp/7740\r\n").expect("writable");
        assert_eq!(bootstrap(&path).expect("as Windows editors write it").len(), 2);
        let many: String = (0..=BOOTSTRAP_MAX).map(|n| format!("/ip4/192.0.2.7/tcp/{}\n", n + 1)).collect();
        std::fs::write(&path, many).expect("writable");
        assert!(matches!(bootstrap(&path), Err(FileError::TooMany { .. })));
    }

    #[test]
    fn an_empty_list_of_peers_allows_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("allow");
        assert_eq!(allow(&path).expect("no file is no error"), None);
        std::fs::write(&path, "# nobody yet\n").expect("writable");
        assert_eq!(allow(&path).expect("good"), Some(Vec::new()));
        let peer = PeerId::random();
        std::fs::write(&path, format!("{peer} # a friend\n")).expect("writable");
        assert_eq!(allow(&path).expect("good"), Some(vec![peer]));
        std::fs::write(&path, "me\n").expect("writable");
        assert!(allow(&path).expect_err("no peer").to_string().contains("allow line 1"));
    }
}
