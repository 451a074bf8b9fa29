//! Files that are no JSON lines at all, known by their first bytes.

const UNPACK: &str = "unpack it first";
const ENCODE: &str = "save it as UTF-8";
const EXPORT: &str =
    "write its rows out as JSON lines, e.g. with `datasets`: load_dataset(...)[\"train\"].to_json(\"rows.jsonl\")";

/// First bytes, what begins so, and what to do with it.
const FORMATS: [(&[u8], &str, &str); 11] = [
    (b"PAR1", "a Parquet file", EXPORT),
    (b"ARROW1", "an Arrow file", EXPORT),
    (b"SQLite format 3\0", "a SQLite database", EXPORT),
    (b"\x1f\x8b", "compressed by gzip", UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", UNPACK),
    (b"\xfd7zXZ\0", "compressed by xz", UNPACK),
    (b"BZh", "compressed by bzip2", UNPACK),
    (b"PK\x03\x04", "a zip archive", UNPACK),
    (b"\xff\xfe", "text in UTF-16", ENCODE),
    (b"\xfe\xff", "text in UTF-16", ENCODE),
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer",
        "fetch the file itself: `git lfs install`, then `git lfs pull` in the clone",
    ),
];

/// What a file that begins so is, and what to do with it, if it cannot be JSON lines.
pub fn other(begin: &[u8]) -> Option<(&'static str, &'static str)> {
    if let Some((_, what, advice)) = FORMATS.iter().find(|(first, _, _)| begin.starts_with(first)) {
        return Some((what, advice));
    }
    // An array that goes on behind its first line, or is followed by an object: `["a"]` alone is a bad line.
    let text = begin.trim_ascii_start().strip_prefix(b"[")?.trim_ascii_start();
    text.starts_with(b"{")
        .then_some(("one JSON array", "write one object a line, e.g. with `jq -c '.[]' rows.json > rows.jsonl`"))
}
