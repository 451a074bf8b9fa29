//! Numbers, tables and commands for people.

use std::io::IsTerminal;

use potluck_protocol::text::steers;

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

/// A word as a shell takes it: in quotes if it would be taken for anything else than itself.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `2026-11-22` of seconds since 1970, by the calendar of 400 years (Hinnant, days from civil).
pub fn date(seconds: u64) -> String {
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// What an answer is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Columns of a terminal.
    pub width: usize,
    /// Otherwise it is a file or a pipe: nothing is cut, and nothing has colours.
    pub is_terminal: bool,
}

/// Columns of a terminal that does not say.
const WIDTH: usize = 80;
/// No text is cut to less.
const LEAST: usize = 8;

impl Terminal {
    /// Where standard output goes.
    pub fn stdout() -> Self {
        let columns = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        let width = columns.filter(|columns| *columns > 0).unwrap_or(WIDTH);
        Self { width, is_terminal: std::io::stdout().is_terminal() }
    }

    /// Columns that a line may take.
    pub fn columns(self) -> usize {
        if self.is_terminal { self.width } else { usize::MAX }
    }
}

/// Columns that a text takes on a terminal: some characters take two, some none.
pub fn columns(text: &str) -> usize {
    console::measure_text_width(text)
}

/// Lines of a table above its rows.
pub const HEAD: usize = 2;

/// How a column stands, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// To the left; its end is cut where the table would be wider than the terminal.
    Text(&'static str),
    /// The same of a path, whose end says most: its start is cut.
    Path(&'static str),
    /// To the left and never cut: what is typed again.
    Id(&'static str),
    /// To the right.
    Number(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Self::Text(head) | Self::Path(head) | Self::Id(head) | Self::Number(head) => head,
        }
    }

    fn may_be_cut(self) -> bool {
        matches!(self, Self::Text(_) | Self::Path(_))
    }

    fn cell(self, text: &str, width: usize) -> String {
        let text = match self {
            Self::Text(_) => cut(text, width),
            Self::Path(_) => cut_start(text, width),
            Self::Id(_) | Self::Number(_) => text.to_owned(),
        };
        let padding = " ".repeat(width.saturating_sub(columns(&text)));
        if matches!(self, Self::Number(_)) { padding + &text } else { text + &padding }
    }
}

/// The text, or its start where it is wider.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let start = fitting(text.chars(), width.saturating_sub(1));
    format!("{}\u{2026}", start.trim_end())
}

/// The text, or its end where it is wider.
fn cut_start(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let end: String = fitting(text.chars().rev(), width.saturating_sub(1)).chars().rev().collect();
    format!("\u{2026}{end}")
}

/// As many of the characters as fit.
fn fitting(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut taken = String::new();
    let mut left = width;
    for character in characters {
        let Some(rest) = left.checked_sub(columns(character.encode_utf8(&mut [0; 4]))) else { break };
        left = rest;
        taken.push(character);
    }
    taken
}

/// Rows under a head, columns as wide as their widest cell, as far as the terminal lets them.
pub fn table(columns: &[Column], rows: &[Vec<String>], terminal: Terminal) -> Vec<String> {
    let widths = widths(columns, rows, terminal.columns());
    let render = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(columns.iter().zip(&widths)).map(|(cell, (column, width))| column.cell(cell, *width));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = "-".repeat(total(&widths));
    let mut lines = vec![render(&mut columns.iter().map(|column| column.head())), rule];
    lines.extend(rows.iter().map(|row| render(&mut row.iter().map(String::as_str))));
    lines
}

/// Of a line: columns and what is between them.
fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

/// The widest of the columns that may be cut gives way until the table fits, or none can.
fn widths(columns: &[Column], rows: &[Vec<String>], most: usize) -> Vec<usize> {
    let natural = |(index, column): (usize, &Column)| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| self::columns(cell));
        cells.chain([self::columns(column.head())]).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = columns.iter().enumerate().map(natural).collect();
    while total(&widths) > most {
        let long = (0..columns.len()).filter(|&index| columns[index].may_be_cut() && widths[index] > LEAST);
        let Some(widest) = long.max_by_key(|&index| widths[index]) else { break };
        widths[widest] -= 1;
    }
    widths
}

/// A stranger's text for a terminal: control characters, which could move the cursor or rename the window, are shown as
/// blanks, and so are the invisible ones that change the direction in which text is read.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// The same of a text of several lines that comes in parts: the ends of its lines and its tabs stay.
pub fn plain_text(text: &str) -> String {
    text.chars().map(|c| if steers(c) && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

/// JSON that means the same, for a person who looks at it on a terminal: serde escapes the control characters of ASCII, and
/// here the other ones are. They stand in texts alone.
pub fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) { plain.push_str(&format!("\\u{:04x}", u32::from(c))) } else { plain.push(c) }
    }
    plain
}

