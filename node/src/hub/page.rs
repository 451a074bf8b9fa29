//! Web pages where an answer of the hub belongs: a hotel's log-in, a proxy's warning, an address that is no hub.

/// Bytes in which a page shows itself.
const LOOK: usize = 512;
/// The longest title that is shown.
const TITLE_MAX: usize = 80;

/// Whether the bytes begin a web page. No JSON, no weights and no template do so.
pub fn is_web_page(bytes: &[u8]) -> bool {
    let text = bytes[..bytes.len().min(LOOK)].trim_ascii_start();
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    begins(b"<!doctype html") || begins(b"<html")
}

/// What a page calls itself; else its first words.
pub fn title(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    // ASCII alone is made small, so that places in the one are places in the other.
    let small = text.to_ascii_lowercase();
    let titled = small.find("<title").and_then(|at| {
        let from = at + small[at..].find('>')? + 1;
        Some(&text[from..from + small[from..].find("</title")?])
    });
    let words = titled.map_or_else(|| without_tags(&text), str::to_owned);
    Some(cut(&words, TITLE_MAX)).filter(|title| !title.is_empty())
}

fn without_tags(text: &str) -> String {
    let mut inside = false;
    let keep = |c: char| {
        inside = (inside || c == '<') && c != '>';
        if inside || c == '>' { ' ' } else { c }
    };
    text.chars().map(keep).collect()
}

/// A stranger's text on one line, without what steers a terminal, of at most so many characters.
pub fn cut(text: &str, max: usize) -> String {
    let plain = crate::text::plain(text);
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut kept: String = line.chars().take(max).collect();
    if kept.len() < line.len() {
        kept.push_str("...");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_from_json_weights_and_templates() {
        for page in [&b"<!DOCTYPE html>"[..], b" \r\n<html lang=en>", b"<HTML>"] {
            assert!(is_web_page(page), "{}", String::from_utf8_lossy(page));
        }
        for other in [&b""[..], b"{}", b"<|im_start|>", b"{% if x %}<html>", b"<htm", &[0x80, 0, 0]] {
            assert!(!is_web_page(other), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn its_title_is_shown_in_one_short_line() {
        assert_eq!(title(b"<html><TITLE id=x>Log in\n to \x1b[2Jus</TITLE>").as_deref(), Some("Log in to [2Jus"));
        assert_eq!(title(b"<html>please <b>log in</b></html>").as_deref(), Some("please log in"));
        assert_eq!(title(b"<html></html>"), None);
        assert_eq!(title("<title>\u{130}x</title>".as_bytes()).as_deref(), Some("\u{130}x"));
        assert_eq!(cut(&"ab ".repeat(50), 5), "ab ab...");
    }
}
