//! The section "Objects and ids", and their bytes by "Layouts".

use ed25519_dalek::{Signature, VerifyingKey};
use libp2p::identity::ed25519::Keypair;

use super::wire::{Reader, Writer};
use super::{Digest, Outcome, rule};

const MANIFEST: &str = "potluck 2026 manifest/1";
const ANNOUNCEMENT: &str = "potluck 2026 announcement/1";

/// The longest shard.
pub const SHARD_MAX: usize = 1 << 20;

/// A shard's id, and a file's digest.
pub fn plain(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

/// A body beside the signatures of its certificate.
fn envelope(context: &str, body: &[u8], keypair: &Keypair) -> Vec<u8> {
    let signature = keypair.sign(&message(context, body));
    Writer::default().bytes(body).u64(1).raw(&keypair.public().to_bytes()).raw(&signature).0
}

fn message(context: &str, body: &[u8]) -> Vec<u8> {
    [&[context.len() as u8], context.as_bytes(), body].concat()
}

/// The body of an envelope, if all signatures are right and the signer's is among them.
fn body(context: &str, bytes: &[u8], signer: impl Fn(&[u8]) -> Outcome<Digest>) -> Outcome<Vec<u8>> {
    let mut reader = Reader(bytes);
    let body = reader.bytes()?;
    let certificate = reader.list(|reader| Ok((reader.digest()?, reader.signature()?)))?;
    reader.end()?;
    rule((1..=16).contains(&certificate.len()), "1 to 16 signatures")?;
    rule(certificate.windows(2).all(|pair| pair[0].0 < pair[1].0), "signatures are sorted by key")?;
    for (key, signature) in &certificate {
        let key = VerifyingKey::from_bytes(key)?;
        key.verify_strict(&message(context, &body), &Signature::from_bytes(signature))?;
    }
    let signer = signer(&body)?;
    rule(certificate.iter().any(|(key, _)| *key == signer), "the signer's signature is there")?;
    Ok(body)
}

/// "This manifest exists."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub manifest: Digest,
    pub manifest_len: u32,
    pub name: String,
    pub base: Digest,
    pub total_bytes: u64,
    pub publisher: Digest,
    pub sequence: u64,
}

impl Announcement {
    fn encode(&self) -> Vec<u8> {
        const ADAPTER: u32 = 0;
        let out = Writer::default().raw(&self.manifest).u32(self.manifest_len).u32(ADAPTER);
        let out = out.bytes(self.name.as_bytes()).raw(&self.base).u64(self.total_bytes);
        out.raw(&self.publisher).u64(self.sequence).0
    }

    fn decode(bytes: &[u8]) -> Outcome<Self> {
        let mut reader = Reader(bytes);
        let (manifest, manifest_len, kind) = (reader.digest()?, reader.u32()?, reader.u32()?);
        rule(kind <= 2, "an adapter, a base or a dataset")?;
        let (name, base, total_bytes) = (reader.text()?, reader.digest()?, reader.u64()?);
        let (publisher, sequence) = (reader.digest()?, reader.u64()?);
        reader.end()?;
        Ok(Self { manifest, manifest_len, name, base, total_bytes, publisher, sequence })
    }

    /// The announcement's id, and what travels.
    pub fn sign(&self, keypair: &Keypair) -> (Digest, Vec<u8>) {
        let body = self.encode();
        (blake3::derive_key(ANNOUNCEMENT, &body), envelope(ANNOUNCEMENT, &body, keypair))
    }

    /// Verified, with its id.
    pub fn open(bytes: &[u8]) -> Outcome<(Digest, Self)> {
        let body = body(ANNOUNCEMENT, bytes, |body| Ok(Self::decode(body)?.publisher))?;
        Ok((blake3::derive_key(ANNOUNCEMENT, &body), Self::decode(&body)?))
    }
}

