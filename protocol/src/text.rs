//! Texts that are safe by their type: names and relative paths.

use serde::{Deserialize, Serialize};

use crate::codec::Malformed;
use crate::limits::{NAME_MAX, PATH_DEPTH_MAX, PATH_MAX};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text, if it keeps the rule; otherwise an error that quotes it and says the rule.
            pub fn new(text: impl Into<String>) -> Result<Self, Malformed> {
                let text = text.into();
                $rule(&text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Malformed;

            fn try_from(text: String) -> Result<Self, Malformed> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                Self::new(text)
            }
        }
    };
}

text! {
    /// What a publisher calls something: letters, digits, `.`, `_`, `-`, not starting with a dot or a dash.
    Name, check_name
}

text! {
    /// A path inside a manifest: relative, forward slashes, no `.` or `..`, portable characters only, so that it
    /// cannot leave its folder on any system. // I13
    RelPath, check_path
}

/// Whether a character steers what shows a text instead of being shown: control characters, which move a terminal's
/// cursor or rename its window, and invisible ones that change the direction in which the text is read.
pub fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_portable(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with(['.', '-'])
        && !part.ends_with('.')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// What steers a terminal, or turns the direction of reading, is shown by its number.
fn quote(text: &str) -> String {
    format!("`{}`", text.chars().take(80).flat_map(char::escape_debug).collect::<String>())
}

fn check_name(text: &str) -> Result<(), Malformed> {
    Malformed::unless(text.len() <= NAME_MAX && is_portable(text), || {
        format!(
            "{} is no name: 1 to {NAME_MAX} letters, digits, `.`, `_` or `-`, not starting with `.` or `-`",
            quote(text)
        )
    })
}

fn check_path(text: &str) -> Result<(), Malformed> {
    let good = text.len() <= PATH_MAX
        && text.split('/').count() <= PATH_DEPTH_MAX
        && text.split('/').all(|part| is_portable(part) && !is_device(part));
    Malformed::unless(good, || {
        format!("{} is no path that a manifest may hold: relative, without `..`, portable characters", quote(text))
    })
}

/// Names that Windows takes for devices, with any ending.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).to_ascii_uppercase();
    let numbered = stem.len() == 4 && (stem.starts_with("COM") || stem.starts_with("LPT"));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || (numbered && stem.as_bytes()[3].is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_their_folder_are_refused() {
        for good in ["adapter_model.safetensors", "a/b/c/d.json", "A-1_2.txt"] {
            assert!(RelPath::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(PATH_MAX + 1);
        let bad = [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            ".hidden",
            "a/.b",
            "C:\\x",
            "a\\b",
            "c:x",
            "a b",
            "é",
            "a\0b",
            "-rf",
            "nul",
            "COM1.txt",
            "x.",
            "a/b/c/d/e",
            &long,
        ];
        for bad in bad {
            assert!(RelPath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(Name::new("sql-helper_2.1").is_ok());
        for bad in ["", ".x", "-x", "a/b", "a b", &"n".repeat(NAME_MAX + 1)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
