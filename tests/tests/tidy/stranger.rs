//! The other implementation of the protocol names nothing of ours: else it would prove nothing.

use crate::sources;

/// What it is made of.
const PARTS: [&str; 9] =
    ["std::", "super::", "futures::", "libp2p::", "tokio::", "serde_json::", "blake3::", "ed25519_dalek::", "self::"];

#[test]
fn the_stranger_knows_the_document_only() {
    let own: Vec<_> = sources::all().into_iter().filter(|one| one.path.starts_with("tests/src/stranger/")).collect();
    assert!(own.len() > 5, "the stranger has moved");
    for source in own {
        for (line, code) in &source.code {
            assert!(!code.contains("crate::") && !code.contains("potluck_"), "{}:{line}: {code}", source.path);
            let uses = code.trim().strip_prefix("pub ").unwrap_or(code.trim()).strip_prefix("use ");
            let known = uses.is_none_or(|path| PARTS.iter().any(|part| path.starts_with(part)) || is_own(path));
            assert!(known, "{}:{line}: {code}", source.path);
        }
    }
}

/// `pub use node::Node` of the folder's own `mod.rs`.
fn is_own(path: &str) -> bool {
    ["adapter::", "node::", "pull::"].iter().any(|module| path.starts_with(module))
}
