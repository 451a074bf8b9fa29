//! The tokenizer classes of transformers 5.24.0 that take the vocabulary from a folder's `tokenizer.json` and build the
//! rest themselves: `tokenizer_class` says `LlamaTokenizer`, and the file's normalizer, pre-tokenizer and decoder are
//! not used, nor its added tokens where `tokenizer_config.json` lists some (`TokenizersBackend.convert_to_native_format`).
//!
//! What decides is `AutoTokenizer.from_pretrained` for a config.json of `model_type` llama, which has no class of its own
//! there: `tokenizer_class` of tokenizer_config.json, else of config.json, else the file as it stands.

use serde_json::{Map, Value, json};
use tokenizers::{DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper};

use super::TokenizerError;
use super::stated::Stated;
use crate::base::json::describe;

/// The pre-tokenizer of `Qwen2Tokenizer`, and of `Qwen3_5Tokenizer`, whose words hold marks.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN3_5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Classes that read a `tokenizer.json` as it stands.
const PLAIN: [&str; 8] = [
    "BloomTokenizer",
    "ConvBertTokenizer",
    "FNetTokenizer",
    "ParakeetTokenizer",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerFast",
    "PythonBackend",
    "TokenizersBackend",
];

/// Other classes of transformers, which build pieces of their own or are written in Python: no Llama is known to have one.
#[rustfmt::skip]
const OTHERS: [&str; 97] = [
    "AlbertTokenizer", "BartTokenizer", "BarthezTokenizer", "BartphoTokenizer", "BertGenerationTokenizer", "BertJapaneseTokenizer",
    "BertTokenizer", "BertTokenizerLegacy", "BertweetTokenizer", "BigBirdTokenizer", "BioGptTokenizer", "BlenderbotSmallTokenizer",
    "BlenderbotTokenizer", "ByT5Tokenizer", "CLIPTokenizer", "CTRLTokenizer", "CamembertTokenizer", "CanineTokenizer", "ClvpTokenizer",
    "CohereTokenizer", "CpmAntTokenizer", "CpmTokenizer", "DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer",
    "DPRReaderTokenizer", "DebertaTokenizer", "DebertaV2Tokenizer", "DiaTokenizer", "DistilBertTokenizer", "EsmTokenizer",
    "EsmcTokenizer", "FSMTTokenizer", "FastSpeech2ConformerTokenizer", "FlaubertTokenizer", "FunnelTokenizer",
    "GPTNeoXJapaneseTokenizer", "GPTSw3Tokenizer", "HerbertTokenizer", "LEDTokenizer", "LasrTokenizer", "LayoutLMv2Tokenizer",
    "LayoutLMv3Tokenizer", "LayoutXLMTokenizer", "LukeTokenizer", "LxmertTokenizer", "M2M100Tokenizer", "MBart50Tokenizer",
    "MBartTokenizer", "MLukeTokenizer", "MPNetTokenizer", "MarianTokenizer", "MarkupLMTokenizer", "MgpstrTokenizer",
    "MistralCommonBackend", "MistralCommonTokenizer", "MobileBertTokenizer", "MvpTokenizer", "MyT5Tokenizer", "NllbTokenizer",
    "NougatTokenizer", "OpenAIGPTTokenizer", "PLBartTokenizer", "PegasusTokenizer", "PerceiverTokenizer", "PhobertTokenizer",
    "Pop2PianoTokenizer", "ProphetNetTokenizer", "RagTokenizer", "ReformerTokenizer", "RemBertTokenizer", "RoCBertTokenizer",
    "RoFormerTokenizer", "RobertaTokenizer", "SeamlessM4TTokenizer", "Siglip2Tokenizer", "SiglipTokenizer", "Speech2TextTokenizer",
    "SpeechT5Tokenizer", "SplinterTokenizer", "SqueezeBertTokenizer", "T5Tokenizer", "TapasTokenizer", "Tipsv2Tokenizer",
    "UdopTokenizer", "VideoPrismTokenizer", "VitsTokenizer", "Wav2Vec2CTCTokenizer", "Wav2Vec2PhonemeCTCTokenizer",
    "WhisperTokenizer", "XGLMTokenizer", "XLMRobertaTokenizer", "XLMTokenizer", "XLNetTokenizer", "TransfoXLTokenizer",
    "JukeboxTokenizer", "GPTSanJapaneseTokenizer", "TapexTokenizer",
];

/// Fields of a `ByteLevel` that change nothing: the first one of a pre-tokenizer, all of a decoder.
const IDLE: [&str; 3] = ["trim_offsets", "add_prefix_space", "use_regex"];

/// How a folder's tokenizer is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `tokenizer.json` as it stands.
    Plain,
    Llama,
    CodeLlama,
    Gpt2,
    CodeGen,
    GptNeoX,
    Qwen2,
    Qwen3_5,
    Gemma,
}

