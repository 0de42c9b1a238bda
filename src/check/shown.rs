//! What was found, for a person and for a program.
//!
//! A person gets tables that fit the terminal, on standard output, and complaints, on standard error; a program gets one
//! JSON object with the same. Text from cells is made harmless here; in JSON it stands to the letter.

use serde::Serialize;
use serde_json::value::RawValue;

use super::tally::FieldTally;
use super::tickets::Counted;
use super::{Findings, Sample};
use crate::desk::body::{self, Common};
use crate::error::Error;
use crate::input::survey::IDENTICAL_AMONG_ROWS;
use crate::mapping::{At, short};
use crate::table;
use crate::text::{clean, rows, thousands, visible_json};
use crate::ticket::Field;
use crate::wrap;

/// How many values of a field a person is shown, where these are what a change is about.
const VALUES_SHOWN: usize = 20;

/// How many values of any other field.
const OTHER_VALUES_SHOWN: usize = 5;

/// How many values of a field a program is told.
const VALUES_TOLD: usize = 50;

/// How much of a request is shown, in characters.
const SAMPLE_CHARS_MAX: usize = 600;

/// Below this width a field stands above its values instead of beside them.
const NARROW: u16 = 60;

/// Fields and values with their rows.
#[must_use]
pub fn fields(findings: &Findings, width: Option<u16>) -> String {
    let is_narrow = width.is_some_and(|width| width < NARROW);
    let mut table = table::plain(width);
    // A row for a field has no value, one for a value no field.
    let mut add = |field: String, value: String, rows: u64| {
        let rows = if rows == 0 { "rows".to_owned() } else { thousands(rows) };
        match (is_narrow, field.is_empty()) {
            (false, _) => table.add_row([field, value, rows]),
            (true, true) => table.add_row([format!("  {value}"), rows]),
            (true, false) => table.add_row([format!("{field} {value}"), rows]),
        };
    };
    add("field".to_owned(), "value".to_owned(), 0);
    for (field, tally) in findings.tally.fields() {
        let shown = shown_values(field, tally);
        let rest = if shown.is_empty() { different(tally) } else { String::new() };
        add(clean(&field.to_string()), rest, tally.rows);
        let (mut told, count) = (0, shown.len());
        for (value, count) in shown {
            told += count;
            add(String::new(), value, count);
        }
        let left = tally.rows - told;
        if count > 0 && left > 0 {
            add(String::new(), others(tally, count), left);
        }
    }
    if findings.tally.left_out > 0 {
        add("(further custom fields)".to_owned(), String::new(), findings.tally.left_out);
    }
    table::align_right(&mut table, if is_narrow { 1 } else { 2 });
    table::lines(table)
}

/// What stands for the values of a field that are not among those shown.
fn others(tally: &FieldTally, shown: usize) -> String {
    let more = (tally.distinct() - shown) as u64;
    match (tally.others, more) {
        (0, 1) => "(another value)".to_owned(),
        (0, more) => format!("({} other values)", thousands(more)),
        (_, more) => format!("(over {} other values)", thousands(more)),
    }
}

/// The values worth showing: of owners, priorities and inboxes the most frequent; of other fields only where rows share
/// them.
fn shown_values(field: Field<'_>, tally: &FieldTally) -> Vec<(String, u64)> {
    let most = match field {
        Field::Staff | Field::Priority | Field::Inbox => VALUES_SHOWN,
        _ if tally.others > 0 => return Vec::new(),
        _ if tally.rows < 2 * tally.distinct() as u64 && tally.distinct() > 1 => return Vec::new(),
        _ => OTHER_VALUES_SHOWN,
    };
    tally.by_frequency().into_iter().take(most).map(|(value, count)| (short(value), count.rows)).collect()
}

/// What stands for values that are not shown one by one.
fn different(tally: &FieldTally) -> String {
    let example = tally.by_frequency().first().map_or_else(String::new, |(value, _)| short(value));
    match (tally.others, tally.distinct()) {
        (0, 1) => example,
        (0, distinct) => format!("({distinct} values, such as {example})"),
        (_, 0) => "(long texts)".to_owned(),
        (_, distinct) => format!("(over {distinct} values, such as {example})"),
    }
}

/// The tickets, in words.
#[must_use]
pub fn tickets(counted: Counted) -> String {
    let Counted { tickets, with_several_rows, most, is_complete } = counted;
    let among = if is_complete {
        String::new()
    } else {
        format!(" among the first {}", rows(IDENTICAL_AMONG_ROWS as u64))
    };
    let tickets = format!("{}{among}", thousands(tickets));
    match (with_several_rows, most) {
        (0, _) | (_, None) => format!("{tickets}, each with one row"),
        (several, Some((ticket, most))) => format!(
            "{tickets}; {} with several rows, sent in the order of the file, the most {most} (ticket {ticket})",
            thousands(several)
        ),
    }
}

