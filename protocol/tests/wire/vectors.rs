//! The vector files: what they hold, and how they are read, compared and written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One file under `protocol/tests/vectors/`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vectors {
    /// For people: what the bytes are.
    pub about: String,
    pub accepted: Vec<Accepted>,
    pub refused: Vec<Refused>,
}

/// Bytes that are a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    pub name: String,
    pub says: String,
    pub hex: Hex,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
}

/// Bytes that are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    pub name: String,
    pub says: String,
    pub hex: Hex,
    /// What the error starts with, see `subjects`.
    pub error: String,
}

impl Accepted {
    pub fn new(name: &str, says: &str, bytes: Vec<u8>, id: Option<String>) -> Self {
        Self { name: name.to_owned(), says: says.to_owned(), hex: Hex(bytes), id }
    }
}

impl Refused {
    pub fn new(name: &str, says: &str, bytes: Vec<u8>, error: &str) -> Self {
        Self { name: name.to_owned(), says: says.to_owned(), hex: Hex(bytes), error: error.to_owned() }
    }
}

/// Bytes as lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub Vec<u8>);

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        hex.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or("not hex")?;
        Ok(Self(digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()))
    }
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Whether the files are to be written anew rather than compared.
pub fn blessing() -> bool {
    std::env::var_os("POTLUCK_BLESS").is_some_and(|value| value == "1")
}

pub fn load(file: &str) -> Vectors {
    let path = folder().join(format!("{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn save(file: &str, vectors: &Vectors) {
    let text = serde_json::to_string_pretty(vectors).expect("vectors serialise") + "\n";
    std::fs::create_dir_all(folder()).expect("the folder of vectors can be made");
    std::fs::write(folder().join(format!("{file}.json")), text).expect("a vector file can be written");
}
