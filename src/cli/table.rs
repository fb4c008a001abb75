//! Tables without borders: one line for each row, within a width. Optional columns are dropped first, then the longest
//! cells are cut. Without a width nothing is cut, and a long cell moves only its own row.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Number of spaces between two columns.
const GAP: usize = 2;
/// Maximum width that a column is padded to where nothing is cut.
const PADDED: usize = 40;
/// Mark at the end of a cut cell.
const CUT: char = '…';

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'a> {
    head: &'a str,
    right: bool,
    spared: bool,
}

/// Creates a column with this heading.
pub(super) const fn column(head: &str) -> Column<'_> {
    Column { head, right: false, spared: false }
}

impl Column<'_> {
    /// Aligns the column to the right, for numbers.
    pub const fn right(self) -> Self {
        Self { right: true, ..self }
    }

    /// Makes the column optional: it is dropped if there is no room, the last optional column first.
    pub const fn spared(self) -> Self {
        Self { spared: true, ..self }
    }
}

/// Returns the lines of a table, headings first.
pub(super) fn render(columns: &[Column<'_>], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let all: Vec<usize> = columns.iter().enumerate().map(|(at, column)| natural(column, rows, at)).collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    if let Some(width) = width {
        while total(shown.iter().map(|at| all[*at])) > width {
            let Some(spare) = shown.iter().rposition(|at| columns[*at].spared) else { break };
            shown.remove(spare);
        }
    }
    let widths: Vec<usize> = shown.iter().map(|at| all[*at]).collect();
    let widths = match width {
        Some(width) => fitted(&widths, width),
        None => widths.into_iter().map(|width| width.min(PADDED)).collect(),
    };
    let heads: Vec<String> = columns.iter().map(|column| column.head.to_owned()).collect();
    let line = |cells: &Vec<String>| {
        let mut line = String::new();
        for (at, (column, room)) in shown.iter().zip(&widths).enumerate() {
            let cell = cells.get(*column).map(String::as_str).unwrap_or_default();
            let cell = if width.is_some() { cut(cell, *room) } else { cell.to_owned() };
            let padding = " ".repeat(room.saturating_sub(cell.width()));
            if at > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            if columns[*column].right {
                line.push_str(&padding);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&padding);
            }
        }
        line.truncate(line.trim_end().len());
        line
    };
    std::iter::once(&heads).chain(rows).map(line).collect()
}

/// Returns the width of a column's longest cell.
fn natural(column: &Column<'_>, rows: &[Vec<String>], at: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(at));
    cells.map(|cell| cell.width()).max().unwrap_or_default().max(column.head.width())
}

fn total(widths: impl ExactSizeIterator<Item = usize>) -> usize {
    GAP * widths.len().saturating_sub(1) + widths.sum::<usize>()
}

/// Returns widths that fit: the widest columns are reduced to the same width.
fn fitted(widths: &[usize], width: usize) -> Vec<usize> {
    let mut room = width.saturating_sub(GAP * widths.len().saturating_sub(1));
    let mut order: Vec<usize> = (0..widths.len()).collect();
    order.sort_by_key(|at| widths[*at]);
    let mut fitted = vec![0; widths.len()];
    for (done, at) in order.iter().enumerate() {
        let share = room / (widths.len() - done);
        fitted[*at] = widths[*at].min(share.max(1));
        room = room.saturating_sub(fitted[*at]);
    }
    fitted
}

/// Returns the beginning of a text that fits, with a mark if it was cut.
fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(1);
    let begins: String = text
        .chars()
        .take_while(|letter| {
            let wide = letter.width().unwrap_or_default();
            let fits = wide <= left;
            left = left.saturating_sub(wide);
            fits
        })
        .collect();
    format!("{}{CUT}", begins.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column<'_>; 4] =
        [column("id").right(), column("what"), column("since").spared(), column("by").spared()];

    fn rows(what: &str) -> Vec<Vec<String>> {
        let row =
            |id: &str, what: &str| vec![id.to_owned(), what.to_owned(), "2 min ago".to_owned(), "dora".to_owned()];
        vec![row("1", "short"), row("12", what)]
    }

    #[test]
    fn a_table_that_fits_is_whole() {
        let lines = render(&COLUMNS, &rows("longer"), Some(80));
        assert_eq!(lines, ["id  what    since      by", " 1  short   2 min ago  dora", "12  longer  2 min ago  dora"]);
    }

    #[test]
    fn what_can_be_spared_goes_before_anything_is_cut() {
        let lines = render(&COLUMNS, &rows("longer"), Some(22));
        assert_eq!(lines, ["id  what    since", " 1  short   2 min ago", "12  longer  2 min ago"]);
        let lines = render(&COLUMNS, &rows("much longer than that"), Some(14));
        assert_eq!(lines, ["id  what", " 1  short", "12  much long…"]);
    }

    #[test]
    fn one_long_cell_does_not_pad_the_others() {
        let long = "x".repeat(100);
        let lines = render(&COLUMNS, &rows(&long), None);
        assert!(lines[2].contains(&long), "nothing is cut: {lines:?}");
        assert!(lines[1].width() < 70 && !lines[1].contains('x'), "{lines:?}");
        let lines = render(&COLUMNS, &rows(&long), Some(80));
        assert!(lines.iter().all(|line| line.width() <= 80), "{lines:?}");
    }

    #[test]
    fn a_row_stays_one_row_at_any_width() {
        for width in 1..120 {
            for text in ["", "a", "ユーザー同期の名前がとても長い場合", "very long words that go on and on and on"]
            {
                let lines = render(&COLUMNS, &rows(text), Some(width));
                assert_eq!(lines.len(), 3);
                // Below this width, a column has no room for even one letter.
                assert!(width < 6 || lines.iter().all(|line| line.width() <= width), "{width}: {lines:?}");
            }
        }
    }
}
