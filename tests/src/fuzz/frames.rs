//! Frames as they come on bulk streams: lengths that lie, ends in the middle, several in a row, and what later versions ask
//! and answer.

use futures::executor::block_on;
use futures::io::Cursor;
use potluck_node::net::bulk::{FrameError, read_frame};
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::codec::{self, Growing, Heard};

use super::protocol::{WIRE, WORDS};
use super::{Form, Outcome, Target, hold, seeds};

/// Frames of one input that are read.
const FRAMES_MAX: usize = 64;

pub fn target() -> Target {
    Target {
        name: "frames",
        about: "frames on a bulk stream, as who asks and as who answers reads them",
        form: Form::Bytes,
        words: WORDS,
        seeds: inputs,
        // A frame's bytes are allocated once their length is in bounds, before they come.
        memory: super::Memory { plus: WIRE.plus + (1 << 20), ..WIRE },
        short: 2000,
        run,
    }
}

fn run(bytes: &[u8]) -> Result<Outcome, String> {
    let (requests, asked) = read::<Request>(bytes)?;
    let (replies, answered) = read::<Reply>(bytes)?;
    let said = format!("{asked} {answered}");
    if requests + replies == 0 { Outcome::refused(said) } else { Outcome::accepted(said) }
}

/// How many frames were read, and how it ended.
fn read<T: Growing>(bytes: &[u8]) -> Result<(usize, String), String> {
    let mut stream = Cursor::new(bytes);
    let (mut count, mut at) = (0, 0usize);
    while count < FRAMES_MAX {
        let frame = match block_on(read_frame::<T>(&mut stream)) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                hold(at == bytes.len(), || "the stream ended before its end".to_owned())?;
                return Ok((count, "end".to_owned()));
            }
            Err(error) => return Ok((count, end(&error))),
        };
        let next = usize::try_from(stream.position()).map_err(|error| error.to_string())?;
        let payload = bytes.get(at + 4..next).ok_or("more was read than there is")?;
        hold(payload.len() <= T::MAX, || "a frame is longer than its bound".to_owned())?;
        match frame {
            Heard::Known(value) => {
                let again = codec::encode(&value).map_err(|error| format!("it cannot be written: {error}"))?;
                hold(again == payload, || "what was read is written otherwise".to_owned())?;
            }
            Heard::Later(_) => {
                hold(codec::decode::<T>(payload).is_err(), || "what is known is taken for a later one".to_owned())?;
            }
        }
        (count, at) = (count + 1, next);
    }
    Ok((count, "many".to_owned()))
}

/// A broken stream is nobody's fault, and what no honest peer sends is somebody's.
fn end(error: &FrameError) -> String {
    let fault = if error.is_fault() { "fault" } else { "broken" };
    format!("{fault} {error}")
}

fn inputs() -> Vec<Vec<u8>> {
    let frame = |payload: &Vec<u8>| [&(payload.len() as u32).to_le_bytes()[..], payload].concat();
    let all: Vec<Vec<u8>> = ["request", "reply"].into_iter().flat_map(seeds::vectors).collect();
    let frames: Vec<Vec<u8>> = all.iter().filter(|payload| payload.len() < 8 << 10).map(frame).collect();
    let later = frame(&[57u32.to_le_bytes().as_slice(), &[7; 32]].concat());
    let several = frames.iter().take(6).chain([&later]).flatten().copied().collect();
    let long = [&u32::MAX.to_le_bytes()[..], &[7; 64]].concat();
    [frames, vec![later, several, long]].concat()
}
