//! Frames on a byte stream: a little-endian `u32` length, then so many bytes of a wire type.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use potluck_protocol::codec::{self, CodecError, Growing, Heard, Wire};

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum FrameError {
    /// The connection broke, or the peer went away in the middle of a frame.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The peer declared a frame that no honest peer sends. Nothing was allocated for it.
    #[error("a frame of {len} bytes was declared, at most {max} are allowed")]
    TooLong { len: u32, max: usize },
    /// The peer sent bytes that are no such frame.
    #[error("a frame cannot be read: {0}")]
    Codec(#[from] CodecError),
    /// Nothing came, or nothing was taken, for so long.
    #[error("the stream made no progress for {seconds} s")]
    Stalled { seconds: u64 },
    /// The stream ended where a frame was due.
    #[error("the peer ended the stream")]
    Ended,
}

impl FrameError {
    /// Nothing came, or nothing was taken, for so long.
    pub fn stalled(limit: Duration) -> Self {
        Self::Stalled { seconds: limit.as_secs() }
    }

    /// The peer broke the protocol, as opposed to being slow or gone.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::Codec(_))
    }
}

/// The next frame, which a peer of a later version may have sent; `None` if the stream ended before it began.
pub async fn read<T: Growing>(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Heard<T>>, FrameError> {
    Ok(read_sized(stream).await?.map(|(frame, _)| frame))
}

/// As [`read`], with the number of its bytes.
pub async fn read_sized<T: Growing>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<(Heard<T>, usize)>, FrameError> {
    let Some(bytes) = bytes(stream, T::MAX).await? else { return Ok(None) };
    Ok(Some((codec::decode_growing(&bytes)?, bytes.len())))
}

/// A frame's bytes. The declared length is compared with the bound before anything is allocated. // I4
async fn bytes(stream: &mut (impl AsyncRead + Unpin), max: usize) -> Result<Option<Vec<u8>>, FrameError> {
    let mut head = [0; 4];
    let first = stream.read(&mut head).await?;
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[first..]).await?;
    let len = u32::from_le_bytes(head);
    if len as usize > max {
        return Err(FrameError::TooLong { len, max });
    }
    let mut bytes = vec![0; len as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

/// Writes and flushes one frame.
pub async fn write<T: Wire>(stream: &mut (impl AsyncWrite + Unpin), value: &T) -> Result<(), FrameError> {
    // One write: a length on its own would be a packet of its own.
    let mut frame = vec![0; 4];
    codec::append(value, &mut frame)?;
    let len = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&len.to_le_bytes());
    stream.write_all(&frame).await?;
    stream.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use potluck_protocol::bulk::{Refusal, Reply, Request};
    use potluck_protocol::id::{Digest, ShardId};
    use proptest::prelude::*;

    use super::*;

    fn written<T: Wire>(value: &T) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        block_on(write(&mut bytes, value)).expect("memory takes it");
        bytes.into_inner()
    }

    #[test]
    fn frames_come_back_as_they_were_written() {
        let replies = [
            Reply::Refused(Refusal::Busy { retry_ms: 9 }),
            Reply::Have(vec![true, false]),
            Reply::Shard { len: 5, offset: 2, bytes: vec![1, 2, 3] },
        ];
        let mut stream = Cursor::new(replies.iter().flat_map(written).collect::<Vec<_>>());
        for reply in replies {
            assert_eq!(block_on(read(&mut stream)).expect("a frame"), Some(Heard::Known(reply)));
        }
        assert_eq!(block_on(read::<Reply>(&mut stream)).expect("the end"), None);
    }

    #[test]
    fn a_declared_gigabyte_is_refused_before_it_is_allocated() {
        for len in [u32::MAX, 1 << 30, Request::MAX as u32 + 1] {
            let mut stream = Cursor::new(len.to_le_bytes().to_vec());
            let error = block_on(read::<Request>(&mut stream)).expect_err("too long");
            assert!(matches!(error, FrameError::TooLong { .. }) && error.is_fault(), "{error}");
        }
    }

    #[test]
    fn a_frame_that_ends_early_is_an_error_at_every_byte() {
        let frame = written(&Reply::Shard { len: 3, offset: 0, bytes: vec![1, 2, 3] });
        for cut in 1..frame.len() {
            let mut stream = Cursor::new(frame[..cut].to_vec());
            let error = block_on(read::<Reply>(&mut stream)).expect_err("cut short");
            assert!(matches!(error, FrameError::Io(_)) && !error.is_fault(), "{cut}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_as_the_same_bytes(payload in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u32..10) {
            // Half of the payloads begin with the number of a variant, so that some are read.
            let payloads = [[&kind.to_le_bytes()[..], &payload].concat(), payload];
            for frame in payloads.map(|payload| [&(payload.len() as u32).to_le_bytes()[..], &payload].concat()) {
                if let Ok(Some(Heard::Known(reply))) = block_on(read::<Reply>(&mut Cursor::new(frame.clone()))) {
                    prop_assert_eq!(written(&reply), frame.clone());
                }
                if let Ok(Some(Heard::Known(request))) = block_on(read::<Request>(&mut Cursor::new(frame.clone()))) {
                    prop_assert_eq!(written(&request), frame);
                }
            }
        }

        #[test]
        fn flipping_a_bit_never_gives_the_same_request(bit in 0usize..(36 * 8)) {
            let mut frame = Cursor::new(Vec::new());
            let request = Request::Shard(ShardId(Digest::of(b"x")));
            block_on(write(&mut frame, &request)).expect("memory takes it");
            let mut bytes = frame.into_inner();
            bytes[4 + bit / 8] ^= 1 << (bit % 8);
            let again = block_on(read::<Request>(&mut Cursor::new(bytes))).ok().flatten();
            prop_assert_ne!(again, Some(Heard::Known(request)));
        }
    }
}
