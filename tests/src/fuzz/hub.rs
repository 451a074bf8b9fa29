//! What the hub's client reads of a server's answers: a server on loopback that says whatever the input says.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use potluck_node::hub::{Event, Fresh, HubId, Talk, fetch, read_settings};
use tokio_util::sync::CancellationToken;

use super::{Form, Memory, Outcome, Target, hold};
use crate::hub::{COMMIT, REPOSITORY};

/// Between the answers of an input: the list of files, an index, where a file is, and what is in it.
const BETWEEN: u8 = 0x1e;

/// Stands for the length of an answer's body.
const LEN: &[u8] = b"LEN";

/// What servers say.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n", "HTTP/1.1 206 Partial Content\r\n", "HTTP/1.1 302 Found\r\n", "HTTP/1.1 308 X\r\n",
    "HTTP/1.1 401 X\r\n", "HTTP/1.1 403 X\r\n", "HTTP/1.1 404 X\r\n", "HTTP/1.1 416 X\r\n", "HTTP/1.1 429 X\r\n",
    "HTTP/1.1 503 X\r\n", "HTTP/1.1 511 X\r\n", "content-length: LEN\r\n",
    "content-length: 99999999999999999999\r\n", "transfer-encoding: chunked\r\n", "content-encoding: gzip\r\n",
    "content-type: text/html\r\n", "location: ../x\r\n", "location: http://[::1\r\n", "location: \r\n",
    "etag: \"../x\"\r\n", "etag: W/\"own-1\"\r\n", "x-linked-etag: \"own-2\"\r\n", "x-linked-size: 3\r\n",
    "x-repo-commit: ffff\r\n", "x-error-code: GatedRepo\r\n", "x-error-code: RevisionNotFound\r\n",
    "x-error-message: \u{1b}[2J\r\n", "content-range: bytes 0-0/3\r\n",
    "content-range: bytes 2-1/18446744073709551615\r\n", "retry-after: 1e99\r\n",
    "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "ratelimit: \"api\";r=0;t=55\r\n", "\r\n\r\n", "\"siblings\"",
    "\"rfilename\"", "\"../../x\"", "\"config.json\"", "\"tokenizer.json\"", "\"model.safetensors.index.json\"",
    "\"additional_chat_templates/a.jinja\"", "\"weight_map\"", "<html><title>", "</title>", "\u{1e}",
];

pub fn target() -> Target {
    Target {
        name: "hub",
        about: "answers of a Hugging Face Hub: heads, redirects, lists, indices, files",
        form: Form::Text,
        words: WORDS,
        seeds: inputs,
        // The largest list is 8 MiB; a client with its certificates and buffers is some megabytes by itself.
        memory: Memory::new(64, 64 << 20),
        short: 20,
        run,
    }
}

/// A server that answers with what is put here.
struct Server {
    address: SocketAddr,
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
}

fn server() -> &'static Server {
    static ONE: OnceLock<Server> = OnceLock::new();
    ONE.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let answers = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let serving = answers.clone();
        std::thread::spawn(move || {
            // One at a time: a client that hangs up ends its connection and nothing else.
            listener.incoming().flatten().for_each(|stream| drop(serve(stream, &serving)));
        });
        Server { address, answers }
    })
}

fn serve(mut stream: TcpStream, answers: &Mutex<Vec<Vec<u8>>>) -> std::io::Result<()> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    // Up to the empty line.
    while lines.read_line(&mut head)? > 2 {}
    let which = if head.contains(" /api/") {
        0
    } else if head.contains(".index.json ") {
        1
    } else if head.contains("bytes=0-0") {
        2
    } else {
        3
    };
    let answer = answers.lock().unwrap_or_else(PoisonError::into_inner).get(which).cloned().unwrap_or_default();
    stream.write_all(&answer)
}

/// The answer with its body's length where it is to stand.
fn measured(answer: &[u8]) -> Vec<u8> {
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| answer.len() - at - 4);
    match answer.windows(LEN.len()).position(|three| three == LEN) {
        Some(at) => [&answer[..at], body.to_string().as_bytes(), &answer[at + LEN.len()..]].concat(),
        None => answer.to_vec(),
    }
}