impl Class {
    /// By the class's name without `Fast`; `None` if transformers knows no such class.
    fn parse(name: &str) -> Result<Option<Self>, TokenizerError> {
        Ok(Some(match name.strip_suffix("Fast").unwrap_or(name) {
            "LlamaTokenizer" => Self::Llama,
            "CodeLlamaTokenizer" => Self::CodeLlama,
            "GPT2Tokenizer" => Self::Gpt2,
            "CodeGenTokenizer" => Self::CodeGen,
            "GPTNeoXTokenizer" => Self::GptNeoX,
            "Qwen2Tokenizer" => Self::Qwen2,
            "Qwen3_5Tokenizer" => Self::Qwen3_5,
            "GemmaTokenizer" => Self::Gemma,
            short if PLAIN.contains(&short) || PLAIN.contains(&name) => Self::Plain,
            short if OTHERS.contains(&short) => return Err(TokenizerError::Class { found: name.to_owned() }),
            _ => return Ok(None),
        }))
    }

    /// Of a folder: its `config.json`, `tokenizer_config.json` (`null` if there is none), and the bytes of `tokenizer.json`.
    pub fn of(config: &Value, tokenizer_config: &Value, tokenizer: &[u8]) -> Result<Self, TokenizerError> {
        let name = |value: &Value| value.get("tokenizer_class").and_then(Value::as_str).map(str::to_owned);
        let own = name(tokenizer_config).filter(|name| !name.is_empty());
        let parsed = own.as_deref().or(name(config).as_deref()).map(Self::parse).transpose()?.flatten();
        if let Some(code) = code_of(tokenizer_config) {
            // Known classes go before a folder's own code, which nobody has allowed to run.
            let known = own.as_ref().and(parsed);
            return known.ok_or_else(|| TokenizerError::Code { found: describe(code) });
        }
        // `LlamaTokenizer` says so of many byte-level tokenizers, and transformers does not believe it of these.
        let byte_level = || tokenizer.windows(b"\"ByteLevel\"".len()).any(|part| part == b"\"ByteLevel\"");
        Ok(match parsed {
            Some(Self::Llama) if byte_level() => Self::Plain,
            Some(class) => class,
            None => Self::Plain,
        })
    }

    /// The special tokens that the class has where no file states them.
    pub fn defaults(self) -> &'static [(&'static str, &'static str)] {
        const END: &str = "<|endoftext|>";
        match self {
            Self::Plain => &[],
            Self::Llama => &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")],
            Self::CodeLlama => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
                ("prefix_token", "▁<PRE>"),
                ("middle_token", "▁<MID>"),
                ("suffix_token", "▁<SUF>"),
                ("eot_token", "▁<EOT>"),
                ("fill_token", "<FILL_ME>"),
            ],
            Self::Gpt2 | Self::CodeGen => &[("bos_token", END), ("eos_token", END), ("unk_token", END)],
            Self::GptNeoX => {
                &[("bos_token", END), ("eos_token", END), ("unk_token", END), ("pad_token", "<|padding|>")]
            }
            Self::Qwen2 | Self::Qwen3_5 => &[("eos_token", END), ("unk_token", END), ("pad_token", END)],
            Self::Gemma => &[
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
        }
    }

    /// Whether the class adds its special tokens once more, as tokens that strip nothing.
    pub fn adds_plainly(self) -> bool {
        matches!(self, Self::Qwen2 | Self::Qwen3_5)
    }

    /// Puts the class's own pieces into a parsed `tokenizer.json`, and says whether one of them is another. A piece that is
    /// the same stays as it is written, and so does everything of [`Class::Plain`].
    pub fn rebuild(
        self,
        fields: &mut Map<String, Value>,
        config: &Value,
        stated: &Stated,
    ) -> Result<bool, TokenizerError> {
        if self == Self::Plain {
            return Ok(false);
        }
        let model = self.model(fields, stated)?;
        let Pieces { normalizer, pre_tokenizer, decoder } = self.pieces(config);
        let others = [
            replace::<NormalizerWrapper>(fields, "normalizer", normalizer, &[]),
            replace::<PreTokenizerWrapper>(fields, "pre_tokenizer", pre_tokenizer, &IDLE[..1]),
            replace::<DecoderWrapper>(fields, "decoder", decoder, &IDLE),
        ];
        Ok(model || others.contains(&true))
    }

    /// The post-processor that the class builds whatever the file says, where it does, with the begin of text and its id.
    pub fn post_processor(self, begin: Option<(&str, u32)>) -> Option<Value> {
        match self {
            Self::CodeLlama => Some(begin.map_or(Value::Null, |(token, id)| begins(token, id))),
            Self::GptNeoX => Some(Value::Null),
            _ => None,
        }
    }

    fn model(self, fields: &mut Map<String, Value>, stated: &Stated) -> Result<bool, TokenizerError> {
        let model = fields.get_mut("model").and_then(Value::as_object_mut);
        let model = model.filter(|model| model.contains_key("merges"));
        let model = model.ok_or(TokenizerError::NotBpe { class: self.name() })?;
        let unk = stated.named().find(|(name, _)| *name == "unk_token").map(|(_, token)| json!(token.text()));
        let pieces = matches!(self, Self::Llama | Self::CodeLlama | Self::Gemma);
        let unk = if matches!(self, Self::CodeLlama | Self::Gemma) { unk.unwrap_or_default() } else { Value::Null };
        let wanted = [
            ("unk_token", unk, Value::Null),
            ("fuse_unk", json!(pieces), json!(false)),
            ("byte_fallback", json!(pieces), json!(false)),
            ("ignore_merges", json!(false), json!(false)),
            ("continuing_subword_prefix", Value::Null, Value::Null),
            ("end_of_word_suffix", Value::Null, Value::Null),
        ];
        let mut changed = false;
        for (name, value, default) in wanted {
            let found =
                model.get(name).filter(|found| !found.is_null() && found.as_str() != Some("")).unwrap_or(&default);
            if *found != value {
                model.insert(name.to_owned(), value);
                changed = true;
            }
        }
        Ok(changed)
    }

    fn pieces(self, config: &Value) -> Pieces {
        let flag = |name: &str| config.get(name).and_then(Value::as_bool);
        let blank = flag("add_prefix_space");
        match self {
            Self::Llama | Self::CodeLlama => {
                let scheme = match (blank.unwrap_or(true), flag("legacy") == Some(true) && self == Self::Llama) {
                    (false, _) => "never",
                    (true, true) => "always",
                    (true, false) => "first",
                };
                let pre_tokenizer =
                    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
                let strips = blank.unwrap_or(true) || self == Self::CodeLlama;
                Pieces { normalizer: Value::Null, pre_tokenizer, decoder: pieces_back(strips) }
            }
            Self::Gemma => Pieces {
                normalizer: json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
                pre_tokenizer: json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}),
                decoder: pieces_back(false),
            },
            Self::Qwen2 | Self::Qwen3_5 => {
                let pattern = if self == Self::Qwen2 { QWEN2 } else { QWEN3_5 };
                let split =
                    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
                let parts = [split, byte_level(blank.unwrap_or(false), true, false)];
                Pieces {
                    normalizer: json!({"type": "NFC"}),
                    pre_tokenizer: json!({"type": "Sequence", "pretokenizers": parts}),
                    decoder: byte_level(true, true, true),
                }
            }
            Self::Plain | Self::Gpt2 | Self::CodeGen | Self::GptNeoX => {
                let nfc = if self == Self::GptNeoX { json!({"type": "NFC"}) } else { Value::Null };
                let pre_tokenizer = byte_level(blank.unwrap_or(false), true, true);
                Pieces { normalizer: nfc, pre_tokenizer, decoder: byte_level(true, true, true) }
            }
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PreTrainedTokenizerFast",
            Self::Llama => "LlamaTokenizer",
            Self::CodeLlama => "CodeLlamaTokenizer",
            Self::Gpt2 => "GPT2Tokenizer",
            Self::CodeGen => "CodeGenTokenizer",
            Self::GptNeoX => "GPTNeoXTokenizer",
            Self::Qwen2 => "Qwen2Tokenizer",
            Self::Qwen3_5 => "Qwen3_5Tokenizer",
            Self::Gemma => "GemmaTokenizer",
        }
    }
}

