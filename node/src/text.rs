//! Numbers and tables for people.

/// Sizes: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["dates".into(), "0.0 %".into()], vec!["a longer name".into(), "97.5 %".into()]];
        let lines = table(&["skill", "base"], &rows);
        let expected =
            ["skill            base", "---------------------", "dates           0.0 %", "a longer name  97.5 %"];
        assert_eq!(lines, expected.map(|line| line.trim_end().to_owned()));
    }
}
