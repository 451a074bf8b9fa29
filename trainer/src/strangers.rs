//! Libraries that were written for files of their own making, given files of strangers: at some they panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Characters of a panic's words that are passed on.
const WORDS_MAX: usize = 200;

/// Runs what calls such a library. If it panics, what it said: the file that it was given is to blame, and whoever gave it
/// is told so as of any other file that cannot be read.
///
/// What `work` was making is gone then. What it only reads stays as it was, but for caches, without which the libraries
/// that are called here go on.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words(panic.as_ref()))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it does not say why").chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(catch(|| 1), Ok(1));
        assert_eq!(catch(|| -> u8 { panic!("at {}", "a place") }), Err("at a place".to_owned()));
        assert_eq!(catch(|| -> u8 { panic!("plain") }), Err("plain".to_owned()));
    }
}
