//! Names and ids as people type them. What reads as an id is never a name, so that nothing can stand between a person
//! and the id that they were given.

use std::str::FromStr;

use potluck_protocol::text::Name;

use crate::failure::{Failure, Kind, Outcome};

/// The base inside this program.
pub const TINY: &str = "tiny";

/// Fewer digits of an id are too likely to be a typing mistake, or a word.
pub const ID_MIN: usize = 8;
/// Digits of a whole id.
const ID_MAX: usize = 64;

/// The digits, in lower case, of what reads as an id or the start of one.
pub fn digits(text: &str) -> Option<String> {
    let reads = (ID_MIN..=ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    reads.then(|| text.to_ascii_lowercase())
}

/// A whole id, in either case.
pub fn whole<T: FromStr>(text: &str) -> Option<T> {
    text.to_ascii_lowercase().parse().ok()
}

/// A name that a user gives to something of their own.
pub fn own(text: &str) -> Outcome<Name> {
    let name: Name = text.parse().map_err(|error| {
        Failure::new(Kind::Usage, error)
            .hint("give a plain name, e.g. `sql-helper`; what it is for goes into --description")
    })?;
    match misleading(text) {
        Some(reason) => Err(Failure::new(Kind::Usage, format!("`{name}` cannot be a name: {reason}"))
            .hint("give it a word, e.g. `sql-helper`")),
        None => Ok(name),
    }
}

/// Why something of that name could not be meant by it.
pub fn misleading(name: &str) -> Option<&'static str> {
    if name.eq_ignore_ascii_case(TINY) {
        Some("it is that of the base inside this program")
    } else if digits(name).is_some() {
        Some("it reads as an id, or the start of one")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Digest, ManifestId};

    use super::*;

    #[test]
    fn eight_to_sixty_four_digits_of_either_case_read_as_an_id() {
        for (text, read) in [("50BA21fb", "50ba21fb"), (&"AB".repeat(32), &"ab".repeat(32))] {
            assert_eq!(digits(text).as_deref(), Some(read));
        }
        for text in ["50ba21f", &"a".repeat(65), "50ba21fg", "", "tiny", "５0ba21fb"] {
            assert_eq!(digits(text), None, "{text}");
        }
        let id = ManifestId(Digest::of(b"x"));
        assert_eq!(whole(&id.to_string().to_uppercase()), Some(id));
        assert_eq!(whole::<ManifestId>(&id.to_string()[..63]), None);
    }

    #[test]
    fn a_name_is_none_that_reads_as_something_else() {
        assert!(own("sql-helper").is_ok() && own("deadbee").is_ok() && own("decade-2").is_ok());
        let cases = [
            ("tiny", "inside this program"),
            ("TINY", "inside this program"),
            ("deadbeef", "reads as an id"),
            ("20261130", "reads as an id"),
            (&"Ab".repeat(32), "reads as an id"),
            ("", "is no name"),
            ("a\u{1b}[2J", "\\u{1b}"),
            ("a\u{202e}b", "\\u{202e}"),
        ];
        for (text, says) in cases {
            let failure = own(text).expect_err(text);
            assert!(failure.kind == Kind::Usage && failure.hint.is_some(), "{failure:?}");
            assert!(failure.message.contains(says), "{failure}");
            assert!(!failure.message.chars().any(|c| c.is_control() || c == '\u{202e}'), "{failure}");
        }
    }
}
