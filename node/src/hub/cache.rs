//! The hub's cache on this disk, in the layout that its own programs use.
//!
//! ```text
//! models--OWNER--NAME/refs/REVISION            the commit that it was last
//!                     snapshots/COMMIT/FILE    links to
//!                     blobs/ETAG               the content; ETAG.part while it comes
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::Cache;
use potluck_trainer::base::folder_files;

use super::id::is_commit;
use super::{HubError, HubId, Settings};

/// The files of one commit.
pub struct Snapshot {
    cache: Cache,
    id: HubId,
    commit: String,
    folder: PathBuf,
}

impl Snapshot {
    pub fn open(settings: &Settings, id: &HubId, commit: &str) -> Result<Self, HubError> {
        let cache = Cache::new(settings.cache.clone());
        let repository = cache.repo(id.repo());
        let folder = repository.pointer_path(commit);
        let blobs = repository.blob_path("x").parent().map(Path::to_path_buf).unwrap_or_default();
        for needed in [&folder, &blobs] {
            fs::create_dir_all(needed).map_err(HubError::io("make the folder", needed))?;
        }
        Ok(Self { cache, id: id.clone(), commit: commit.to_owned(), folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn into_folder(self) -> PathBuf {
        self.folder
    }

    pub fn has(&self, name: &str) -> bool {
        self.folder.join(name).is_file()
    }

    /// Where the content of that etag belongs. The caller has checked that it is a plain name. // I13
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.cache.repo(self.id.repo()).blob_path(etag)
    }

    /// A small file that is here.
    pub fn read(&self, name: &str, max: usize) -> Result<Vec<u8>, HubError> {
        let path = self.folder.join(name);
        let len = fs::metadata(&path).map_err(HubError::io("look at", &path))?.len();
        if len > max as u64 {
            return Err(HubError::TooLarge { bytes: len, max: max as u64 });
        }
        potluck_trainer::files::read(&path, max as u64).map_err(HubError::io("read", &path))
    }

    /// Gives a blob its name in the snapshot.
    pub fn link(&self, name: &str, blob: &Path) -> Result<(), HubError> {
        let target = self.folder.join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(HubError::io("make", parent))?;
        }
        match link(blob, &target, name.matches('/').count()) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(HubError::io("link", &target)),
        }
    }

    /// Notes which commit the revision is: a snapshot that is noted is whole.
    pub fn point_to(&self, id: &HubId) -> Result<(), HubError> {
        if id.revision() == self.commit {
            return Ok(());
        }
        self.cache.repo(id.repo()).create_ref(&self.commit).map_err(HubError::io("note the commit in", self.folder()))
    }
}

#[cfg(unix)]
fn link(blob: &Path, target: &Path, depth: usize) -> std::io::Result<()> {
    let name = blob.file_name().unwrap_or_default();
    let blobs = format!("{}../../blobs", "../".repeat(depth));
    std::os::unix::fs::symlink(Path::new(&blobs).join(name), target)
}

#[cfg(not(unix))]
fn link(blob: &Path, target: &Path, _depth: usize) -> std::io::Result<()> {
    fs::hard_link(blob, target).or_else(|_| fs::copy(blob, target).map(drop))
}

/// The snapshot of the revision if every file that a base needs is in it.
pub fn whole(settings: &Settings, id: &HubId) -> Option<PathBuf> {
    let repository = Cache::new(settings.cache.clone()).repo(id.repo());
    let folder = if is_commit(id.revision()) {
        repository.pointer_path(id.revision())
    } else {
        repository.get("config.json")?.parent()?.to_path_buf()
    };
    let files = folder_files(&folder).ok()?;
    let has = |name: &str| files.iter().any(|file| file == name);
    let whole = has("config.json") && has("tokenizer.json") && files.iter().all(|file| folder.join(file).is_file());
    whole.then_some(folder)
}

/// `OWNER/NAME` of a folder in a hub's cache, for people: the folder itself is named by its commit.
pub fn name_of(folder: &Path) -> Option<String> {
    let commit = folder.file_name()?.to_str()?;
    let snapshots = folder.parent()?;
    let repository = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
    (is_commit(commit) && snapshots.file_name()? == "snapshots").then(|| repository.replace("--", "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(root: &Path) -> Settings {
        Settings { endpoint: String::new(), cache: root.to_path_buf(), token: None }
    }

    #[test]
    fn a_snapshot_is_taken_when_it_is_whole() {
        let root = tempfile::tempdir().expect("a folder");
        let (settings, id) = (settings(root.path()), "a/b".parse::<HubId>().expect("an id"));
        let commit = "1".repeat(40);
        let snapshot = Snapshot::open(&settings, &id, &commit).expect("writable");
        let template = "additional_chat_templates/tool_use.jinja";
        fs::write(snapshot.blob("template"), "t").expect("writable");
        snapshot.link(template, &snapshot.blob("template")).expect("linked");
        assert_eq!(fs::read_to_string(snapshot.folder().join(template)).expect("through the link"), "t");
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            assert_eq!(whole(&settings, &id), None, "{name} is missing");
            let blob = snapshot.blob(name);
            fs::write(&blob, name).expect("writable");
            snapshot.link(name, &blob).expect("linked");
            snapshot.link(name, &blob).expect("twice is no error");
            snapshot.point_to(&id).expect("noted");
        }
        assert_eq!(whole(&settings, &id).as_deref(), Some(snapshot.folder()));
        assert_eq!(
            whole(&settings, &format!("a/b@{commit}").parse().expect("an id")).as_deref(),
            Some(snapshot.folder())
        );
        assert_eq!(name_of(snapshot.folder()).as_deref(), Some("a/b"));
        assert_eq!(snapshot.read("config.json", 11).expect("there"), b"config.json");
        assert!(matches!(snapshot.read("config.json", 10), Err(HubError::TooLarge { .. })));
        fs::remove_file(snapshot.blob("model.safetensors")).expect("ours");
        assert_eq!(whole(&settings, &id), None, "a link to nothing is no file");
    }

    #[test]
    fn other_folders_have_no_hub_name() {
        for other in [
            "/models/x",
            "/c/models--a--b/snapshots/main",
            "/c/a--b/snapshots/0123456789abcdef0123456789abcdef01234567",
        ] {
            assert_eq!(name_of(Path::new(other)), None, "{other}");
        }
    }
}
