//! Tables on a terminal: without lines, and as wide as the terminal; where there is none, as wide as they are.
//!
//! Text from outside must be made harmless before it gets here (see [`crate::text`]).

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use console::measure_text_width;

use crate::wrap;

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
    let labels = lines_of.iter().map(|(label, _)| measure_text_width(label)).max().unwrap_or_default();
    let room = width.map(|width| usize::from(width).saturating_sub(labels + GAPS).max(1));
    let mut table = plain(width);
    for (label, text) in lines_of {
        let text = room.map_or_else(|| text.clone(), |room| wrap::cell(text, room));
        table.add_row([label, text.as_str()]);
    }
    lines(table)
}

/// The blanks around two columns.
const GAPS: usize = 3;

/// The table, if it is no wider than this: else what `otherwise` makes of the same.
pub(crate) fn if_it_fits(table: Table, width: Option<u16>, otherwise: impl FnOnce(u16) -> String) -> String {
    let text = lines(table);
    let fits = |width: &u16| text.lines().all(|line| measure_text_width(line) <= usize::from(*width));
    match width.filter(|width| !fits(width)) {
        None => text,
        Some(width) => otherwise(width),
    }
}
