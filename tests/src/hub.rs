//! A small Hugging Face Hub on loopback: the routes of its read API that a download needs, and faults.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

/// The repository that every server has.
pub const REPOSITORY: &str = "potluck-tests/small";
/// Its commit.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What opens its gate.
pub const TOKEN: &str = "hf_of_the_test";

/// What the server does wrong, or otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    Plain,
    /// Nothing is there.
    Empty,
    /// Without the token: 401, and the hub's word for a gate.
    Gated,
    /// Files are elsewhere: on the other server, as on the real hub. Small ones are sent on to a path first.
    Elsewhere(SocketAddr),
    /// This file breaks off after so many bytes, so many times; then it comes whole.
    BreaksOff {
        file: &'static str,
        after: usize,
        times: usize,
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
    /// The etag is a path.
    Escaping,
    /// Every answer sends on to itself.
    Circle,
    /// The files are of another commit than the one that was named.
    OtherCommit,
    /// Range requests are answered with everything.
    NoRanges,
}

/// A running server, until the process ends.
#[derive(Clone)]
pub struct Hub {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    manner: Manner,
    asked: Vec<Asked>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
}

impl Hub {
    pub fn start(files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        let state = Arc::new(Mutex::new(State { files, manner: Manner::Plain, asked: Vec::new() }));
        let hub = Self { address, state };
        let serving = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = serving.clone();
                // A client that hangs up ends its connection and nothing else.
                std::thread::spawn(move || drop(hub.serve(stream)));
            }
        });
        hub
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on; what was asked before is forgotten.
    pub fn behave(&self, manner: Manner) {
        let mut state = self.lock();
        state.manner = manner;
        state.asked.clear();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.lock().asked.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut asked = Asked { path, range: None, token: None };
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "range" => asked.range = Some(value.to_owned()),
                "authorization" => asked.token = Some(value.to_owned()),
                _ => {}
            }
        }
        self.lock().asked.push(asked.clone());
        self.answer(stream, &asked)
    }

    fn answer(&self, mut stream: TcpStream, asked: &Asked) -> std::io::Result<()> {
        let (files, manner) = {
            let state = self.lock();
            (state.files.clone(), state.manner.clone())
        };
        let opened = asked.token.as_deref() == Some(&format!("Bearer {TOKEN}"));
        match &manner {
            Manner::Empty => return head(&mut stream, "404 Not Found", &[("content-length", "0")]),
            Manner::Gated if !opened => {
                let headers = [("content-length", "0"), ("x-error-code", "GatedRepo")];
                return head(&mut stream, "401 Unauthorized", &headers);
            }
            Manner::Circle => return sent_on(&mut stream, &asked.path),
            _ => {}
        }
        if asked.path.starts_with("/api/models/") {
            return repository(&mut stream, &files);
        }
        let name = asked.path.rsplit('/').next().unwrap_or_default();
        let Some(bytes) = files.get(name) else {
            return head(&mut stream, "404 Not Found", &[("content-length", "0")]);
        };
        match &manner {
            Manner::Elsewhere(_) if name.ends_with(".json") && !asked.path.contains("/again/") => {
                sent_on(&mut stream, &format!("/again/{name}"))
            }
            Manner::Elsewhere(other) if name.ends_with(".safetensors") => {
                sent_on(&mut stream, &format!("http://{other}/stored/{name}"))
            }
            _ => self.file(&mut stream, name, bytes, asked, &manner),
        }
    }

    fn file(
        &self,
        stream: &mut TcpStream,
        name: &str,
        bytes: &[u8],
        asked: &Asked,
        manner: &Manner,
    ) -> std::io::Result<()> {
        let range = asked.range.as_deref().filter(|_| *manner != Manner::NoRanges).and_then(span);
        let (start, end) = range.unwrap_or((0, None));
        let size = match manner {
            Manner::Longer { file, by } if *file == name => bytes.len() + by,
            _ => bytes.len(),
        };
        let end = end.map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
        let mut body = bytes[start.min(end)..end].to_vec();
        match manner {
            Manner::Damaged(file) if *file == name => body.iter_mut().for_each(|byte| *byte ^= 1),
            Manner::Overflows(file) if *file == name && body.len() > 1 => body.extend([0; 100]),
            _ => {}
        }
        let (etag, commit) = (etag(name, bytes, manner), commit(manner));
        let (len, content) = (body.len().to_string(), format!("bytes {start}-{}/{size}", end.saturating_sub(1)));
        let mut headers = vec![("content-length", len.as_str()), ("etag", &etag), ("x-repo-commit", commit)];
        if range.is_some() {
            headers.push(("content-range", &content));
        }
        head(stream, if range.is_some() { "206 Partial Content" } else { "200 OK" }, &headers)?;
        let sent = if body.len() > 1 { self.breaks_off(name).unwrap_or(body.len()) } else { body.len() };
        stream.write_all(&body[..sent.min(body.len())])
    }

    /// After how many bytes this answer ends, if it is one that does.
    fn breaks_off(&self, name: &str) -> Option<usize> {
        match &mut self.lock().manner {
            Manner::BreaksOff { file, after, times } if *file == name && *times > 0 => {
                *times -= 1;
                Some(*after)
            }
            _ => None,
        }
    }
}

fn head(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)]) -> std::io::Result<()> {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("HTTP/1.1 {status}\r\n{lines}connection: close\r\n\r\n").as_bytes())
}

/// As the hub does, the first answer names commit and etag.
fn sent_on(stream: &mut TcpStream, place: &str) -> std::io::Result<()> {
    let name = place.rsplit('/').next().unwrap_or_default();
    let etag = format!("\"linked-{}\"", name.replace('.', "-"));
    let headers = [("location", place), ("x-repo-commit", COMMIT), ("x-linked-etag", &etag), ("content-length", "0")];
    head(stream, "302 Found", &headers)
}

fn repository(stream: &mut TcpStream, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
    let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
    head(stream, "200 OK", &[("content-length", &body.len().to_string())])?;
    stream.write_all(body.as_bytes())
}

/// Large files by their SHA-256, others by something short.
fn etag(name: &str, bytes: &[u8], manner: &Manner) -> String {
    if *manner == Manner::Escaping {
        return "\"../../../../escaped\"".to_owned();
    }
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if name.ends_with(".safetensors") { format!("\"{hash}\"") } else { format!("W/\"{}\"", &hash[..40]) }
}

fn commit(manner: &Manner) -> &'static str {
    if *manner == Manner::OtherCommit { "ffffffffffffffffffffffffffffffffffffffff" } else { COMMIT }
}

/// First and last byte of `bytes=A-B` or `bytes=A-`.
fn span(range: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}