fn run(bytes: &[u8]) -> Result<Outcome, String> {
    let server = server();
    *server.answers.lock().unwrap_or_else(PoisonError::into_inner) =
        bytes.split(|byte| *byte == BETWEEN).map(measured).collect();
    let root = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cache = root.path().join("cache");
    let variable = |name: &str| match name {
        "HF_ENDPOINT" => Some(OsString::from(format!("http://{}", server.address))),
        "HF_HUB_CACHE" => Some(cache.clone().into_os_string()),
        "HF_HUB_DISABLE_IMPLICIT_TOKEN" => Some("1".into()),
        _ => None,
    };
    let settings = read_settings(variable, None).map_err(|error| error.to_string())?;
    let id: HubId = REPOSITORY.parse().expect("an id");
    let stop = CancellationToken::new();
    let ended = stop.clone();
    // What may pass is not waited for.
    let tell = move |event| {
        if matches!(event, Event::Note(note) if note.contains("trying again")) {
            ended.cancel();
        }
    };
    let fetched = fetch(&id, &settings, Fresh::Ask, &Talk::new(tell, stop));
    stays(root.path())?;
    match fetched {
        Ok(folder) => {
            hold(folder.starts_with(&cache), || format!("{} lies outside of the cache", folder.display()))?;
            Outcome::accepted("fetched")
        }
        Err(error) => {
            let shown = error.to_string();
            let plain = !shown.chars().any(|c| c.is_control() && c != '\n');
            hold(plain, || format!("what a person sees steers their terminal: {}", shown.escape_debug()))?;
            Outcome::refused(shown.replace(&root.path().display().to_string(), ""))
        }
    }
}

/// Nothing is written beside the cache, and no link leads out of it. // I13
fn stays(root: &Path) -> Result<(), String> {
    let outside = fs::read_dir(root).map_err(|error| error.to_string())?.flatten();
    let outside: Vec<_> = outside.map(|entry| entry.file_name()).filter(|name| name != "cache").collect();
    hold(outside.is_empty(), || format!("{outside:?} was written beside the cache"))?;
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).map_err(|error| error.to_string())?.flatten() {
            let path = entry.path();
            let inside = path.canonicalize().map_or(true, |to| to.starts_with(&root));
            hold(inside, || format!("{} leads out of the cache", path.display()))?;
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

fn answer(head: &[&str], body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {}\r\ncontent-length: LEN\r\nconnection: close\r\n\r\n{body}", head.join("\r\n")).into_bytes()
}

fn inputs() -> Vec<Vec<u8>> {
    let list = |names: &[&str]| {
        let siblings: Vec<_> = names.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let info = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        answer(&["200 OK", "content-type: application/json"], &info)
    };
    let commit = format!("x-repo-commit: {COMMIT}");
    let index = answer(
        &["206 Partial", &commit, "etag: \"own-i\"", "content-range: bytes 0-44/45"],
        r#"{"weight_map":{"a":"model-1.safetensors"}}   "#,
    );
    let place = answer(&["206 Partial", &commit, "etag: \"own-1\"", "content-range: bytes 0-0/2"], "{");
    let content = answer(&["206 Partial", &commit, "etag: \"own-1\"", "content-range: bytes 0-1/2"], "{}");
    let whole = answer(&["200 OK", &commit, "x-linked-etag: \"own-1\"", "x-linked-size: 2"], "{}");
    let single = list(&["config.json", "tokenizer.json", "model.safetensors"]);
    let split = list(&["config.json", "tokenizer.json", "model.safetensors.index.json", "model-1.safetensors"]);
    let elsewhere = answer(&["302 Found", &commit, "location: ../elsewhere", "x-linked-etag: \"own-1\""], "");
    let gated = answer(&["401 X", "x-error-code: GatedRepo", "x-error-message: Access is restricted"], "");
    let page = answer(&["200 OK", "content-type: text/html"], "<html><title>Hotel Wi-Fi</title>");
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec();
    let inputs = [
        [&single, &index, &place, &content],
        [&split, &index, &index, &content],
        [&single, &index, &whole, &whole],
        [&single, &index, &elsewhere, &content],
        [&gated, &gated, &gated, &gated],
        [&page, &page, &page, &page],
        [&single, &chunked, &place, &chunked],
    ];
    inputs.into_iter().map(|parts| parts.map(Vec::as_slice).join(&BETWEEN)).collect()
}