struct Pieces {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
}

/// A folder's own code for its tokenizer.
fn code_of(config: &Value) -> Option<&Value> {
    let map = config.get("auto_map")?;
    let code = if map.is_array() { map } else { map.get("AutoTokenizer")? };
    Some(code).filter(|code| !code.is_null())
}

/// Writes a piece if what stands there is another one, whatever the idle fields of its `ByteLevel`s; says whether it was.
fn replace<P>(fields: &mut Map<String, Value>, name: &str, piece: Value, idle: &[&str]) -> bool
where
    P: serde::Serialize + serde::de::DeserializeOwned,
{
    let plain = |value: &Value| {
        let parsed: P = serde_json::from_value(value.clone()).ok()?;
        let mut plain = serde_json::to_value(parsed).ok()?;
        leave_out(&mut plain, idle);
        Some(plain)
    };
    let found = fields.get(name).unwrap_or(&Value::Null);
    let same = if found.is_null() || piece.is_null() { *found == piece } else { plain(found) == plain(&piece) };
    if !same {
        fields.insert(name.to_owned(), piece);
    }
    !same
}

/// Takes fields out of every `ByteLevel`.
fn leave_out(piece: &mut Value, idle: &[&str]) {
    match piece {
        Value::Object(fields) => {
            if fields.get("type") == Some(&json!("ByteLevel")) {
                fields.retain(|name, _| !idle.contains(&name.as_str()));
            }
            fields.values_mut().for_each(|value| leave_out(value, idle));
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| leave_out(part, idle)),
        _ => {}
    }
}

fn byte_level(prefix: bool, trim: bool, regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex})
}

/// From SentencePiece's pieces to text.
fn pieces_back(strips: bool) -> Value {
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    steps.extend(strips.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0})));
    json!({"type": "Sequence", "decoders": steps})
}

/// A post-processor that puts this token before a text.
fn begins(token: &str, id: u32) -> Value {
    let special = |kind: u32| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    json!({
        "type": "TemplateProcessing",
        "single": [special(0), text("A", 0)],
        "pair": [special(0), text("A", 0), special(1), text("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    })
}
