//! The format written out without the codec: little-endian integers of fixed width, `u64` counts before texts and
//! lists, `u32` tags before variants, one byte for a flag and before an optional value, nothing else.
//!
//! Every struct is taken apart completely, so a new field or variant does not compile before it is written here.

use potluck_protocol::announce::{Announcement, KindTag, LaterAnnouncement};
use potluck_protocol::base::{Architecture, BaseIdentity, Family};
use potluck_protocol::bulk::{Provider, Refusal, Reply, Request};
use potluck_protocol::catalogue::{Bucket, Compare, Differing, Wanted};
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::manifest::{AdapterInfo, BaseInfo, DatasetInfo, Evaluation, FileEntry, Kind, Manifest, Training};
use potluck_protocol::recipe::{Recipe, Rule, Weight};
use potluck_protocol::shard::{Cut, ShardRow, ShardTable};
use potluck_protocol::tensor::{DType, TensorEntry};

use crate::channels;

/// Bytes in the making.
#[derive(Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.raw(&digest.0)
    }

    /// A text or a list of bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u64(bytes.len() as u64).raw(bytes)
    }

    pub fn list<T>(&mut self, items: &[T], mut put: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.u64(items.len() as u64);
        for item in items {
            put(self, item);
        }
        self
    }

    pub fn option<T>(&mut self, value: &Option<T>, put: impl FnOnce(&mut Self, &T)) -> &mut Self {
        self.u8(value.is_some().into());
        if let Some(value) = value {
            put(self, value);
        }
        self
    }
}

pub fn build(put: impl FnOnce(&mut Bytes)) -> Vec<u8> {
    let mut out = Bytes::default();
    put(&mut out);
    out.0
}

pub fn shard_table(ShardTable { cut, rows }: &ShardTable) -> Vec<u8> {
    let tag = match cut {
        Cut::Fixed => 0,
        Cut::Safetensors => 1,
    };
    build(|out| {
        out.u32(tag).list(rows, |out, ShardRow { id, len }| {
            out.digest(&id.0).u32(*len);
        });
    })
}

pub fn base_identity(BaseIdentity { architecture, tokenizer, tensors }: &BaseIdentity) -> Vec<u8> {
    build(|out| {
        put_architecture(out, architecture);
        out.digest(tokenizer).list(tensors, |out, TensorEntry { name, dtype, shape, digest }| {
            out.bytes(name.as_bytes()).u32(dtype_tag(*dtype));
            out.list(shape, |out, size| {
                out.u64(*size);
            });
            out.digest(digest);
        });
    })
}

fn put_architecture(out: &mut Bytes, architecture: &Architecture) {
    let Architecture {
        family,
        vocab_size,
        hidden_size,
        intermediate_size,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        rms_norm_eps,
        rope_theta,
        tie_word_embeddings,
    } = architecture;
    out.u32(match family {
        Family::Llama => 0,
    });
    out.u32(*vocab_size).u32(*hidden_size).u32(*intermediate_size).u32(*num_hidden_layers);
    out.u32(*num_attention_heads).u32(*num_key_value_heads).u32(*head_dim);
    out.u32(rms_norm_eps.get().to_bits()).u32(rope_theta.get().to_bits()).u8((*tie_word_embeddings).into());
}

pub fn dtype_tag(dtype: DType) -> u32 {
    match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::BF16 => 2,
        DType::F64 => 3,
        DType::Q4_0 => 4,
        DType::Q4_1 => 5,
        DType::Q5_0 => 6,
        DType::Q5_1 => 7,
        DType::Q8_0 => 8,
        DType::Q2K => 9,
        DType::Q3K => 10,
        DType::Q4K => 11,
        DType::Q5K => 12,
        DType::Q6K => 13,
        DType::Q8K => 14,
    }
}

/// [`Recipe`] keeps its inputs to itself, so that unsorted ones can be written only here.
pub fn recipe(parent: BaseId, dtype: DType, inputs: &[(ManifestId, Weight)]) -> Vec<u8> {
    build(|out| {
        out.u32(match Rule::FoldF32 {
            Rule::FoldF32 => 0,
        });
        out.digest(&parent.0).u32(dtype_tag(dtype)).list(inputs, |out, (adapter, weight)| {
            out.digest(&adapter.0).raw(&weight.0.to_le_bytes());
        });
    })
}

pub fn recipe_of(recipe_: &Recipe) -> Vec<u8> {
    recipe(recipe_.parent, recipe_.dtype, recipe_.inputs())
}

pub fn announcement(announcement: &Announcement) -> Vec<u8> {
    let Announcement { manifest, manifest_len, kind, name, base, total_bytes, publisher, sequence } = announcement;
    build(|out| {
        out.digest(&manifest.0).u32(*manifest_len);
        out.u32(match kind {
            KindTag::Adapter => 0,
            KindTag::Base => 1,
            KindTag::Dataset => 2,
            KindTag::Channel => 3,
            KindTag::Proposal => 4,
            KindTag::Version => 5,
            KindTag::Proof => 6,
        });
        out.bytes(name.as_str().as_bytes()).digest(&base.0).u64(*total_bytes).digest(&publisher.0).u64(*sequence);
    })
}

