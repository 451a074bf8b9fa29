//! The token that opens private and gated repositories.

use std::io::ErrorKind;

use potluck_trainer::files;

use super::limits::NOTE_MAX;
use super::settings::{SettingsError, TokenPlace};
use super::{HubError, Talk};

/// What is sent, and where it is from.
pub struct Token {
    /// The token itself: sent, and shown to nobody.
    pub text: String,
    /// A variable or a file, for people.
    pub from: String,
}

/// A token file that cannot be read is said; it is asked without.
pub fn read(place: &TokenPlace, talk: &Talk) -> Result<Option<Token>, HubError> {
    let token = match place {
        TokenPlace::Nowhere => return Ok(None),
        TokenPlace::Variable(name, text) => Token { text: text.clone(), from: (*name).to_owned() },
        TokenPlace::File(path) => match files::read(path, NOTE_MAX) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                Token { text, from: path.display().to_string() }
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => return Ok(None),
            Err(error) => {
                talk.note(format!("the token in {} cannot be read, the hub is asked without: {error}", path.display()));
                return Ok(None);
            }
        },
    };
    if token.text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(token).filter(|token| !token.text.is_empty()));
    }
    let reason = "the token holds blanks or other characters that no token has".to_owned();
    Err(SettingsError::Value(token.from, reason).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Event;
    use crate::hub::talk::tests::recorded;

    fn token(place: &TokenPlace) -> (Result<Option<String>, String>, Vec<Event>) {
        let (talk, told) = recorded();
        let read = read(place, &talk);
        (read.map(|token| token.map(|token| token.text)).map_err(|error| error.to_string()), told.take())
    }

    #[test]
    fn a_token_is_read_without_the_line_that_ends_it() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("token");
        let place = TokenPlace::File(path.clone());
        assert_eq!(token(&place), (Ok(None), Vec::new()), "nobody has logged in");
        for (text, is) in [("hf_a\r\n", Some("hf_a")), ("\n", None)] {
            std::fs::write(&path, text).expect("writable");
            assert_eq!(token(&place), (Ok(is.map(str::to_owned)), Vec::new()));
        }
        std::fs::write(&path, "hf_a\nhf_b\n").expect("writable");
        assert!(token(&place).0.is_err_and(|error| error.contains("no token has")));
        let (read, told) = token(&TokenPlace::File(root.path().to_owned()));
        assert_eq!(read, Ok(None));
        assert!(matches!(&told[..], [Event::Note(text)] if text.contains("cannot be read")), "{told:?}");
        assert_eq!(token(&TokenPlace::Nowhere).0, Ok(None));
    }
}
