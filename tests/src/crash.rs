//! What dies at a chosen moment, and what must be true afterwards.
//!
//! [`child`] uses a store as publishing, pulling and exporting do and prints a line for each thing that the store has
//! acknowledged; the parent kills it, or a failpoint does. [`check`] then opens the home and looks for all of them.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use libp2p::identity::ed25519::Keypair;
use potluck_node::home::Home;
use potluck_node::identity::Identity;
use potluck_node::store::{Source, Store};
use potluck_protocol::id::{BaseId, Digest, FileDigest, ManifestId, RecipeId, ShardId};
use potluck_protocol::manifest::{AdapterInfo, DatasetInfo, FileEntry, Kind, Manifest};
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_protocol::shard::VerifiedShard;
use potluck_protocol::signed::{Authentic, PublicKey, Signed};
use potluck_protocol::tensor::DType;
use potluck_protocol::text::{Name, RelPath};
use serde::{Deserialize, Serialize};

/// Any error of a scenario: it ends the test with its text.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// One thing that the store has promised to keep. One JSON line each on the child's standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ack {
    Identity(String),
    Shards(Vec<ShardId>),
    Published(ManifestId),
    Pinned(ManifestId),
    Named(Name, ManifestId),
    Sequence(u64),
    Recipe(RecipeId),
    /// A folder with the files of a manifest.
    Exported(ManifestId, PathBuf),
}

/// Bytes that follow from a seed and look random.
pub fn bytes(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A number below `below` that follows from a seed.
pub fn draw(seed: &str, below: u64) -> u64 {
    bytes(seed, 8).iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)) % below
}

/// Signs a manifest over files: an adapter, or every fourth time a dataset.
pub fn sign(keypair: &Keypair, name: &str, files: Vec<FileEntry>) -> Outcome<Authentic<Manifest>> {
    let base = BaseId(Digest::of(b"base"));
    let adapter = AdapterInfo {
        base,
        trained_on: base,
        r: 8,
        target_modules: vec!["q_proj".to_owned()],
        parents: Vec::new(),
        training: None,
        evaluations: Vec::new(),
    };
    let dataset = draw(name, 4) == 0;
    let manifest = Manifest {
        kind: if dataset { Kind::Dataset(DatasetInfo { rows: 1 }) } else { Kind::Adapter(adapter) },
        name: Name::new(name)?,
        licence: "Apache-2.0".to_owned(),
        description: String::new(),
        created: 0,
        publisher: PublicKey::of(keypair),
        files,
    };
    Ok(Signed::sign(&manifest, keypair)?.ok_or("another key")?.verify()?)
}

/// Stores an adapter's two files and makes it visible, in the order of a publication.
pub fn publish(store: &Store, keypair: &Keypair, name: &str, len: usize) -> Outcome<ManifestId> {
    let files = ["adapter_config.json", "adapter_model.safetensors"].map(|path| {
        Ok::<_, Box<dyn Error>>((RelPath::new(path)?, Source::Bytes(bytes(&format!("{name} {path}"), len))))
    });
    let entries = store.import_files(files.into_iter().collect::<Outcome<_>>()?)?;
    let manifest = sign(keypair, name, entries)?;
    let complete = store.map(manifest)??.complete(|id| store.has_shard(id))??;
    let scans = store.scan(&complete, None)?;
    let well_formed = complete.inspect_scanned(&scans, |_| Ok(()))?;
    store.commit_well_formed(&well_formed)?;
    Ok(well_formed.manifest().id())
}

/// Works in `root` for `steps` steps drawn from `seed`, telling `ack` what has been acknowledged.
pub fn child(root: &Path, seed: u64, steps: u64, mut ack: impl FnMut(Ack)) -> Outcome<()> {
    let home = Home::open(root)?;
    let identity = Identity::open(&home)?;
    ack(Ack::Identity(identity.peer_id().to_string()));
    let mut store = Store::open(&home)?;
    let mut published = Vec::new();
    for step in 0..steps {
        let name = format!("s{seed}-{step}");
        let id = publish(&store, identity.keypair(), &name, 1 + draw(&name, 200_000) as usize)?;
        ack(Ack::Published(id));
        published.push(id);
        for extra in 0..7 {
            match draw(&format!("{name} {extra}"), 7) {
                0 => pin(&store, id, &mut ack)?,
                1 => {
                    let name = Name::new(format!("n{}", draw(&name, 5)))?;
                    store.set_name(name.clone(), id)?;
                    ack(Ack::Named(name, id));
                }
                2 => ack(Ack::Sequence(store.next_sequence(0)?)),
                3 => ack(Ack::Recipe(store.put_recipe(&recipe(&published)?)?)),
                4 => ack(Ack::Shards(put_shards(&store, &name)?)),
                5 => {
                    let out = root.join("runs").join(&name);
                    if !out.exists() {
                        store.export(&id, &out, &[])?;
                        ack(Ack::Exported(id, out));
                    }
                }
                _ => {
                    drop(store);
                    store = Store::open(&home)?;
                }
            }
        }
    }
    Ok(())
}

