//! What names a repository of the hub: `OWNER/NAME` or `OWNER/NAME@REVISION`.

use std::fmt;
use std::str::FromStr;

/// The hub's own bound on a name.
const PART_MAX: usize = 96;
const REVISION_MAX: usize = 128;
/// What the hub calls the newest commit.
const NEWEST: &str = "main";

/// A model on the hub. Its parts are safe in paths and URLs. // I13
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    repository: String,
    revision: String,
}

impl HubId {
    /// `OWNER/NAME`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// A branch, a tag or a commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The part after the slash: what the base is called here if nobody says otherwise.
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// In the cache.
    pub(super) fn folder(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }

    /// In the API's addresses. A revision may have slashes.
    pub(super) fn route(&self) -> String {
        format!("models/{}/revision/{}", self.repository, self.revision.replace('/', "%2F"))
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if self.revision == NEWEST { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// Why a text names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hub id; give OWNER/NAME or OWNER/NAME@REVISION")]
pub struct NoHubId(String);

impl FromStr for HubId {
    type Err = NoHubId;

    fn from_str(text: &str) -> Result<Self, NoHubId> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, NEWEST));
        let parts: Vec<_> = repository.split('/').collect();
        let good = matches!(parts[..], [owner, name] if is_part(owner) && is_part(name)) && is_revision(revision);
        if good {
            Ok(Self { repository: repository.to_owned(), revision: revision.to_owned() })
        } else {
            Err(NoHubId(text.chars().take(80).collect()))
        }
    }
}

fn plain(text: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && !text.starts_with(['.', '-']) && text.bytes().all(safe)
}

/// `--` stands for the slash in the cache's folder names.
fn is_part(part: &str) -> bool {
    part.len() <= PART_MAX && plain(part) && !part.contains("--") && !part.contains("..") && !part.ends_with(".git")
}

fn is_revision(text: &str) -> bool {
    text.len() <= REVISION_MAX && text.split('/').all(|part| plain(part) && !part.contains(".."))
}

/// The hash of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_owner_and_name() {
        let id: HubId = "HuggingFaceTB/SmolLM2-135M".parse().expect("an id");
        assert_eq!((id.repository(), id.revision(), id.name()), ("HuggingFaceTB/SmolLM2-135M", "main", "SmolLM2-135M"));
        assert_eq!(id.to_string(), "HuggingFaceTB/SmolLM2-135M");
        let pinned: HubId = "a/b@refs/pr/1".parse().expect("an id");
        assert_eq!((pinned.revision(), pinned.to_string().as_str()), ("refs/pr/1", "a/b@refs/pr/1"));
        assert_eq!(pinned.folder(), "models--a--b");
        assert_eq!(pinned.route(), "models/a/b/revision/refs%2Fpr%2F1");
    }

    #[test]
    fn nothing_that_could_leave_the_cache_is_one() {
        let wrong = [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "../b",
            "a/..",
            "./a",
            "a/.b",
            "-a/b",
            "a b/c",
            "a/b@",
            "a/b@../c",
            "a/b@c/../d",
            "a/b@/etc",
            "a--b/c",
            "a/b\\c",
            "a/b@c@d",
            "~/x",
            "a/b@-r",
            "a/x.git",
        ];
        for text in wrong {
            assert!(text.parse::<HubId>().is_err(), "{text}");
        }
        assert!(format!("a/{}", "b".repeat(PART_MAX + 1)).parse::<HubId>().is_err());
    }
}
