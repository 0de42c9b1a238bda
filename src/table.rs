//! Tables on a terminal: without lines, and as wide as the terminal; where there is none, as wide as they are.
//!
//! Text from outside must be made harmless before it gets here (see [`crate::text`]).

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The width where a terminal does not tell its own.
pub(crate) const USUAL_WIDTH: u16 = 100;

/// The width of a terminal; none where it is no terminal.
pub(crate) fn width(term: &console::Term) -> Option<u16> {
    term.is_term().then(|| term.size_checked().map_or(USUAL_WIDTH, |(_, columns)| columns))
}

/// An empty table that wraps its cells at this width.
pub(crate) fn plain(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

/// The table's text, with the first column at the edge, and without blanks at the ends of lines.
pub(crate) fn lines(mut table: Table) -> String {
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
}

/// Puts a column of numbers to the right.
pub(crate) fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Labels and what belongs to them.
pub(crate) fn labelled(lines_of: &[(&str, String)], width: Option<u16>) -> String {
    let mut table = plain(width);
    for (label, text) in lines_of {
        table.add_row([label, text.as_str()]);
    }
    lines(table)
}