fn pin(store: &Store, id: ManifestId, ack: &mut impl FnMut(Ack)) -> Outcome<()> {
    store.pin(id)?;
    ack(Ack::Pinned(id));
    Ok(())
}

fn recipe(published: &[ManifestId]) -> Outcome<Recipe> {
    let inputs = published.iter().map(|id| (*id, Weight::ONE));
    Ok(Recipe::new(BaseId(Digest::of(b"base")), DType::F32, inputs)?)
}

/// A part of a pull: shards without their manifest.
fn put_shards(store: &Store, name: &str) -> Outcome<Vec<ShardId>> {
    let shards = (0..5).map(|n| VerifiedShard::of(bytes(&format!("{name} shard {n}"), 50_000)));
    let shards = shards.collect::<Result<Vec<_>, _>>()?;
    store.put_shards(&shards)?;
    Ok(shards.iter().map(VerifiedShard::id).collect())
}

/// The child's side of the pipe: a line for each acknowledgement, flushed.
pub fn print(ack: Ack) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone reads nothing: the child is about to be killed anyway.
    let _ = serde_json::to_writer(&mut out, &ack).map_err(std::io::Error::from).and_then(|()| writeln!(out));
    let _ = out.flush();
}

/// [`check`] for acknowledgements that come as JSON on standard input.
pub fn check_input(root: &Path) -> Outcome<()> {
    let acks: Vec<Ack> = serde_json::from_reader(std::io::stdin().lock())?;
    check(root, &acks)
}

/// Opens the home as the next process would and looks for everything that was acknowledged.
pub fn check(root: &Path, acks: &[Ack]) -> Outcome<()> {
    let home = Home::open(root)?;
    let store = Store::open(&home)?;
    let report = store.verify(|_, _| ())?;
    if !report.is_clean() {
        return Err(format!("`store verify` is not clean: {report:?}").into());
    }
    for (n, ack) in acks.iter().enumerate() {
        let kept = match ack {
            Ack::Identity(peer) => *peer == Identity::open(&home)?.peer_id().to_string(),
            Ack::Shards(ids) => {
                ids.iter().map(|id| store.shard(id)).collect::<Result<Vec<_>, _>>()?.iter().all(Option::is_some)
            }
            Ack::Published(id) => store.is_well_formed(id) && store.mapped(id).is_ok(),
            Ack::Pinned(id) => store.pins().contains(id),
            Ack::Named(name, _) => {
                store.named(name) == newest(&acks[n..], name) || later_unacknowledged(&store, acks, name)
            }
            Ack::Sequence(_) => true,
            Ack::Recipe(id) => store.recipe(id)?.is_some(),
            Ack::Exported(id, out) => is_whole(&store, id, out)?,
        };
        if !kept {
            return Err(format!("{ack:?} was acknowledged and is lost").into());
        }
    }
    let used = acks.iter().filter_map(|ack| if let Ack::Sequence(number) = ack { Some(*number) } else { None }).max();
    if store.next_sequence(0)? <= used.unwrap_or(0) {
        return Err("a sequence number was given twice".into());
    }
    let listed: BTreeSet<ManifestId> = store.manifests()?.into_iter().map(|summary| summary.id).collect();
    if acks.iter().any(|ack| matches!(ack, Ack::Published(id) if !listed.contains(id))) {
        return Err("the index does not list all manifests".into());
    }
    check_exports(root)
}

fn newest(acks: &[Ack], wanted: &Name) -> Option<ManifestId> {
    acks.iter().rev().find_map(|ack| match ack {
        Ack::Named(name, id) if name == wanted => Some(*id),
        _ => None,
    })
}

/// A name may have moved on to something whose acknowledgement the crash swallowed, never back.
fn later_unacknowledged(store: &Store, acks: &[Ack], name: &Name) -> bool {
    let older = |id: ManifestId| {
        acks.iter().any(|ack| matches!(ack, Ack::Named(other, older) if other == name && *older == id))
    };
    store.named(name).is_some_and(|id| !older(id) && store.is_well_formed(&id))
}

fn is_whole(store: &Store, id: &ManifestId, out: &Path) -> Outcome<bool> {
    for (file, _) in store.mapped(id)?.files() {
        if FileDigest(Digest::of(&fs::read(out.join(file.path.as_str()))?)) != file.digest {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Folders that appeared by export are whole, acknowledged or not.
fn check_exports(root: &Path) -> Outcome<()> {
    for entry in fs::read_dir(root.join("runs"))? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && fs::read_dir(&path)?.count() != 2 {
            return Err(format!("{} is not whole", path.display()).into());
        }
    }
    Ok(())
}
