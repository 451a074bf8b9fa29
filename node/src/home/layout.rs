//! Where things are below a home folder.

use std::path::{Path, PathBuf};

/// Where things are below a home folder. Knows paths only: using it needs no lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn identity(&self) -> PathBuf {
        self.root.join("identity.key")
    }

    /// Says that the folder is a home.
    pub fn marker(&self) -> PathBuf {
        self.root.join("potluck-home")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn shards(&self) -> PathBuf {
        self.root.join("shards")
    }

    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    pub fn recipes(&self) -> PathBuf {
        self.root.join("recipes")
    }

    pub fn state_log(&self) -> PathBuf {
        self.root.join("state.log")
    }

    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn bans(&self) -> PathBuf {
        self.root.join("bans.json")
    }

    /// Shards that are written and not yet durable.
    pub fn staged(&self) -> PathBuf {
        self.root.join("staged")
    }

    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Addresses to connect to, one a line.
    pub fn bootstrap(&self) -> PathBuf {
        self.root.join("bootstrap")
    }

    /// The only peers that may connect, one a line.
    pub fn allow(&self) -> PathBuf {
        self.root.join("allow")
    }

    /// The key of a private network.
    pub fn swarm_key(&self) -> PathBuf {
        self.root.join("swarm.key")
    }

    /// Who was connected lately.
    pub fn peers(&self) -> PathBuf {
        self.root.join("peers")
    }

    /// When what is next told to the DHT.
    pub fn provided(&self) -> PathBuf {
        self.root.join("provided")
    }

    pub fn bases(&self) -> PathBuf {
        self.root.join("bases")
    }

    /// Adapters as PEFT folders, by their ids: what a pull without `--out` names.
    pub fn adapters(&self) -> PathBuf {
        self.root.join("adapters")
    }

    /// Evaluation rows of this node's channels that are not public yet.
    pub fn sealed(&self) -> PathBuf {
        self.root.join("sealed")
    }

    /// What is made in every home.
    pub(super) fn folders(&self) -> [PathBuf; 10] {
        [
            self.shards(),
            self.manifests(),
            self.recipes(),
            self.index(),
            self.quarantine(),
            self.tmp(),
            self.staged(),
            self.bases(),
            self.runs(),
            self.sealed(),
        ]
    }
}
