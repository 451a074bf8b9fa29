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
/// A token, a commit that is noted, and what is noted of a file that was checked.
pub const NOTE_MAX: u64 = 4 << 10;
/// Certificates to trust: all that the web has are some 200 KiB.
pub const CERTIFICATES_MAX: u64 = 8 * MIB as u64;
/// Of an error's body, and of a web page: what it says comes first.
pub const SAID_MAX: u64 = 16 << 10;
/// Characters of an error's reason that are shown.
pub const REASON_MAX: usize = 300;

/// Name lookup and connection.
pub const CONNECT: Duration = Duration::from_secs(15);
/// The head of an answer (`HF_HUB_ETAG_TIMEOUT`).
pub const ANSWER: Duration = Duration::from_secs(30);
/// The whole body of an answer that is no file: a list of [`LIST_MAX`] bytes at 70 KiB a second, or what an error says.
pub const BODY: Duration = Duration::from_secs(120);
/// A server that sends nothing for so long has stopped (`HF_HUB_DOWNLOAD_TIMEOUT`).
pub const STALL: Duration = Duration::from_secs(30);

/// From the hub to its storage is one step; a few more for mirrors.
pub const REDIRECTS: usize = 5;
/// A request is made again so often, as `huggingface_hub` does, and so are the waits between.
pub const RETRIES: usize = 5;
/// The first pause before a question is asked again; it doubles.
pub const WAIT_FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
pub const WAIT_MAX: Duration = Duration::from_secs(8);
/// The hub counts requests over five minutes. Whoever asks us to wait longer is not waited for.
pub const ASKED_MAX: Duration = Duration::from_secs(300);

/// A file's transfer breaks so often before the command fails: it is gone on with once less. The next command goes on from
/// there.
pub const TRIES: usize = 3;
/// A transfer that came so much farther since it last broke has not failed again.
pub const FORWARD: u64 = 16 * MIB as u64;
/// Another process that fetches the same file is waited for so long.
pub const LOCKED: Duration = Duration::from_secs(600);
/// Between two looks at a lock that another process holds.
pub const LOCKED_LOOK: Duration = Duration::from_millis(500);
/// A file in the cache of which it is said that it is hashed: it takes a while.
pub const LONG: u64 = 1024 * MIB as u64;
/// A file whose time is older than this shows every later change by its time, on any disk.
pub const SETTLED: Duration = Duration::from_secs(2);
/// Bytes read at once.
pub const CHUNK: usize = 256 << 10;
