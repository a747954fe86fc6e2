//! Tables for people: columns as wide as their widest cell, two blanks between them.

use crate::failure::plain;

/// Puts rows below their heads. A cell that is missing is empty; control characters of a device are not passed on.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = heads.iter().enumerate().map(|(column, head)| width(column, head)).collect();
    let mut text = String::new();
    let heads: Vec<String> = heads.iter().map(|head| (*head).into()).collect();
    for row in std::iter::once(&heads).chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let rows = [vec!["web".into(), "STARTED".into()], vec!["database".into(), String::new()]];
        assert_eq!(table(&["NAME", "STATUS"], &rows), "NAME      STATUS\nweb       STARTED\ndatabase\n");
        assert_eq!(table(&["A"], &[vec!["\u{1b}[31mred".into()]]), "A\n?[31mred\n");
    }
}
