//! Libraries that were written for files of their own making, given files of strangers: at some they panic.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Characters of a panic's words that are passed on.
const WORDS_MAX: usize = 200;

/// Runs what calls such a library. If it panics, what it said: the file that it was given is to blame, and whoever gave it
/// is told so as of any other file that cannot be read.
///
/// What `work` was making is gone then. What it only reads stays as it was, but for caches, without which the libraries
/// that are called here go on.
///
/// Nothing of it is written to standard error: a stranger chose the words, and whoever reads there why a process died would
/// take them for the reason.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIETENED: Once = Once::new();
    QUIETENED.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() == 0 {
                others(info);
            }
        }));
    });
    let _catching = Catching::begin();
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words(panic.as_ref()))
}

thread_local! {
    /// How many calls of [`catch`] this thread is in.
    static CATCHING: Cell<usize> = const { Cell::new(0) };
}

/// This thread catches panics until this is dropped.
struct Catching;

impl Catching {
    fn begin() -> Self {
        CATCHING.set(CATCHING.get() + 1);
        Self
    }
}

impl Drop for Catching {
    fn drop(&mut self) {
        CATCHING.set(CATCHING.get().saturating_sub(1));
    }
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

    /// What a process writes at its end is read by others, who take it for the reason. So the test above runs once more, in
    /// a process of which all is read.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_words_of_a_caught_panic_are_written_nowhere() {
        let above = "strangers::tests::a_panic_is_an_error_with_its_words";
        let ended =
            std::process::Command::new("/proc/self/exe").args(["--exact", above, "--nocapture"]).output().unwrap();
        let [out, err] = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(ended.status.success() && out.contains("1 passed"), "{out}{err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}
