//! Manifests in a home that its own program would not have made: of other keys, other bases, with files that are no
//! adapter's.

use std::fs;
use std::path::Path;

use libp2p::identity::ed25519::Keypair;
use potluck_node::home::Home;
use potluck_node::identity::Identity;
use potluck_node::store::{Source, Store};
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::manifest::{AdapterInfo, FileEntry, Kind, Manifest};
use potluck_protocol::signed::{PublicKey, Signed};
use potluck_protocol::text::{Name, RelPath};
use serde_json::Value;

/// Puts a manifest of any key into a home, signed; as well-formed if `checked`, else as it would lie there before it is
/// looked at.
pub fn plant(home: &Path, manifest: &Manifest, keypair: &Keypair, checked: bool) -> ManifestId {
    let store = Store::open(&Home::open(home).expect("free")).expect("opens");
    let signed = Signed::sign(manifest, keypair).expect("encodes").expect("its own key");
    let mapped = store.map(signed.verify().expect("just signed")).expect("readable").expect("it fits");
    let complete = mapped.complete(|id| store.has_shard(id)).expect("readable").expect("all is there");
    let id = complete.manifest().id();
    if checked {
        let scans = store.scan(&complete, None).expect("readable");
        let blind = complete.inspect_scanned(&scans, |_| Ok(())).expect("by its own words");
        store.commit_well_formed(&blind).expect("room");
    } else {
        store.commit(&complete).expect("room");
    }
    id
}

/// An adapter's manifest over the files of a PEFT folder, which come into the home's store with it.
pub fn adapter_of(home: &Path, folder: &Path, base: BaseId, publisher: &Keypair) -> Manifest {
    let store = Store::open(&Home::open(home).expect("free")).expect("opens");
    let files = ["adapter_config.json", "adapter_model.safetensors"];
    let files = files.map(|name| (RelPath::new(name).expect("a path"), Source::Path(folder.join(name))));
    let config: Value =
        serde_json::from_slice(&fs::read(folder.join(files[0].0.as_str())).expect("there")).expect("JSON");
    let mut target_modules: Vec<String> = serde_json::from_value(config["target_modules"].clone()).expect("names");
    target_modules.sort();
    let info = AdapterInfo {
        base,
        trained_on: base,
        r: config["r"].as_u64().expect("a rank") as u32,
        target_modules,
        parents: Vec::new(),
        training: None,
        evaluations: Vec::new(),
    };
    let files = store.import_files(files.into()).expect("room");
    of(Kind::Adapter(info), publisher, files)
}

/// Cuts the tensors of an adapter's manifest otherwise than the rule does: as a file of another kind.
pub fn cut_otherwise(home: &Path, folder: &Path, manifest: &mut Manifest) {
    let store = Store::open(&Home::open(home).expect("free")).expect("opens");
    let source = Source::Path(folder.join("adapter_model.safetensors"));
    let cut = store.import_files(vec![(RelPath::new("plain.bin").expect("a path"), source)]).expect("room");
    for file in manifest.files.iter_mut().filter(|file| file.path.as_str() == "adapter_model.safetensors") {
        *file = FileEntry { path: file.path.clone(), ..cut[0].clone() };
    }
}

/// A manifest that says no more than it must.
pub fn of(kind: Kind, publisher: &Keypair, files: Vec<FileEntry>) -> Manifest {
    Manifest {
        kind,
        name: Name::new("planted").expect("a name"),
        licence: "MIT".to_owned(),
        description: String::new(),
        created: 1,
        publisher: PublicKey::of(publisher),
        files,
    }
}

/// The key of a home.
pub fn key_of(home: &Path) -> Keypair {
    Identity::open(&Home::open(home).expect("free")).expect("readable").keypair().clone()
}