pub fn later_announcement(announcement: &LaterAnnouncement) -> Vec<u8> {
    let LaterAnnouncement { manifest, manifest_len, kind, name, base, total_bytes, publisher, sequence } = announcement;
    build(|out| {
        out.digest(&manifest.0).u32(*manifest_len).u32(*kind);
        out.bytes(name.as_str().as_bytes()).digest(&base.0).u64(*total_bytes).digest(&publisher.0).u64(*sequence);
    })
}

pub fn manifest(manifest: &Manifest) -> Vec<u8> {
    let Manifest { kind, name, licence, description, created, publisher, files } = manifest;
    build(|out| {
        put_kind(out, kind);
        out.bytes(name.as_str().as_bytes()).bytes(licence.as_bytes()).bytes(description.as_bytes());
        out.u64(*created).digest(&publisher.0);
        out.list(files, |out, FileEntry { path, len, digest, table, table_len }| {
            out.bytes(path.as_str().as_bytes()).u64(*len).digest(&digest.0);
            out.list(table, |out, id| {
                out.digest(&id.0);
            });
            out.u32(*table_len);
        });
    })
}

fn put_kind(out: &mut Bytes, kind: &Kind) {
    match kind {
        Kind::Adapter(adapter) => put_adapter(out.u32(0), adapter),
        Kind::Base(BaseInfo { base, architecture, recipe }) => {
            put_architecture(out.u32(1).digest(&base.0), architecture);
            out.option(recipe, |out, recipe| {
                out.digest(&recipe.0);
            });
        }
        Kind::Dataset(DatasetInfo { rows }) => {
            out.u32(2).u64(*rows);
        }
        Kind::Channel(channel) => channels::put_channel(out.u32(3), channel),
        Kind::Proposal(proposal) => channels::put_proposal(out.u32(4), proposal),
        Kind::Version(version) => channels::put_version(out.u32(5), version),
        Kind::Proof(proof) => channels::put_proof(out.u32(6), proof),
    }
}

fn put_adapter(out: &mut Bytes, adapter: &AdapterInfo) {
    let AdapterInfo { base, trained_on, r, target_modules, parents, training, evaluations } = adapter;
    out.digest(&base.0).digest(&trained_on.0).u32(*r);
    out.list(target_modules, |out, target| {
        out.bytes(target.as_bytes());
    });
    out.list(parents, |out, parent| {
        out.digest(&parent.0);
    });
    out.option(training, |out, Training { steps, tokens, seed, learning_rate_nano, data }| {
        out.u64(*steps).u64(*tokens).u64(*seed).u64(*learning_rate_nano).digest(data);
    });
    out.list(evaluations, |out, Evaluation { suite, samples, exact_match_ppm, loss_micro }| {
        out.bytes(suite.as_str().as_bytes()).u64(*samples).u32(*exact_match_ppm).u64(*loss_micro);
    });
}

pub fn request(request: &Request) -> Vec<u8> {
    build(|out| {
        match request {
            Request::Manifest(id) => out.u32(0).digest(&id.0),
            Request::Have(shards) => out.u32(1).list(shards, |out, id| {
                out.digest(&id.0);
            }),
            Request::Shard(id) => out.u32(2).digest(&id.0),
            Request::Providers(id) => out.u32(3).digest(&id.0),
            Request::Announcements(base) => out.u32(4).digest(&base.0),
            Request::Compare(Compare { base, buckets }) => out.u32(5).digest(&base.0).list(buckets, |out, digest| {
                out.digest(digest);
            }),
            Request::Records(Wanted { base, ids }) => out.u32(6).digest(&base.0).list(ids, |out, id| {
                out.digest(&id.0);
            }),
            Request::Cancel(id) => out.u32(7).digest(&id.0),
            Request::Peers => out.u32(8),
        };
    })
}

fn provider(out: &mut Bytes, Provider { peer, addresses }: &Provider) {
    out.bytes(peer).list(addresses, |out, address| {
        out.bytes(address);
    });
}

pub fn reply(reply: &Reply) -> Vec<u8> {
    build(|out| {
        match reply {
            Reply::Manifest(bytes) => out.u32(0).bytes(bytes),
            Reply::Have(flags) => out.u32(1).list(flags, |out, flag| {
                out.u8((*flag).into());
            }),
            Reply::Shard { len, offset, bytes } => out.u32(2).u32(*len).u32(*offset).bytes(bytes),
            Reply::Providers(providers) => out.u32(3).list(providers, provider),
            Reply::Peers(peers) => out.u32(8).list(peers, provider),
            Reply::Refused(Refusal::NotFound) => out.u32(4).u32(0),
            Reply::Refused(Refusal::Busy { retry_ms }) => out.u32(4).u32(1).u32(*retry_ms),
            Reply::Refused(Refusal::Cancelled) => out.u32(4).u32(2),
            Reply::Announcements(all) => out.u32(5).list(all, |out, one| {
                out.bytes(one);
            }),
            Reply::Differing(Differing(buckets)) => out.u32(6).list(buckets, |out, Bucket { index, ids }| {
                out.u8(*index).list(ids, |out, id| {
                    out.digest(&id.0);
                });
            }),
            Reply::Records(all) => out.u32(7).list(all, |out, one| {
                out.bytes(one);
            }),
        };
    })
}

/// A signed body: the body's bytes, then the list of keys and signatures.
pub fn envelope(body: &[u8], signatures: &[([u8; 32], [u8; 64])]) -> Vec<u8> {
    build(|out| {
        out.bytes(body).list(signatures, |out, (key, signature)| {
            out.raw(key).raw(signature);
        });
    })
}
