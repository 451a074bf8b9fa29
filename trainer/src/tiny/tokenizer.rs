//! The tokenizer of `tiny`: one token a byte, so that any text goes in and comes out, and digits stand alone.

use serde_json::{Map, Value, json};

/// Ends a text; the model writes it when it is done.
pub const END_ID: u32 = 256;
/// Fills a batch; never a label.
pub const PAD_ID: u32 = 257;
/// All bytes and the two special tokens.
pub const VOCABULARY: u32 = 258;

const END: &str = "<|end|>";
const PAD: &str = "<|pad|>";

/// The token of a byte.
pub fn byte_id(byte: u8) -> u32 {
    u32::from(byte)
}

/// `tokenizer.json` for the `tokenizers` library: byte-level BPE without any merge.
pub fn tokenizer_json() -> String {
    let special = |id: u32, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(END_ID, END), special(PAD_ID, PAD)],
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary(), "merges": [],
        },
    });
    format!("{tokenizer:#}\n")
}

/// The printable character that stands for each byte in byte-level BPE (GPT-2's table): itself where it is visible,
/// otherwise the next free one from U+0100 on.
fn vocabulary() -> Map<String, Value> {
    let visible = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut free = (0x100..).filter_map(char::from_u32);
    let mut character = |byte| if visible(byte) { Some(char::from(byte)) } else { free.next() };
    (0..=u8::MAX).filter_map(|byte| Some((character(byte)?.to_string(), json!(byte)))).collect()
}
