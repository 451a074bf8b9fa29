//! Fixed values of every type: what the golden vectors are made of.

use libp2p_identity::ed25519::{Keypair, SecretKey};
use potluck_protocol::announce::{Announcement, KindTag, LaterAnnouncement};
use potluck_protocol::base::{Architecture, BaseIdentity, F32Bits, Family};
use potluck_protocol::catalogue::{Bucket, Compare, Differing, Wanted};
use potluck_protocol::id::{AnnouncementId, BaseId, Digest, FileDigest, ManifestId, RecipeId, ShardId};
use potluck_protocol::manifest::{AdapterInfo, BaseInfo, DatasetInfo, Evaluation, FileEntry, Kind, Manifest, Training};
use potluck_protocol::shard::{Cut, ShardRow, ShardTable};
use potluck_protocol::signed::PublicKey;
use potluck_protocol::tensor::{DType, TensorEntry};
use potluck_protocol::text::{Name, RelPath};

/// The key whose 32 secret bytes are all `seed`.
pub fn keypair(seed: u8) -> Keypair {
    Keypair::from(SecretKey::try_from_bytes([seed; 32]).expect("32 bytes"))
}

/// The publisher of all samples.
pub fn publisher() -> PublicKey {
    PublicKey::of(&keypair(1))
}

pub fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub fn shard(text: &str) -> ShardId {
    ShardId(digest(text))
}

pub fn manifest_id(text: &str) -> ManifestId {
    ManifestId(digest(text))
}

pub fn base_id() -> BaseId {
    BaseId(digest("base"))
}

pub fn table(cut: Cut, lens: &[u32]) -> ShardTable {
    let row = |(index, &len): (usize, &u32)| ShardRow { id: shard(&format!("shard {index}")), len };
    ShardTable { cut, rows: lens.iter().enumerate().map(row).collect() }
}

/// SmolLM2-135M's.
pub fn architecture() -> Architecture {
    Architecture {
        family: Family::Llama,
        vocab_size: 49_152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        rms_norm_eps: F32Bits::new(1e-5).expect("finite"),
        rope_theta: F32Bits::new(1e5).expect("finite"),
        tie_word_embeddings: true,
    }
}

pub fn tensor(name: &str, dtype: DType, shape: &[u64]) -> TensorEntry {
    TensorEntry { name: name.to_owned(), dtype, shape: shape.to_vec(), digest: digest(name) }
}

pub fn identity() -> BaseIdentity {
    let tensors = vec![
        tensor("model.norm.weight", DType::F32, &[576]),
        tensor("model.embed_tokens.weight", DType::BF16, &[49_152, 576]),
        tensor("model.layers.0.self_attn.q_proj.weight", DType::Q4_1, &[576, 576]),
    ];
    BaseIdentity::new(architecture(), digest("tokenizer"), tensors)
}

pub fn file(path: &str, len: u64) -> FileEntry {
    FileEntry {
        path: RelPath::new(path).expect("a path"),
        len,
        digest: FileDigest(digest(path)),
        table: vec![shard(&format!("table of {path}"))],
        table_len: 48,
    }
}

fn manifest(kind: Kind, name_: &str, files: Vec<FileEntry>) -> Manifest {
    Manifest {
        kind,
        name: name(name_),
        licence: "Apache-2.0".to_owned(),
        description: "Für Vektoren, nicht für Menschen.\n".to_owned(),
        created: 1_700_000_000,
        publisher: publisher(),
        files,
    }
}

pub fn adapter_info() -> AdapterInfo {
    AdapterInfo {
        base: base_id(),
        trained_on: BaseId(digest("quantised view")),
        r: 16,
        target_modules: vec!["q_proj".to_owned(), "v_proj".to_owned()],
        parents: vec![manifest_id("parent")],
        training: Some(Training {
            steps: 200,
            tokens: 123_456,
            seed: 7,
            learning_rate_nano: 200_000,
            data: digest("rows"),
        }),
        evaluations: vec![Evaluation {
            suite: name("dates"),
            samples: 200,
            exact_match_ppm: 975_000,
            loss_micro: 41_000,
        }],
    }
}

pub fn adapter() -> Manifest {
    let files = vec![file("adapter_config.json", 700), file("adapter_model.safetensors", 1_000_000)];
    manifest(Kind::Adapter(adapter_info()), "iso-dates", files)
}

pub fn bare_adapter() -> Manifest {
    let info = AdapterInfo {
        trained_on: base_id(),
        r: 1,
        target_modules: vec!["q_proj".to_owned()],
        parents: vec![],
        training: None,
        evaluations: vec![],
        ..adapter_info()
    };
    let mut bare = manifest(Kind::Adapter(info), "a", vec![file("adapter_model.safetensors", 0)]);
    (bare.licence, bare.description, bare.created) = (String::new(), String::new(), 0);
    bare
}

pub fn base(recipe: Option<RecipeId>) -> Manifest {
    let info = BaseInfo { base: base_id(), architecture: architecture(), recipe };
    manifest(Kind::Base(info), "smollm2-135m", vec![file("model/model.safetensors", 270_000_000)])
}

pub fn dataset() -> Manifest {
    manifest(Kind::Dataset(DatasetInfo { rows: 2000 }), "dates.2024_heldout", vec![file("rows.jsonl", 90_000)])
}

pub fn announcement() -> Announcement {
    Announcement {
        manifest: manifest_id("manifest"),
        manifest_len: 900,
        kind: KindTag::Adapter,
        name: name("iso-dates"),
        base: base_id(),
        total_bytes: 1_000_700,
        publisher: publisher(),
        sequence: 42,
    }
}

/// The same of a kind that a later version adds.
pub fn later_announcement(kind: u32) -> LaterAnnouncement {
    let Announcement { manifest, manifest_len, kind: _, name, base, total_bytes, publisher, sequence } = announcement();
    LaterAnnouncement { manifest, manifest_len, kind, name, base, total_bytes, publisher, sequence }
}

/// An announcement's id that starts with a byte.
pub fn announcement_id(first: u8, text: &str) -> AnnouncementId {
    let mut id = digest(text);
    id.0[0] = first;
    AnnouncementId(id)
}

pub fn compare() -> Compare {
    Compare { base: base_id(), buckets: (0..64).map(|index| digest(&format!("part {index}"))).collect() }
}

pub fn wanted() -> Wanted {
    Wanted { base: base_id(), ids: vec![announcement_id(4, "a"), announcement_id(200, "b")] }
}

pub fn differing() -> Differing {
    let part = Bucket { index: 1, ids: vec![announcement_id(4, "a"), announcement_id(7, "b")] };
    Differing(vec![part, Bucket { index: 63, ids: vec![] }])
}
