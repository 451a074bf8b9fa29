//! What the tests of the store share: a home in a temporary folder, and an adapter to put into it.

use std::path::Path;

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::manifest::{AdapterInfo, FileEntry, Kind, Manifest};
use potluck_protocol::shard::VerifiedShard;
use potluck_protocol::signed::{Authentic, PublicKey, Signed};
use potluck_protocol::text::{Name, RelPath};
use potluck_protocol::verify::{Complete, WellFormed};

use super::{Options, Source, Store, StoreError};
use crate::home::Home;

/// So many shards, all different and of different lengths.
pub fn shards(count: usize) -> Vec<VerifiedShard> {
    (0..count).map(|n| VerifiedShard::of(bytes(&n.to_string(), 1000 + n)).expect("short")).collect()
}

/// Reopens the same home again and again.
pub(crate) struct Fixture {
    pub folder: tempfile::TempDir,
    pub keypair: Keypair,
}

impl Fixture {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), keypair: Keypair::generate() }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn open(&self) -> Store {
        self.open_with(Options::default()).expect("opens")
    }

    pub fn open_with(&self, options: Options) -> Result<Store, StoreError> {
        Store::open_with(&Home::open(self.root()).expect("free"), options)
    }

    /// Signs a manifest over files that are in the store.
    pub fn sign(&self, name: &str, files: Vec<FileEntry>) -> Authentic<Manifest> {
        let base = BaseId(Digest::of(b"base"));
        let adapter = AdapterInfo {
            base,
            trained_on: base,
            r: 4,
            target_modules: vec!["q_proj".to_owned()],
            parents: Vec::new(),
            training: None,
            evaluations: Vec::new(),
        };
        let manifest = Manifest {
            kind: Kind::Adapter(adapter),
            name: Name::new(name).expect("a name"),
            licence: String::new(),
            description: String::new(),
            created: 1,
            publisher: PublicKey::of(&self.keypair),
            files,
        };
        self.sign_manifest(&manifest)
    }

    pub fn sign_manifest(&self, manifest: &Manifest) -> Authentic<Manifest> {
        Signed::sign(manifest, &self.keypair).expect("encodes").expect("its key").verify().expect("just signed")
    }

    /// Imports two files of `len` bytes and all that follows.
    pub fn add(&self, store: &Store, name: &str, len: usize) -> ManifestId {
        let well_formed = self.well_formed(store, name, len).expect("room");
        store.commit_well_formed(&well_formed).expect("room");
        well_formed.manifest().id()
    }

    pub fn well_formed(&self, store: &Store, name: &str, len: usize) -> Result<WellFormed, StoreError> {
        let complete = self.complete(store, name, len)?;
        let scans = store.scan(&complete, None)?;
        Ok(complete.inspect_scanned(&scans, |_| Ok(()))?)
    }

    pub fn complete(&self, store: &Store, name: &str, len: usize) -> Result<Complete, StoreError> {
        let files = ["a.json", "b.bin"]
            .map(|path| (RelPath::new(path).expect("a path"), Source::Bytes(bytes(&format!("{name}/{path}"), len))));
        let entries = store.import_files(files.into())?;
        Ok(store.map(self.sign(name, entries))??.complete(|id| store.has_shard(id))??)
    }

    pub fn announce(&self, manifest: ManifestId, sequence: u64) -> Authentic<Announcement> {
        let body = Announcement {
            manifest,
            manifest_len: 1,
            kind: KindTag::Adapter,
            name: Name::new("n").expect("a name"),
            base: BaseId(Digest::of(b"base")),
            total_bytes: 1,
            publisher: PublicKey::of(&self.keypair),
            sequence,
        };
        Signed::sign(&body, &self.keypair).expect("encodes").expect("its key").verify().expect("just signed")
    }
}

/// Bytes that look random and follow from `seed`.
pub(crate) fn bytes(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Every file below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
