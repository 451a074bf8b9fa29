//! How a server behaves.

use std::net::SocketAddr;

/// What the server does wrong, or otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    Plain,
    /// Nothing is there.
    Empty,
    /// Without the token: 401, and the hub's word for a gate.
    Gated,
    /// Everything is refused with this status, these headers and this `error` in the body's JSON.
    Refuses {
        status: u16,
        headers: &'static [(&'static str, &'static str)],
        json: &'static str,
    },
    /// So many answers are this status, with this `Retry-After`; then all is well.
    Passing {
        status: u16,
        after: Option<&'static str>,
        times: usize,
    },
    /// Everything is a web page that wants a log-in.
    Page,
    /// Files are elsewhere: on the other server, as on the real hub. Small ones are sent on to a path first.
    Elsewhere(SocketAddr),
    /// Everything is on the other server, which is sent to for good.
    Mirrors(SocketAddr),
    /// Files are elsewhere, by a path from where they are.
    Relative,
    /// The repository has another name now.
    Renamed,
    /// This file breaks off after so many bytes, so many times; then it comes whole.
    BreaksOff {
        file: &'static str,
        after: usize,
        times: usize,
    },
    /// This file stands still after so many bytes.
    Stalls {
        file: &'static str,
        after: usize,
    },
    /// This file is said to be so many bytes longer than it is.
    Longer {
        file: &'static str,
        by: usize,
    },
    /// More bytes come than were said.
    Overflows(&'static str),
    /// A byte of this file is another one.
    Damaged(&'static str),
    /// Of this file there is its Git LFS pointer only.
    Pointer(&'static str),
    /// The etag is a path.
    Escaping,
    /// The etags are what a mirror made up.
    OwnEtags,
    /// The etag of large files is another one's hash.
    OtherHash,
    /// This header is left out.
    Without(&'static str),
    /// Of a range it is not said how long the file is.
    NoSize,
    /// The list of the repository's files is so many bytes longer.
    LongList(usize),
    /// Every answer sends on to itself.
    Circle,
    /// The files are of another commit than the one that was named.
    OtherCommit,
    /// Range requests are answered with everything.
    NoRanges,
    /// Requests for the rest of a file are answered with 416.
    NoRest,
}
