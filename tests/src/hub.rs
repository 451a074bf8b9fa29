//! A small Hugging Face Hub on loopback: the routes of its read API that a download needs, its proxies and mirrors, and the
//! faults of them all.

mod manner;
mod reply;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use manner::Manner;
use reply::{head, redirect};

/// The repository that every server has.
pub const REPOSITORY: &str = "potluck-tests/small";
/// Its commit.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What opens its gate.
pub const TOKEN: &str = "hf_of_the_test";

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
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
    pub agent: Option<String>,
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

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut asked = read_head(&stream)?;
        self.lock().asked.push(asked.clone());
        // As a proxy, it leads to itself, whatever host is meant.
        if asked.method == "CONNECT" {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            asked = read_head(&stream)?;
            self.lock().asked.push(asked.clone());
        }
        self.answer(stream, &asked)
    }

    fn answer(&self, mut stream: TcpStream, asked: &Asked) -> std::io::Result<()> {
        let (files, manner) = {
            let state = self.lock();
            (state.files.clone(), state.manner.clone())
        };
        if let Some(answered) = self.refuses(&mut stream, asked, &manner) {
            return answered;
        }
        if asked.path.starts_with("/api/models/") {
            return reply::repository(&mut stream, &files, &manner);
        }
        // A name may have folders.
        let Some((name, bytes)) = files.iter().find(|(name, _)| asked.path.ends_with(&format!("/{name}"))) else {
            return head(&mut stream, 404, &[("content-length", "0")]);
        };
        let etag = reply::etag(name, bytes, &manner);
        match &manner {
            Manner::Elsewhere(_) if name.ends_with(".json") && !asked.path.contains("/again/") => {
                redirect(&mut stream, &format!("/again/{name}"), &etag)
            }
            Manner::Elsewhere(other) if name.ends_with(".safetensors") => {
                redirect(&mut stream, &format!("http://{other}/stored/{name}"), &etag)
            }
            Manner::Relative if !asked.path.contains("/again/") => {
                redirect(&mut stream, &format!("../again/{name}"), &etag)
            }
            _ => self.file(&mut stream, name, bytes, asked, &manner),
        }
    }

    /// Answers that look at no file.
    fn refuses(&self, stream: &mut TcpStream, asked: &Asked, manner: &Manner) -> Option<std::io::Result<()>> {
        let opened = asked.token.as_deref() == Some(&format!("Bearer {TOKEN}"));
        let none = ("content-length", "0");
        Some(match manner {
            Manner::Empty => head(stream, 404, &[none]),
            Manner::Gated if !opened => head(stream, 401, &[none, ("x-error-code", "GatedRepo")]),
            Manner::Circle => redirect(stream, &asked.path, "\"x\""),
            Manner::Mirrors(other) => {
                head(stream, 308, &[none, ("location", &format!("http://{other}{}", asked.path))])
            }
            Manner::Renamed if !asked.path.contains("/renamed/") => {
                let place = asked.path.replace(REPOSITORY, "renamed/small");
                head(stream, 307, &[none, ("location", &place)])
            }
            Manner::Page => reply::body(stream, 200, "text/html; charset=utf-8", b"<html><title>Hotel Wi-Fi</title>"),
            Manner::Refuses { status, headers, json } => reply::refusal(stream, *status, headers, json),
            Manner::Passing { status, after, .. } if self.is_passing() => {
                let after = after.map(|after| ("retry-after", after));
                head(stream, *status, &after.into_iter().chain([none]).collect::<Vec<_>>())
            }
            _ => return None,
        })
    }

    /// Whether this answer is one that passes; counts them.
    fn is_passing(&self) -> bool {
        match &mut self.lock().manner {
            Manner::Passing { times, .. } if *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
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
        let ranges = !matches!(manner, Manner::NoRanges | Manner::Without("content-length"));
        let range = asked.range.as_deref().filter(|_| ranges).and_then(reply::span);
        let (start, end) = range.unwrap_or((0, None));
        if start > 0 && *manner == Manner::NoRest {
            return head(stream, 416, &[("content-length", "0")]);
        }
        let pointer = reply::pointer(bytes);
        let bytes = if matches!(manner, Manner::Pointer(file) if *file == name) { pointer.as_slice() } else { bytes };
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
        let size = if *manner == Manner::NoSize { "*".to_owned() } else { size.to_string() };
        let (len, content) = (body.len().to_string(), format!("bytes {start}-{}/{size}", end.saturating_sub(1)));
        let etag = reply::etag(name, bytes, manner);
        let mut headers =
            vec![("content-length", len.as_str()), ("etag", &etag), ("x-repo-commit", reply::commit(manner))];
        if range.is_some() {
            headers.push(("content-range", &content));
        }
        if let Manner::Without(header) = manner {
            headers.retain(|(name, _)| name != header);
        }
        head(stream, if range.is_some() { 206 } else { 200 }, &headers)?;
        let sent = if body.len() > 1 { self.breaks_off(name).unwrap_or(body.len()) } else { body.len() };
        stream.write_all(&body[..sent.min(body.len())])?;
        if sent < body.len() && matches!(manner, Manner::Stalls { .. }) {
            // Until the other side has had enough.
            stream.read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }

    /// After how many bytes this answer ends, or stands still, if it is one that does.
    fn breaks_off(&self, name: &str) -> Option<usize> {
        match &mut self.lock().manner {
            Manner::Stalls { file, after } if *file == name => Some(*after),
            Manner::BreaksOff { file, after, times } if *file == name && *times > 0 => {
                *times -= 1;
                Some(*after)
            }
            _ => None,
        }
    }
}

fn read_head(stream: &TcpStream) -> std::io::Result<Asked> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut asked = Asked { method, path, range: None, token: None, agent: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => asked.range = Some(value.to_owned()),
            "authorization" => asked.token = Some(value.to_owned()),
            "user-agent" => asked.agent = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(asked)
}