/// A sample as it would be sent, with harmless text, and whether it was cut.
fn body(sample: &Sample, common: Common<'_>) -> Result<String, Error> {
    body::sample(common, &sample.update)
        .map(|json| visible_json(&json))
        .map_err(|why| Error::Machine(format!("failed to show row {}: {why}", sample.row)))
}

/// The requests, as many as were kept.
pub(crate) fn samples(findings: &Findings, common: Common<'_>, width: Option<u16>) -> Result<String, Error> {
    let shown = |sample: &Sample| {
        let body = body(sample, common)?;
        let cut = body.char_indices().nth(SAMPLE_CHARS_MAX).and_then(|(cut, _)| body.get(..cut));
        let body = cut
            .map_or_else(|| body.clone(), |kept| format!("{kept}… ({} bytes)", thousands(body.len() as u64)));
        let body = width.map_or_else(|| body.clone(), |width| wrap::json(&body, width.into()));
        Ok(format!("row {}, line {}\n{body}\n", sample.row, sample.line))
    };
    findings.samples.iter().map(shown).collect()
}

/// A field, for a program.
#[derive(Debug, Serialize)]
pub struct ToldField {
    field: String,
    rows: u64,
    /// How many different values were told apart.
    distinct: usize,
    /// Whether there are more.
    distinct_is_complete: bool,
    /// The most frequent ones.
    values: Vec<ToldValue>,
}

#[derive(Debug, Serialize)]
struct ToldValue {
    value: String,
    rows: u64,
    first_line: u64,
}

/// An invalid row, for a program.
#[derive(Debug, Serialize)]
pub struct ToldInvalid<'a> {
    row: u64,
    /// Where the row begins.
    line: u64,
    /// The number of the column, or none where the row as a whole is meant.
    column: Option<usize>,
    /// The column's name, or the key.
    name: Option<&'a str>,
    /// Where the cell begins.
    at_line: u64,
    at_character: usize,
    message: &'a str,
}

/// A request, for a program.
#[derive(Debug, Serialize)]
pub struct ToldSample {
    row: u64,
    line: u64,
    body: Box<RawValue>,
}

/// What was found, for a program.
#[derive(Debug, Serialize)]
pub struct Told<'a> {
    fields: Vec<ToldField>,
    tickets: u64,
    tickets_with_several_rows: u64,
    most_rows_of_a_ticket: u64,
    tickets_are_complete: bool,
    invalid_rows: Vec<ToldInvalid<'a>>,
    samples: Vec<ToldSample>,
}

/// The same for a program.
pub(crate) fn told<'a>(
    findings: &'a Findings,
    counted: Counted,
    common: Common<'_>,
) -> Result<Told<'a>, Error> {
    let field = |(field, tally): (Field<'_>, &FieldTally)| ToldField {
        field: field.to_string(),
        rows: tally.rows,
        distinct: tally.distinct(),
        distinct_is_complete: tally.others == 0,
        values: tally
            .by_frequency()
            .into_iter()
            .take(VALUES_TOLD)
            .map(|(value, count)| ToldValue {
                value: value.to_owned(),
                rows: count.rows,
                first_line: count.first_line,
            })
            .collect(),
    };
    let invalid_rows = findings.invalid.iter().map(|(invalid, pointed)| {
        let (column, name) = match &invalid.trouble.at {
            At::Row => (None, None),
            At::Column(column, name) | At::Cell(column, name) => (Some(*column), Some(name.as_str())),
            At::Key(key) => (None, Some(key.as_str())),
        };
        ToldInvalid {
            row: invalid.row,
            line: invalid.line,
            column,
            name,
            at_line: pointed.line,
            at_character: pointed.column,
            message: &invalid.message,
        }
    });
    let sample = |sample: &Sample| {
        let body = body(sample, common)?;
        let body = RawValue::from_string(body)
            .map_err(|_| Error::Machine(format!("failed to show row {}", sample.row)))?;
        Ok(ToldSample { row: sample.row, line: sample.line, body })
    };
    Ok(Told {
        fields: findings.tally.fields().map(field).collect(),
        tickets: counted.tickets,
        tickets_with_several_rows: counted.with_several_rows,
        most_rows_of_a_ticket: counted.most.map_or(0, |(_, rows)| rows),
        tickets_are_complete: counted.is_complete,
        invalid_rows: invalid_rows.collect(),
        samples: findings.samples.iter().map(sample).collect::<Result<_, Error>>()?,
    })
}
