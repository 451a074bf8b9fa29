//! Which modules get an adapter, as PEFT's `target_modules` says it.
//!
//! A pattern is matched by Rust's `regex`, which takes linear time whatever the pattern. Beside Python's `re` it has no
//! look-around, no back references, no possessive or atomic groups and no conditionals; `\Z` is written `\z`. Such a
//! pattern is refused with the reason, never read in another way.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LoraError;

/// PEFT's word for every linear layer but the output projection.
const ALL_LINEAR: &str = "all-linear";
/// Bytes of a pattern, and memory of a compiled one: a pattern names modules.
const PATTERN_MAX: usize = 4096;
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// Which modules get an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every linear layer of every block; not `lm_head`.
    AllLinear,
    /// Module names such as `q_proj`. As in PEFT, a name selects each module whose path equals it or ends in
    /// `.` and it.
    Names(Vec<String>),
    /// A regular expression that must match the whole path, e.g. `.*\.[0-4]\.mlp\.(up|down)_proj`.
    Pattern(String),
}

impl Targets {
    /// What a person typed: `all-linear`, names with commas between them, or else a regular expression.
    pub fn typed(text: &str) -> Self {
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ',' | '-');
        match text {
            ALL_LINEAR => Self::AllLinear,
            names if names.chars().all(name) => {
                Self::Names(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
            }
            pattern => Self::Pattern(pattern.to_owned()),
        }
    }

    /// The targets as a manifest lists them: names, which adapters that were read have; else the word or the pattern.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Names(names) => names.clone(),
            Self::AllLinear | Self::Pattern(_) => vec![self.to_string()],
        }
    }

    /// Compiles a pattern, once for all paths.
    pub fn matcher(&self) -> Result<Matcher<'_>, LoraError> {
        Ok(match self {
            Self::AllLinear => Matcher::All,
            Self::Names(names) => Matcher::Names(names),
            Self::Pattern(pattern) => Matcher::Pattern(compile(pattern)?),
        })
    }
}

/// Targets, ready to be held against paths.
pub enum Matcher<'a> {
    /// Every module.
    All,
    /// Modules whose path ends in one of these names.
    Names(&'a [String]),
    /// Modules whose whole path matches.
    Pattern(Regex),
}

impl Matcher<'_> {
    /// Whether the module at this path (e.g. `model.layers.0.self_attn.q_proj`) is selected.
    pub fn selects(&self, module: &str) -> bool {
        let ends =
            |name: &String| module == name || module.strip_suffix(name.as_str()).is_some_and(|p| p.ends_with('.'));
        match self {
            Self::All => true,
            Self::Names(names) => names.iter().any(ends),
            Self::Pattern(pattern) => pattern.is_match(module),
        }
    }
}

/// Python's `re.fullmatch`, which PEFT uses.
fn compile(pattern: &str) -> Result<Regex, LoraError> {
    let refused = |reason: String| LoraError::Pattern { pattern: pattern.chars().take(80).collect(), reason };
    if pattern.len() > PATTERN_MAX {
        return Err(refused(format!("longer than {PATTERN_MAX} bytes")));
    }
    let whole = RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(PATTERN_SIZE_MAX).build();
    whole.map_err(|error| refused(error.to_string()))
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllLinear => f.write_str(ALL_LINEAR),
            Self::Names(names) => f.write_str(&names.join(",")),
            Self::Pattern(pattern) => f.write_str(pattern),
        }
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AllLinear => serializer.serialize_str(ALL_LINEAR),
            Self::Names(names) => names.serialize(serializer),
            Self::Pattern(pattern) => serializer.serialize_str(pattern),
        }
    }
}

/// What PEFT allows in JSON: a keyword or a pattern, or a list of names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Word(word) if word == ALL_LINEAR => Self::AllLinear,
            Written::Word(pattern) => Self::Pattern(pattern),
            Written::List(names) => Self::Names(names),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(targets: &Targets, module: &str) -> bool {
        targets.matcher().unwrap().selects(module)
    }

    #[test]
    fn names_match_whole_path_segments() {
        let targets = Targets::Names(vec!["q_proj".to_owned(), "mlp.up_proj".to_owned()]);
        assert!(selected(&targets, "model.layers.0.self_attn.q_proj"));
        assert!(selected(&targets, "model.layers.12.mlp.up_proj"));
        assert!(!selected(&targets, "model.layers.0.self_attn.k_proj"));
        assert!(!selected(&targets, "model.layers.0.self_attn.xq_proj"));
    }

    #[test]
    fn a_pattern_must_match_the_whole_path() {
        let targets = Targets::Pattern(r".*\.[0-3]\.mlp\.(up|down)_proj|.*\.q_proj".to_owned());
        assert!(selected(&targets, "model.layers.3.mlp.up_proj"));
        assert!(selected(&targets, "model.layers.9.self_attn.q_proj"));
        assert!(!selected(&targets, "model.layers.4.mlp.up_proj"));
        assert!(!selected(&targets, "model.layers.13.mlp.up_proj"));
        assert!(!selected(&Targets::Pattern("q_proj".to_owned()), "model.layers.0.self_attn.q_proj"));
    }

    #[test]
    fn patterns_that_are_not_taken_say_why() {
        for pattern in ["(", "(?=a)b", r"(a)\1", &"a".repeat(5000), "(a{1000}){1000}"] {
            let error = Targets::Pattern(pattern.to_owned()).matcher().err().expect(pattern);
            assert!(matches!(error, LoraError::Pattern { .. }), "{error}");
        }
    }

    #[test]
    fn typed_targets_are_a_word_names_or_a_pattern() {
        let names = |names: &[&str]| Targets::Names(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(Targets::typed("all-linear"), Targets::AllLinear);
        assert_eq!(Targets::typed("q_proj"), names(&["q_proj"]));
        assert_eq!(Targets::typed("q_proj,layers.1.mlp.up_proj"), names(&["q_proj", "layers.1.mlp.up_proj"]));
        assert_eq!(Targets::typed(r".*\.q_proj"), Targets::Pattern(r".*\.q_proj".to_owned()));
    }

    #[test]
    fn targets_are_written_as_peft_writes_them() {
        let check = |targets: Targets, json: &str| {
            assert_eq!(serde_json::to_string(&targets).unwrap(), json);
            assert_eq!(serde_json::from_str::<Targets>(json).unwrap(), targets);
        };
        check(Targets::AllLinear, r#""all-linear""#);
        check(Targets::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]), r#"["q_proj","v_proj"]"#);
        check(Targets::Pattern(".*q_proj".to_owned()), r#"".*q_proj""#);
    }
}
