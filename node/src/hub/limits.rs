//! Every bound of the hub's client, with its reason.

use std::time::Duration;

use potluck_protocol::limits::{BASE_BYTES_MAX, JSON_MAX, MIB};

/// The list of a repository's files: the largest have some ten thousand.
pub const LIST_MAX: usize = 8 * MIB;
/// `model.safetensors.index.json` names every tensor: some hundred bytes each.
pub const INDEX_MAX: usize = 16 * JSON_MAX;
/// Any other file beside the weights; the largest is a `tokenizer.json` with some 30 MiB.
pub const SMALL_MAX: u64 = 64 * MIB as u64;
/// All files of a base: what the network may publish as one.
pub const TOTAL_MAX: u64 = BASE_BYTES_MAX;
/// Left free on the disk of the cache.
pub const RESERVE: u64 = 64 * MIB as u64;

/// Name lookup, connection and the head of an answer.
pub const CONNECT: Duration = Duration::from_secs(15);
pub const ANSWER: Duration = Duration::from_secs(30);
/// A server that sends nothing for so long has stopped.
pub const STALL: Duration = Duration::from_secs(30);

/// From the hub to its storage is one step; a few more for mirrors.
pub const REDIRECTS: usize = 5;
/// How often a file whose transfer broke is gone on with before the command fails. The next one goes on from there.
pub const TRIES: usize = 3;
/// Bytes read at once.
pub const CHUNK: usize = 256 << 10;
