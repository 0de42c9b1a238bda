//! What a person is told of an input before anything is sent, by `run` and by `check` alike: what is allowed, and perhaps
//! not meant.

use crate::input::Survey;
use crate::input::survey::Unresolved;
use crate::mapping::{Blank, MappingSpec};
use crate::text::{clean, rows, thousands};

/// How many names that no lookup table resolves are named on the screen.
const NAMED: usize = 20;

/// A line for each.
pub(super) fn lines(survey: &Survey, mapping: &MappingSpec) -> Vec<String> {
    let mut lines = unresolved(survey, mapping);
    if mapping.blank.values().any(|blank| *blank == Blank::Clear) {
        let what = "blank cells clear fields by sending an empty text; nobody has documented that the desk takes it so";
        lines.push(what.to_owned());
    }
    if survey.identical > 0 {
        lines.push(format!("equal to an earlier row: {}; each is sent", rows(survey.identical)));
    }
    lines
}

fn unresolved(survey: &Survey, mapping: &MappingSpec) -> Vec<String> {
    let line = |Unresolved { miss, rows: count, first: (row, line) }: &Unresolved| {
        let table = mapping.lookup.get(&miss.target);
        let close = table.and_then(|table| table.closest(&miss.value));
        let hint = close.map_or_else(String::new, |close| format!("; the closest is \"{}\"", clean(close)));
        format!(
            "lookup.{}: \"{}\" {}: {}, the first is row {row} (line {line}){hint}",
            miss.target,
            clean(&miss.value),
            miss.why,
            rows(*count)
        )
    };
    let mut lines: Vec<String> = survey.unresolved.iter().take(NAMED).map(line).collect();
    let more = survey.unresolved.len().saturating_sub(NAMED) as u64 + survey.unresolved_more;
    if more > 0 {
        lines.push(format!("lookup: and {} more, among the invalid rows", thousands(more)));
    }
    lines
}
