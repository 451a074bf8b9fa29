//! Numbers and tables for people.

/// Sizes: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A size that a person typed: `512`, `64KiB`, `1.5 GiB`, `2MB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("`{}` is no unit of size: use KiB, MiB, GiB, TiB or KB, MB, GB, TB", unit.trim())),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no size, e.g. 512MiB"))?;
    let bytes = number * factor as f64;
    if bytes < 1e18 { Ok(bytes as u64) } else { Err(format!("`{text}` is more than any disk holds")) }
}

/// A share as percent: `97.5 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Rows under a head, columns as wide as their widest cell, the first column to the left and the others to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let render = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1));
    let mut lines = vec![render(&mut head.iter().copied()), rule];
    lines.extend(rows.iter().map(|row| render(&mut row.iter().map(String::as_str))));
    lines
}

/// A stranger's text for a terminal: control characters, which could move the cursor or rename the window, are shown as
/// blanks, and so are the invisible ones that change the direction in which text is read.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let good = [("512", 512), ("64KiB", 65_536), ("1.5 GiB", 3 << 29), ("2MB", 2_000_000), (" 1 gib ", 1 << 30)];
        for (text, bytes) in good {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "1 parsec", "-1", "1e99", "9999999TiB", "1..2"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["dates".into(), "0.0 %".into()], vec!["a longer name".into(), "97.5 %".into()]];
        let lines = table(&["skill", "base"], &rows);
        let expected =
            ["skill            base", "---------------------", "dates           0.0 %", "a longer name  97.5 %"];
        assert_eq!(lines, expected.map(|line| line.trim_end().to_owned()));
    }

    #[test]
    fn a_strangers_text_cannot_steer_the_terminal() {
        assert_eq!(plain("good\u{1b}[2J\r\nbad\u{9b}31m é"), "good [2J  bad 31m é");
        assert_eq!(plain("a\u{202e}b\u{2066}c"), "a b c");
    }
}
