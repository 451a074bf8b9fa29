//! Where things are below a home folder.

use std::path::{Path, PathBuf};

/// Where things are below a home folder. Knows paths only: using it needs no lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Of a home at `root`. Looks at nothing on disk.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The home itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The node's ed25519 key pair.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity.key")
    }

    /// Says that the folder is a home.
    pub fn marker(&self) -> PathBuf {
        self.root.join("potluck-home")
    }

    /// Locked while a process uses the home.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Shards, in 256 folders by the first byte of their ids.
    pub fn shards(&self) -> PathBuf {
        self.root.join("shards")
    }

    /// Signed manifests, by their ids.
    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// Recipes, by their ids.
    pub fn recipes(&self) -> PathBuf {
        self.root.join("recipes")
    }

    /// What cannot be rebuilt from the other files.
    pub fn state_log(&self) -> PathBuf {
        self.root.join("state.log")
    }

    /// The database that is rebuilt at any doubt.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// Damaged files that were moved aside.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Files that are being written. Emptied at every start.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Who is banned, and for how long.
    pub fn bans(&self) -> PathBuf {
        self.root.join("bans.json")
    }

    /// Shards that are written and not yet durable.
    pub fn staged(&self) -> PathBuf {
        self.root.join("staged")
    }

    /// Checkpoints and adapters of training runs.
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

    /// Bases that came from the swarm, as folders, by their ids.
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
