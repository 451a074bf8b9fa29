//! Small bases for tests, of the shape of `tiny` and with other weights; and publications of them that are lies.

use std::fs;
use std::path::Path;

use potluck_node::home::Home;
use potluck_node::identity::Identity;
use potluck_node::store::{Source, Store, StoreError};
use potluck_protocol::base::Architecture;
use potluck_protocol::id::{BaseId, Digest, FileDigest, ManifestId};
use potluck_protocol::manifest::{BaseInfo, Kind, Manifest};
use potluck_protocol::safetensors::Layout;
use potluck_protocol::signed::{PublicKey, Signed};
use potluck_protocol::text::{Name, RelPath};
use potluck_trainer::tiny;

/// A chat template that only this base has.
pub const TEMPLATE: &str = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}";

/// `tiny` with other values in the named tensors: each seed gives other ones.
pub fn model(changed: &[&str], seed: u8) -> Vec<u8> {
    let mut bytes = file("model.safetensors").to_vec();
    let layout = Layout::parse(&bytes, bytes.len()).expect("ours");
    for tensor in layout.tensors.iter().filter(|tensor| changed.contains(&tensor.name.as_str())) {
        // The lowest bits of each value: it stays finite, and nearly what it was.
        bytes[tensor.begin..tensor.end].iter_mut().step_by(4).for_each(|byte| *byte ^= seed);
    }
    bytes
}

fn file(name: &str) -> &'static [u8] {
    tiny::FILES.iter().find(|(file, _)| *file == name).expect("one of its files").1
}

/// The files of a base under their names, a chat template among them.
pub fn files(changed: &[&str], seed: u8) -> Vec<(&'static str, Vec<u8>)> {
    let telling = r#"{"_name_or_path":"/home/somebody/models/secret","#;
    let config = String::from_utf8_lossy(file("config.json")).replacen('{', telling, 1);
    vec![
        ("config.json", config.into_bytes()),
        ("chat_template.jinja", TEMPLATE.as_bytes().to_vec()),
        ("model.safetensors", model(changed, seed)),
        ("tokenizer.json", file("tokenizer.json").to_vec()),
    ]
}

/// A Hugging Face folder of such a base.
pub fn write(folder: &Path, changed: &[&str], seed: u8) {
    fs::create_dir_all(folder).expect("writable");
    files(changed, seed).iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).expect("writable"));
}

/// How a publication of a base is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The weights are another base's.
    OtherWeights,
    /// `tokenizer.json` is left out.
    NoTokenizer,
    /// The digest of a file is another one's.
    WrongDigest,
    NoLicence,
    /// A file that runs code when it is opened comes with it.
    Pickle,
    /// The shapes that it states are not those of its files.
    OtherShapes,
}

/// Makes `home` publish files as `base` that are something else. Its daemon announces them as its own.
pub fn lie(home: &Path, base: BaseId, lie: Lie) -> ManifestId {
    let home = Home::open(home).expect("free");
    let store = Store::open(&home).expect("opens");
    let identity = Identity::open(&home).expect("readable");
    let mut content = files(&["model.norm.weight"], if lie == Lie::OtherWeights { 3 } else { 1 });
    match lie {
        Lie::NoTokenizer => content.retain(|(name, _)| *name != "tokenizer.json"),
        Lie::Pickle => content.push(("pytorch_model.bin", vec![0x80])),
        _ => {}
    }
    let sources = content.into_iter().map(|(name, bytes)| (RelPath::new(name).expect("a path"), Source::Bytes(bytes)));
    let mut entries = store.import_files(sources.collect()).expect("room");
    if lie == Lie::WrongDigest {
        entries[0].digest = FileDigest(Digest::of(b"something else"));
    }
    let shapes = tiny::architecture();
    let hidden_size = if lie == Lie::OtherShapes { 64 } else { shapes.hidden_size };
    let manifest = Manifest {
        kind: Kind::Base(BaseInfo { base, architecture: Architecture { hidden_size, ..shapes }, recipe: None }),
        name: Name::new("a-lie").expect("a name"),
        licence: if lie == Lie::NoLicence { String::new() } else { "MIT".to_owned() },
        description: String::new(),
        created: 1,
        publisher: PublicKey::of(identity.keypair()),
        files: entries,
    };
    let signed = Signed::sign(&manifest, identity.keypair()).expect("encodes").expect("its own key");
    let mapped = store.map(signed.verify().expect("just signed")).expect("readable").expect("it fits");
    let complete = mapped.complete(|id| store.has_shard(id)).expect("readable").expect("all is there");
    let mut scans = store.scan(&complete, None).expect("readable");
    // What an honest program refuses to sign, this one has looked at with its eyes shut.
    let entries = complete.manifest().body().files.iter();
    scans.iter_mut().zip(entries).for_each(|(scan, entry)| scan.digest = entry.digest);
    let blind = complete.inspect_scanned(&scans, |_| Ok(())).map_err(StoreError::from).expect("by its own words");
    store.commit_well_formed(&blind).expect("room");
    blind.manifest().id()
}