/// The same of what we say with a stranger's words in it: the lines are ours and stay.
pub fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
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
    fn a_word_is_quoted_where_a_shell_would_cut_or_read_it() {
        let cases = [
            ("model.gguf", "model.gguf"),
            ("/data/über/x-1_b", "/data/über/x-1_b"),
            ("my models/a", "'my models/a'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("~/x", "'~/x'"),
            ("", "''"),
        ];
        for (word, quoted) in cases {
            assert_eq!(shell(word), quoted);
        }
    }

    const NARROW: Terminal = Terminal { width: WIDTH, is_terminal: true };

    #[test]
    fn columns_line_up() {
        let rows = [vec!["dates".into(), "0.0 %".into()], vec!["a longer name".into(), "97.5 %".into()]];
        let lines = table(&[Column::Text("skill"), Column::Number("base")], &rows, NARROW);
        let expected =
            ["skill            base", "---------------------", "dates           0.0 %", "a longer name  97.5 %"];
        assert_eq!(lines, expected.map(|line| line.trim_end().to_owned()));
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let columns = [Column::Text("name"), Column::Path("place"), Column::Number("bytes"), Column::Id("id")];
        let row = |name: &str, place: &str| vec![name.to_owned(), place.to_owned(), "7".to_owned(), "i".repeat(12)];
        let rows = [row(&"n".repeat(64), &format!("/{}/end", "p".repeat(90))), row("short", "/a")];
        let lines = table(&columns, &rows, NARROW);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert_eq!(lines[1].len(), WIDTH, "no narrower than it must be");
        assert!(lines[2].contains("n\u{2026}  \u{2026}p") && lines[2].contains("p/end "), "{}", lines[2]);
        assert!(lines.iter().skip(2).all(|line| line.ends_with(&"i".repeat(12))), "{lines:#?}");
        // What may not be cut is whole, however wide that is.
        let wide = table(&[Column::Id("peer"), Column::Text("agent")], &[vec!["p".repeat(90), "a".repeat(30)]], NARROW);
        assert_eq!(wide[2], format!("{}  {}\u{2026}", "p".repeat(90), "a".repeat(7)));
        let file = table(&columns, &rows, Terminal { is_terminal: false, ..NARROW });
        assert!(file[2].contains(&"n".repeat(64)) && !file[2].contains('\u{2026}'), "a file has no width: {file:#?}");
    }

    #[test]
    fn wide_characters_line_up_too() {
        let rows = [vec!["\u{6771}\u{4eac}".to_owned(), "1".to_owned()], vec!["abcd".to_owned(), "2".to_owned()]];
        let lines = table(&[Column::Text("name"), Column::Number("n")], &rows, NARROW);
        assert_eq!(lines[2..], ["\u{6771}\u{4eac}  1", "abcd  2"]);
        assert_eq!(cut("\u{6771}\u{4eac}\u{90fd}", 5), "\u{6771}\u{4eac}\u{2026}");
        assert_eq!(cut_start("\u{6771}\u{4eac}\u{90fd}", 4), "\u{2026}\u{90fd}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let days = [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_305_600, "2026-11-22")];
        for (seconds, text) in days.into_iter().chain([(4_107_542_400, "2100-03-01")]) {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn a_strangers_text_cannot_steer_the_terminal() {
        assert_eq!(plain("good\u{1b}[2J\r\nbad\u{9b}31m é"), "good [2J  bad 31m é");
        assert_eq!(plain("a\u{202e}b\u{2066}c"), "a b c");
        let json = serde_json::to_string("a\u{1b}[2J\u{9b}b\u{202e}\u{7f}é").expect("JSON");
        assert_eq!(plain_json(&json), r#""a\u001b[2J\u009bb\u202e\u007fé""#);
        assert_eq!(
            serde_json::from_str::<String>(&plain_json(&json)).expect("the same"),
            "a\u{1b}[2J\u{9b}b\u{202e}\u{7f}é"
        );
        assert_eq!(plain_text("a\u{1b}]0;PWNED\u{7}\r\n\tb\u{9b}c"), "a ]0;PWNED  \n\tb c");
        assert_eq!(plain_lines("not whole\n  `a\u{1b}]0;b\u{7}\rc`"), "not whole\n  `a ]0;b  c`");
    }
}