/// One file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    pub path: String,
    pub len: u64,
    pub digest: Digest,
    pub table: Vec<Digest>,
    pub table_len: u32,
}

/// A manifest of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub base: Digest,
    pub r: u32,
    pub target_modules: Vec<String>,
    pub name: String,
    pub licence: String,
    pub created: u64,
    pub publisher: Digest,
    pub files: Vec<FileEntry>,
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        // An adapter without parents, training or evaluations.
        let out = Writer::default().u32(0).raw(&self.base).raw(&self.base).u32(self.r);
        let out = out.list(&self.target_modules, |out, name| out.bytes(name.as_bytes()));
        let out = out.u64(0).u8(0).u64(0);
        let out = out.bytes(self.name.as_bytes()).bytes(self.licence.as_bytes()).bytes(b"").u64(self.created);
        let file = |out: Writer, file: &FileEntry| {
            let out = out.bytes(file.path.as_bytes()).u64(file.len).raw(&file.digest);
            out.digests(&file.table).u32(file.table_len)
        };
        out.raw(&self.publisher).list(&self.files, file).0
    }

    fn decode(bytes: &[u8]) -> Outcome<Self> {
        let mut reader = Reader(bytes);
        rule(reader.u32()? == 0, "an adapter")?;
        let (base, _trained_on, r) = (reader.digest()?, reader.digest()?, reader.u32()?);
        let target_modules = reader.list(Reader::text)?;
        let _parents = reader.digests()?;
        if reader.flag()? {
            let _steps_tokens_seed_rate = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
            let _data = reader.digest()?;
        }
        let evaluation = |reader: &mut Reader| Ok((reader.text()?, reader.u64()?, reader.u32()?, reader.u64()?));
        let _evaluations = reader.list(evaluation)?;
        let (name, licence, _description) = (reader.text()?, reader.text()?, reader.text()?);
        let (created, publisher) = (reader.u64()?, reader.digest()?);
        let files = reader.list(|reader| {
            let (path, len, digest) = (reader.text()?, reader.u64()?, reader.digest()?);
            Ok(FileEntry { path, len, digest, table: reader.digests()?, table_len: reader.u32()? })
        })?;
        reader.end()?;
        rule(files.windows(2).all(|pair| pair[0].path < pair[1].path), "files are sorted by path")?;
        Ok(Self { base, r, target_modules, name, licence, created, publisher, files })
    }

    /// The manifest's id, and what travels.
    pub fn sign(&self, keypair: &Keypair) -> (Digest, Vec<u8>) {
        let body = self.encode();
        (blake3::derive_key(MANIFEST, &body), envelope(MANIFEST, &body, keypair))
    }

    /// The manifest of that id, verified.
    pub fn open(id: &Digest, bytes: &[u8]) -> Outcome<Self> {
        let body = body(MANIFEST, bytes, |body| Ok(Self::decode(body)?.publisher))?;
        rule(blake3::derive_key(MANIFEST, &body) == *id, "the manifest has the id that was asked for")?;
        Self::decode(&body)
    }
}

/// The pieces of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardTable {
    /// 0 fixed, 1 safetensors.
    pub cut: u32,
    pub rows: Vec<(Digest, u32)>,
}

impl ShardTable {
    pub fn encode(&self) -> Vec<u8> {
        Writer::default().u32(self.cut).list(&self.rows, |out, (id, len)| out.raw(id).u32(*len)).0
    }

    pub fn decode(bytes: &[u8]) -> Outcome<Self> {
        let mut reader = Reader(bytes);
        let cut = reader.u32()?;
        rule(cut <= 1, "a known cut")?;
        let rows = reader.list(|reader| Ok((reader.digest()?, reader.u32()?)))?;
        reader.end()?;
        rule(rows.iter().all(|(_, len)| (1..=SHARD_MAX as u32).contains(len)), "shards of 1 byte to 1 MiB")?;
        Ok(Self { cut, rows })
    }
}
