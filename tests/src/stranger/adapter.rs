//! An adapter, and what it becomes when it is published: shards, tables, a manifest, an announcement.

use std::collections::BTreeMap;

use libp2p::identity::ed25519::Keypair;

use super::cut::cut;
use super::objects::{Announcement, FileEntry, Manifest, SHARD_MAX, ShardTable, plain};
use super::{Digest, Outcome};

/// The two files of a PEFT folder, in the portable profile: `lora_alpha` equals `r`.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub r: u32,
    pub target_module: String,
    pub model: Vec<u8>,
}

/// What others may ask for.
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub id: Digest,
    pub manifest: Vec<u8>,
    pub shards: BTreeMap<Digest, Vec<u8>>,
    pub announcement_id: Digest,
    pub announcement: Vec<u8>,
}

impl Adapter {
    /// One for `q_proj` of every layer, with small numbers in it: both factors of a layer have that many inputs.
    pub fn of_q_proj(r: u32, layers: u32, width: u32) -> Outcome<Self> {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for layer in 0..layers {
            for (factor, shape) in [("A", [r, width]), ("B", [width, r])] {
                let begin = data.len();
                for n in 0..r * width {
                    let value = ((n + layer) % 7) as f32 / 1024.0 - 0.003;
                    data.extend_from_slice(&value.to_le_bytes());
                }
                let name = format!("base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{factor}.weight");
                let tensor = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] });
                header.insert(name, tensor);
            }
        }
        let header = serde_json::to_vec(&header)?;
        let model = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
        Ok(Self { r, target_module: "q_proj".to_owned(), model })
    }

    /// `adapter_config.json`, as the page gives it.
    fn config(&self, base: Digest) -> String {
        let Self { r, target_module, .. } = self;
        let base: String = base.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        let lines = [
            format!(r#"  "base_model_name_or_path": "base/{base}","#),
            r#"  "bias": "none","#.to_owned(),
            r#"  "fan_in_fan_out": false,"#.to_owned(),
            r#"  "inference_mode": true,"#.to_owned(),
            r#"  "init_lora_weights": true,"#.to_owned(),
            format!(r#"  "lora_alpha": {r},"#),
            r#"  "lora_dropout": 0.0,"#.to_owned(),
            r#"  "modules_to_save": null,"#.to_owned(),
            r#"  "peft_type": "LORA","#.to_owned(),
            format!(r#"  "r": {r},"#),
            r#"  "target_modules": ["#.to_owned(),
            format!(r#"    "{target_module}""#),
            "  ],".to_owned(),
            r#"  "task_type": "CAUSAL_LM""#.to_owned(),
        ];
        format!("{{\n{}\n}}\n", lines.join("\n"))
    }

    pub fn publish(&self, name: &str, base: Digest, sequence: u64, keypair: &Keypair) -> Published {
        let mut shards = BTreeMap::new();
        let config = entry("adapter_config.json", self.config(base).as_bytes(), &mut shards);
        let model = entry("adapter_model.safetensors", &self.model, &mut shards);
        let total_bytes = config.len + model.len;
        let publisher = keypair.public().to_bytes();
        let manifest = Manifest {
            base,
            r: self.r,
            target_modules: vec![self.target_module.clone()],
            name: name.to_owned(),
            licence: "CC0-1.0".to_owned(),
            created: 1_700_000_000,
            publisher,
            files: vec![config, model],
        };
        let (id, manifest) = manifest.sign(keypair);
        let manifest_len = manifest.len() as u32;
        let announcement =
            Announcement { manifest: id, manifest_len, name: name.to_owned(), base, total_bytes, publisher, sequence };
        let (announcement_id, announcement) = announcement.sign(keypair);
        Published { id, manifest, shards, announcement_id, announcement }
    }
}

/// Cuts a file, keeps its shards and those of its table.
fn entry(path: &str, bytes: &[u8], shards: &mut BTreeMap<Digest, Vec<u8>>) -> FileEntry {
    let mut keep = |piece: &[u8]| {
        let id = plain(piece);
        shards.insert(id, piece.to_vec());
        id
    };
    let (rule, pieces) = cut(path, bytes);
    let (mut rows, mut rest) = (Vec::new(), bytes);
    for len in pieces {
        let (piece, after) = rest.split_at(len as usize);
        rows.push((keep(piece), len));
        rest = after;
    }
    let table = ShardTable { cut: rule, rows }.encode();
    FileEntry {
        path: path.to_owned(),
        len: bytes.len() as u64,
        digest: plain(bytes),
        table: table.chunks(SHARD_MAX).map(keep).collect(),
        table_len: table.len() as u32,
    }
}
