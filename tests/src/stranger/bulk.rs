//! The section "Bulk streams": frames, requests and replies.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::wire::{Reader, Writer};
use super::{Digest, Outcome, rule};

/// The longest question.
pub const REQUEST_MAX: usize = 40 << 10;
/// The longest answer.
pub const REPLY_MAX: usize = 264 << 10;
/// Bytes of a shard in one reply: fewer than there may be.
pub const PIECE_MAX: usize = 64 << 10;

pub fn protocol(network: &str) -> String {
    format!("/potluck/{network}/bulk/1")
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Manifest(Digest),
    Have(Vec<Digest>),
    Shard(Digest),
    Compare {
        base: Digest,
        parts: Vec<Digest>,
    },
    Records {
        base: Digest,
        ids: Vec<Digest>,
    },
    /// Needs no answer.
    Cancel,
    Peers,
    /// One that is answered by a refusal here.
    Other,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Manifest(Vec<u8>),
    Have(Vec<bool>),
    Shard {
        len: u32,
        offset: u32,
        bytes: Vec<u8>,
    },
    NotFound,
    Busy {
        retry_ms: u32,
    },
    Differing(Vec<(u8, Vec<Digest>)>),
    Records(Vec<Vec<u8>>),
    /// Nobody that it knows of.
    NoPeers,
}

impl Request {
    fn encode(&self) -> Vec<u8> {
        let out = Writer::default();
        match self {
            Self::Manifest(id) => out.u32(0).raw(id),
            Self::Have(ids) => out.u32(1).digests(ids),
            Self::Shard(id) => out.u32(2).raw(id),
            Self::Compare { base, parts } => out.u32(5).raw(base).digests(parts),
            Self::Records { base, ids } => out.u32(6).raw(base).digests(ids),
            // Not asked by this node.
            Self::Cancel | Self::Peers | Self::Other => out,
        }
        .0
    }

    fn decode(bytes: &[u8]) -> Outcome<Self> {
        let mut reader = Reader(bytes);
        let request = match reader.u32()? {
            0 => Self::Manifest(reader.digest()?),
            1 => Self::Have(reader.digests()?),
            2 => Self::Shard(reader.digest()?),
            5 => Self::Compare { base: reader.digest()?, parts: reader.digests()? },
            6 => Self::Records { base: reader.digest()?, ids: reader.digests()? },
            7 => return Ok(Self::Cancel),
            8 => Self::Peers,
            _ => return Ok(Self::Other),
        };
        reader.end()?;
        Ok(request)
    }
}

impl Reply {
    fn encode(&self) -> Vec<u8> {
        let out = Writer::default();
        match self {
            Self::Manifest(bytes) => out.u32(0).bytes(bytes),
            Self::Have(flags) => out.u32(1).list(flags, |out, flag| out.u8((*flag).into())),
            Self::Shard { len, offset, bytes } => out.u32(2).u32(*len).u32(*offset).bytes(bytes),
            Self::NotFound => out.u32(4).u32(0),
            Self::Busy { retry_ms } => out.u32(4).u32(1).u32(*retry_ms),
            Self::Differing(parts) => out.u32(6).list(parts, |out, (index, ids)| out.u8(*index).digests(ids)),
            Self::NoPeers => out.u32(8).u64(0),
            Self::Records(records) => out.u32(7).list(records, |out, record| out.bytes(record)),
        }
        .0
    }

    fn decode(bytes: &[u8]) -> Outcome<Self> {
        let mut reader = Reader(bytes);
        let reply = match reader.u32()? {
            0 => Self::Manifest(reader.bytes()?),
            1 => Self::Have(reader.list(Reader::flag)?),
            2 => Self::Shard { len: reader.u32()?, offset: reader.u32()?, bytes: reader.bytes()? },
            4 => match reader.u32()? {
                0 => Self::NotFound,
                1 => Self::Busy { retry_ms: reader.u32()? },
                _ => return Err("an unknown refusal".into()),
            },
            6 => Self::Differing(reader.list(|reader| Ok((reader.u8()?, reader.digests()?)))?),
            7 => Self::Records(reader.list(Reader::bytes)?),
            _ => return Err("an unknown reply".into()),
        };
        reader.end()?;
        Ok(reply)
    }
}

/// After its length.
pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Outcome<()> {
    stream.write_all(&[&(bytes.len() as u32).to_le_bytes(), bytes].concat()).await?;
    Ok(stream.flush().await?)
}

/// `None` at the end of the stream.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin), max: usize) -> Outcome<Option<Vec<u8>>> {
    let mut len = [0; 4];
    if stream.read(&mut len[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut len[1..]).await?;
    let len = u32::from_le_bytes(len) as usize;
    rule(len <= max, "a frame is bounded")?;
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

pub async fn ask(stream: &mut (impl AsyncWrite + Unpin), request: &Request) -> Outcome<()> {
    write_frame(stream, &request.encode()).await
}

pub async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Outcome<Reply> {
    Reply::decode(&read_frame(stream, REPLY_MAX).await?.ok_or("the stream ended without an answer")?)
}

pub async fn asked(stream: &mut (impl AsyncRead + Unpin)) -> Outcome<Option<Request>> {
    read_frame(stream, REQUEST_MAX).await?.map(|bytes| Request::decode(&bytes)).transpose()
}

pub async fn reply(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> Outcome<()> {
    write_frame(stream, &reply.encode()).await
}
