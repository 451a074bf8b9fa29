//! As much of protobuf as identify and gossipsub need: fields of bytes and of small numbers.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Outcome, rule};

/// The longest message that is read.
const MAX: usize = 64 << 10;

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of bytes, text or a message.
pub fn bytes(field: usize, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len()), value.to_vec()].concat()
}

/// A field of a flag.
pub fn flag(field: usize, value: bool) -> Vec<u8> {
    [varint(field << 3), vec![value.into()]].concat()
}

/// Writes a message after its length.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> Outcome<()> {
    stream.write_all(&[varint(message.len()), message.to_vec()].concat()).await?;
    Ok(stream.flush().await?)
}

/// Reads a message after its length.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Outcome<Vec<u8>> {
    let (mut len, mut shift, mut byte) = (0, 0, [128]);
    while byte[0] >= 128 {
        stream.read_exact(&mut byte).await?;
        len |= usize::from(byte[0] & 127) << shift;
        shift += 7;
        rule(shift <= 21, "a length has at most three bytes")?;
    }
    rule(len <= MAX, "the message is short")?;
    let mut message = vec![0; len];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The values of all fields of bytes with this number.
pub fn fields(mut message: &[u8], wanted: usize) -> Outcome<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = take(&mut message)?;
        let value = take(&mut message)?;
        match tag & 7 {
            0 => {}
            2 => {
                let (bytes, rest) = message.split_at_checked(value).ok_or("a field is cut off")?;
                message = rest;
                if tag >> 3 == wanted {
                    found.push(bytes.to_vec());
                }
            }
            _ => return Err("only numbers and bytes are expected".into()),
        }
    }
    Ok(found)
}

fn take(message: &mut &[u8]) -> Outcome<usize> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = message.split_first().ok_or("a number is cut off")?;
        *message = rest;
        value |= usize::from(byte & 127) << shift;
        shift += 7;
        if *byte < 128 {
            return Ok(value);
        }
        rule(shift < 64, "a number has at most ten bytes")?;
    }
}
