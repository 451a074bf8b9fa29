//! A pull: manifest, tables, content, every byte checked.

use super::bulk::{self, Reply, Request};
use super::connection::Stream;
use super::cut::cut;
use super::objects::{FileEntry, Manifest, SHARD_MAX, ShardTable, plain};
use super::{Digest, Node, Outcome, rule};

/// An adapter that came whole.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub name: String,
    pub licence: String,
    pub publisher: Digest,
    /// Path and content.
    pub files: Vec<(String, Vec<u8>)>,
    pub shards: usize,
}

impl Node {
    pub async fn pull(&self, id: Digest) -> Outcome<Pulled> {
        let mut stream = self.connection.open(&bulk::protocol(&self.shelf().network)).await?;
        bulk::ask(&mut stream, &Request::Manifest(id)).await?;
        let Reply::Manifest(bytes) = bulk::answer(&mut stream).await? else { return Err("no manifest".into()) };
        let manifest = Manifest::open(&id, &bytes)?;
        rule(manifest.base == self.shelf().base, "the adapter is for the base that is followed")?;
        let (mut files, mut shards) = (Vec::new(), 0);
        for file in &manifest.files {
            let table = table(&mut stream, file).await?;
            let ids: Vec<Digest> = table.rows.iter().map(|(id, _)| *id).collect();
            shards += ids.len();
            let bytes = content(&mut stream, &ids).await?;
            rule(bytes.len() as u64 == file.len && plain(&bytes) == file.digest, "the file is the manifest's")?;
            let lens: Vec<u32> = table.rows.iter().map(|(_, len)| *len).collect();
            rule(cut(&file.path, &bytes) == (table.cut, lens), "the file is cut by the rule")?;
            files.push((file.path.clone(), bytes));
        }
        let Manifest { name, licence, publisher, .. } = manifest;
        Ok(Pulled { name, licence, publisher, files, shards })
    }
}

async fn table(stream: &mut Stream, file: &FileEntry) -> Outcome<ShardTable> {
    rule(file.table.len() == (file.table_len as usize).div_ceil(SHARD_MAX), "the table has its pieces")?;
    let bytes = content(stream, &file.table).await?;
    rule(bytes.len() == file.table_len as usize, "the table has its length")?;
    let table = ShardTable::decode(&bytes)?;
    let sum: u64 = table.rows.iter().map(|(_, len)| u64::from(*len)).sum();
    rule(sum == file.len, "the table covers the file")?;
    Ok(table)
}

/// Shards, asked for ahead, joined.
async fn content(stream: &mut Stream, ids: &[Digest]) -> Outcome<Vec<u8>> {
    bulk::ask(stream, &Request::Have(ids.to_vec())).await?;
    rule(bulk::answer(stream).await? == Reply::Have(vec![true; ids.len()]), "the provider has every shard")?;
    for id in ids {
        bulk::ask(stream, &Request::Shard(*id)).await?;
    }
    let mut joined = Vec::new();
    for id in ids {
        let bytes = shard(stream).await?;
        rule(plain(&bytes) == *id, "the shard is the one that was asked for")?;
        joined.extend(bytes);
    }
    Ok(joined)
}

async fn shard(stream: &mut Stream) -> Outcome<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let Reply::Shard { len, offset, bytes } = bulk::answer(stream).await? else { return Err("no shard".into()) };
        let fits = len as usize <= SHARD_MAX && offset as usize == whole.len() && !bytes.is_empty();
        rule(fits && whole.len() + bytes.len() <= len as usize, "pieces come in order, within the shard")?;
        whole.extend(bytes);
        if whole.len() == len as usize {
            return Ok(whole);
        }
    }
}
