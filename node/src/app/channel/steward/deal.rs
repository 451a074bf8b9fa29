//! Dealing a suite's rows out over sealed shards.

use std::collections::HashSet;

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::id::Digest;
use potluck_trainer::data::row::Content;
use serde_json::json;

/// Randomness that nobody can guess: the order of the rows and the salts of the shards.
pub struct Secret {
    key: [u8; 32],
    drawn: u64,
}

impl Secret {
    /// From the operating system, by way of the one source of randomness that this program has: a key that signs nothing.
    pub fn new() -> Self {
        Self { key: Digest::of(Keypair::generate().secret().as_ref()).0, drawn: 0 }
    }

    /// 32 bytes that were never drawn before.
    pub fn draw(&mut self) -> Digest {
        self.drawn += 1;
        Digest(*blake3::keyed_hash(&self.key, &self.drawn.to_le_bytes()).as_bytes())
    }
}

/// A suite's rows, one JSONL file for each shard.
pub struct Dealt {
    pub shards: Vec<Vec<u8>>,
    /// Different rows.
    pub rows: usize,
    /// Rows that were there before: a row in two shards would be public before it scores.
    pub repeats: usize,
}

/// Deals rows out evenly and at random; `None` if there are fewer different rows than shards.
pub fn deal(rows: impl IntoIterator<Item = Content>, shards: usize, secret: &mut Secret) -> Option<Dealt> {
    let (mut seen, mut repeats, mut drawn) = (HashSet::new(), 0, Vec::new());
    for row in rows {
        let line = line(&row);
        if seen.insert(row) { drawn.push((secret.draw(), line)) } else { repeats += 1 }
    }
    if drawn.len() < shards {
        return None;
    }
    // Sorting by numbers that nobody knows is a shuffle.
    drawn.sort();
    let mut dealt = vec![Vec::new(); shards];
    for (index, (_, line)) in drawn.iter().enumerate() {
        dealt[index % shards].extend_from_slice(line.as_bytes());
    }
    Some(Dealt { shards: dealt, rows: drawn.len(), repeats })
}

/// A row as one line, whatever blanks its file had.
fn line(row: &Content) -> String {
    let object = match row {
        Content::Completion { prompt, completion } => json!({ "prompt": prompt, "completion": completion }),
        Content::Chat(chat) if chat.tools.is_empty() => json!({ "messages": chat.messages }),
        Content::Chat(chat) => json!({ "messages": chat.messages, "tools": chat.tools }),
        Content::Text(text) => json!({ "text": text }),
    };
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_lies_in_one_shard_and_nobody_knows_in_which() {
        let text = |n: usize| Content::Text(format!("row {n}"));
        let rows = || (0..100).map(text).chain([text(7), text(7)]);
        let (mut one, mut two) = (Secret::new(), Secret::new());
        let dealt = deal(rows(), 3, &mut one).expect("enough");
        assert_eq!((dealt.rows, dealt.repeats), (100, 2));
        let mut lines: Vec<_> = dealt.shards.iter().flat_map(|shard| shard.split_inclusive(|&b| b == b'\n')).collect();
        assert_eq!(
            dealt.shards.iter().map(|shard| shard.split_inclusive(|&b| b == b'\n').count()).collect::<Vec<_>>(),
            [34, 33, 33]
        );
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 100);
        assert_ne!(dealt.shards, deal(rows(), 3, &mut two).expect("enough").shards);
        assert!(deal((0..2).map(text), 3, &mut one).is_none());
        assert_ne!(one.draw(), one.draw());
    }
}
