//! What a person is told of an input before anything is sent, by `run` and by `check` alike: what is allowed, and perhaps
//! not meant.

use serde::Serialize;

use crate::input::Survey;
use crate::input::survey::Unresolved;
use crate::mapping::{Blank, MappingSpec};
use crate::text::{clean, rows, thousands};
use crate::voice::{self, Form};

/// How many names that no lookup table resolves are named on the screen.
const NAMED: usize = 20;

/// Something of the kind, for a person and for a program.
#[derive(Debug, Serialize)]
pub(super) struct Remark {
    kind: &'static str,
    /// How many rows it is about, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    pub(super) text: String,
}

impl Remark {
    pub(super) const fn new(kind: &'static str, rows: Option<u64>, text: String) -> Self {
        Self { kind, rows, text }
    }

    /// Tells it in the form that counts.
    pub(super) fn tell(&self) {
        if voice::form() == Form::Program {
            voice::tell("warning", self);
            voice::write_down(&self.text);
        } else {
            voice::say(&self.text);
        }
    }
}

/// All of them.
pub(super) fn of(survey: &Survey, mapping: &MappingSpec) -> Vec<Remark> {
    let odd = survey.odd_ids.iter();
    let mut remarks: Vec<Remark> =
        odd.map(|odd| Remark::new("suspicious_ids", odd.rows, odd.text.clone())).collect();
    remarks.extend(unresolved(survey, mapping));
    if mapping.blank.values().any(|blank| *blank == Blank::Clear) {
        let what = "blank cells clear fields by sending an empty text; nobody has documented that the desk takes it so";
        remarks.push(Remark::new("blank_clears", None, what.to_owned()));
    }
    if survey.identical > 0 {
        let what = format!("equal to an earlier row: {}; each is sent", rows(survey.identical));
        remarks.push(Remark::new("identical_rows", Some(survey.identical), what));
    }
    remarks
}

fn unresolved(survey: &Survey, mapping: &MappingSpec) -> Vec<Remark> {
    let remark = |Unresolved { miss, rows: count, first: (row, line) }: &Unresolved| {
        let table = mapping.lookup.get(&miss.target);
        let close = table.and_then(|table| table.closest(&miss.value));
        let hint = close.map_or_else(String::new, |close| format!("; the closest is \"{}\"", clean(close)));
        let what = format!(
            "lookup.{}: \"{}\" {}: {}, the first is row {row} (line {line}){hint}",
            miss.target,
            clean(&miss.value),
            miss.why,
            rows(*count)
        );
        Remark::new("unresolved", Some(*count), what)
    };
    let mut remarks: Vec<Remark> = survey.unresolved.iter().take(NAMED).map(remark).collect();
    let more = survey.unresolved.len().saturating_sub(NAMED) as u64 + survey.unresolved_more;
    if more > 0 {
        let what = format!("lookup: and {} more, among the invalid rows", thousands(more));
        remarks.push(Remark::new("unresolved", None, what));
    }
    remarks
}
