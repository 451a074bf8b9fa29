//! Answers in HTTP, with the headers that the real hub sends.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{COMMIT, Manner};

pub fn head(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)]) -> std::io::Result<()> {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("HTTP/1.1 {status} Said\r\n{lines}connection: close\r\n\r\n").as_bytes())
}

pub fn body(stream: &mut TcpStream, status: u16, kind: &str, body: &[u8]) -> std::io::Result<()> {
    head(stream, status, &[("content-type", kind), ("content-length", &body.len().to_string())])?;
    stream.write_all(body)
}

pub fn refusal(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)], error: &str) -> std::io::Result<()> {
    let body = if error.is_empty() { String::new() } else { serde_json::json!({ "error": error }).to_string() };
    let len = body.len().to_string();
    head(stream, status, &[headers, &[("content-length", len.as_str())]].concat())?;
    stream.write_all(body.as_bytes())
}

/// As the hub does, the first answer names commit and etag.
pub fn redirect(stream: &mut TcpStream, place: &str, etag: &str) -> std::io::Result<()> {
    let headers = [("location", place), ("x-repo-commit", COMMIT), ("x-linked-etag", etag), ("content-length", "0")];
    head(stream, 302, &headers)
}

pub fn repository(stream: &mut TcpStream, files: &BTreeMap<String, Vec<u8>>, manner: &Manner) -> std::io::Result<()> {
    let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
    let padding = " ".repeat(if let Manner::LongList(bytes) = manner { *bytes } else { 0 });
    let info = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string() + &padding;
    body(stream, 200, "application/json", info.as_bytes())
}

/// Large files by their SHA-256, others as git names them.
pub fn etag(name: &str, bytes: &[u8], manner: &Manner) -> String {
    let large = name.ends_with(".safetensors");
    match manner {
        Manner::Escaping => "\"../../../../escaped\"".to_owned(),
        Manner::OwnEtags => format!("\"own-{}\"", name.replace('.', "-")),
        Manner::OtherHash if large => format!("\"{}\"", hex(&Sha256::digest(name))),
        _ if large => format!("\"{}\"", hex(&Sha256::digest(bytes))),
        _ => format!("W/\"{}\"", git_hash(bytes)),
    }
}

/// By what `git hash-object` names it.
pub fn git_hash(bytes: &[u8]) -> String {
    hex(&Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn pointer(bytes: &[u8]) -> Vec<u8> {
    let (oid, size) = (hex(&Sha256::digest(bytes)), bytes.len());
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n").into_bytes()
}

pub fn commit(manner: &Manner) -> &'static str {
    if *manner == Manner::OtherCommit { "ffffffffffffffffffffffffffffffffffffffff" } else { COMMIT }
}

/// First and last byte of `bytes=A-B` or `bytes=A-`.
pub fn span(range: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}
