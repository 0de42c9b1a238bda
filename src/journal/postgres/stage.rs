//! Opens a run with its rows, in one transaction: no worker sees a part of an input.
//!
//! Rows go by COPY. A row is kept as JSON, its line and its cells or its text, whatever format it came in; that is personal
//! data, which the schema's functions remove as rows are settled, and which one that is skipped as unchanged never has.

use std::path::Path;

use csv::ByteRecord;
use serde_json::{Value, json};
use tokio_postgres::types::Type;

use super::compare::require_still;
use super::session::{JSON_ON_ITS_WAY, Session, Transaction, json_on_its_way};
use super::worker::odd;
use super::{UNITS, to_i64, unit_of};
use crate::error::Error;
use crate::input::{Body, Format, Header, Kept, Record, Records};
use crate::journal::fingerprint::{FieldBits, Fingerprint, digest};
use crate::journal::runs::{DeskId, NewRun};
use crate::journal::state::{Reason, State};
use crate::mapping::{Complaint, Mapping, Origin};
use crate::ticket::Changes;

/// The number of a desk's account, which is made if it is new, with its units.
pub(super) fn account(session: &mut Session, desk: &DeskId) -> Result<i64, Error> {
    let names: [super::session::Value<'_>; 2] = [(&desk.url, Type::TEXT), (&desk.account_email, Type::TEXT)];
    let sql = "SELECT id FROM deskload.account WHERE url = $1 AND email = $2";
    let find =
        |session: &mut Session| session.query(sql, &names).map_err(super::session::Failure::into_error);
    if let Some(row) = find(session)?.first() {
        return row.try_get(0).map_err(|_| odd());
    }
    let insert = format!(
        "WITH new AS (INSERT INTO deskload.account (url, email) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id)
         INSERT INTO deskload.unit (account, unit) SELECT id, unit FROM new, generate_series(0, {UNITS} - 1) AS unit"
    );
    session.query(&insert, &names).map_err(super::session::Failure::into_error)?;
    find(session)?.first().and_then(|row| row.try_get(0).ok()).ok_or_else(odd)
}

/// Opens a run of the input at `spool`, which was surveyed. `newest` is the last run of this input that was known when it
/// was decided to open one. Gives its number.
pub(super) fn open_run(
    session: &mut Session,
    new: &NewRun<'_>,
    spool: &Path,
    newest: Option<u64>,
) -> Result<u64, Error> {
    let account = account(session, new.desk)?;
    session.transaction(|tx| {
        // Two machines may have been given the same file at once.
        let lock =
            tx.query("SELECT pg_try_advisory_xact_lock(7562541, $1::bigint::integer)", &[(&account, Type::INT8)])?;
        if !lock.first().and_then(|row| row.try_get(0).ok()).unwrap_or(false) {
            return Err(Error::Overlap(
                "another machine is taking in an input for this account; nothing was sent; give the same command \
                 again when it has"
                    .to_owned(),
            ));
        }
        // The other one may have done so already: a second run would send each of its updates once more.
        let since = tx.query(
            "SELECT id FROM deskload.run WHERE account = $1 AND sha256 = $2 AND id > $3 LIMIT 1",
            &[
                (&account, Type::INT8),
                (&new.input.sha256, Type::TEXT),
                (&to_i64(newest.unwrap_or_default()), Type::INT8),
            ],
        )?;
        if !since.is_empty() {
            return Err(Error::Overlap(
                "another machine has just taken in this input; nothing was sent; give the same command again to join in"
                    .to_owned(),
            ));
        }
        let mut records = Records::open(spool, new.layout)?;
        let run = insert_run(tx, account, new, records.header())?;
        copy_rows(tx, run, new, &mut records)?;
        if let Some(unchanged) = new.unchanged {
            require_still(tx, account, unchanged)?;
        }
        Ok(run.cast_unsigned())
    })
}

fn insert_run(
    tx: &Transaction<'_>,
    account: i64,
    new: &NewRun<'_>,
    header: Option<&Header>,
) -> Result<i64, Error> {
    let text = |result: serde_json::Result<String>| result.map_err(|_| odd());
    let header = header.map(|header| cells(header.cells()).to_string());
    let rows = tx.query(
        "INSERT INTO deskload.run (account, rows, sha256, bytes, path, layout, mapping, custom_fields, header, invalid,
             skipped, unchanged, started_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11, 0), $11, $12) RETURNING id",
        &[
            (&account, Type::INT8),
            (&to_i64(new.survey.rows), Type::INT8),
            (&new.input.sha256, Type::TEXT),
            (&to_i64(new.input.bytes), Type::INT8),
            (&new.input.path, Type::TEXT),
            (&text(serde_json::to_string(new.layout))?, Type::TEXT),
            (&text(serde_json::to_string(new.mapping))?, Type::TEXT),
            (&text(serde_json::to_string(&new.survey.custom_fields))?, Type::TEXT),
            (&header, Type::TEXT),
            (&to_i64(new.survey.invalid), Type::INT8),
            (&new.unchanged.map(|unchanged| to_i64(unchanged.count())), Type::INT8),
            (&new.now_ms, Type::INT8),
        ],
    )?;
    rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(odd)
}

const COPY: &str =
    "COPY deskload.rows (run, number, unit, state, ticket, asks, same, body, reason, message, origin_run,
    origin_row) FROM STDIN (FORMAT binary)";
const COLUMNS: [Type; 12] = [
    Type::INT8,
    Type::INT8,
    Type::INT2,
    Type::INT2,
    Type::INT8,
    JSON_ON_ITS_WAY,
    Type::BYTEA,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::INT8,
    Type::INT8,
];

fn copy_rows(tx: &Transaction<'_>, run: i64, new: &NewRun<'_>, records: &mut Records) -> Result<(), Error> {
    let mapping = Mapping::resolve(new.mapping, records.header())?;
    let bits = FieldBits::new(new.survey.custom_fields.clone());
    let mut copy = tx.copy(COPY, &COLUMNS)?;
    let mut record = Record::new();
    while records.next(&mut record)? {
        let is_unchanged = new.unchanged.is_some_and(|unchanged| unchanged.holds(record.number()));
        let row = StagedRow::of(&record, &mapping, &bits, is_unchanged)?;
        copy.write(&[
            &run,
            &to_i64(record.number()),
            &row.unit,
            &row.state,
            &row.ticket,
            &row.asks,
            &row.same,
            &row.body,
            &row.reason,
            &row.message,
            &row.origin.map(|origin| to_i64(origin.run)),
            &row.origin.map(|origin| to_i64(origin.row)),
        ])?;
    }
    copy.finish()
}

/// A row as it begins.
struct StagedRow {
    unit: i16,
    state: i16,
    ticket: Option<i64>,
    asks: Option<Vec<u8>>,
    origin: Option<Origin>,
    same: Option<Vec<u8>>,
    body: Option<String>,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl StagedRow {
    fn of(record: &Record, mapping: &Mapping, bits: &FieldBits, is_unchanged: bool) -> Result<Self, Error> {
        let mapped = match mapping.update(record) {
            Ok(mapped) => mapped,
            Err(Complaint::Input(error)) => return Err(error),
            Err(Complaint::Row(trouble)) => {
                return Ok(Self {
                    unit: 0,
                    state: state(State::Invalid),
                    ticket: None,
                    asks: None,
                    origin: None,
                    same: None,
                    body: Some(body(record)),
                    reason: Some(Reason::Invalid.as_str()),
                    message: Some(crate::text::clean(&trouble.to_string())),
                });
            }
        };
        let (ticket, changes) = (mapped.update.ticket(), mapped.update.changes());
        let fingerprint = Fingerprint::of(changes, bits).ok_or_else(odd)?;
        Ok(Self {
            unit: unit_of(ticket).into(),
            state: state(if is_unchanged { State::Skipped } else { State::Pending }),
            ticket: Some(ticket.as_i64()),
            asks: Some(json_on_its_way(&asks(changes))),
            origin: mapped.origin,
            same: Some(fingerprint.same_update(ticket).short()),
            body: (!is_unchanged).then(|| body(record)),
            reason: is_unchanged.then_some(Reason::Unchanged.as_str()),
            message: None,
        })
    }
}

/// The digests of what a row asks for, by field, as JSON. No desk tells the ids of custom fields apart by case.
pub(super) fn asks(changes: &Changes) -> String {
    let digests = changes.iter().map(|(field, value)| {
        let digest = digest(field, value).iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        (field.to_string().to_ascii_lowercase(), Value::from(format!("{digest:012x}")))
    });
    Value::Object(digests.collect()).to_string()
}

fn state(state: State) -> i16 {
    i16::try_from(state.code()).unwrap_or_default()
}

fn cells(record: &ByteRecord) -> Value {
    record.iter().map(|cell| Value::from(String::from_utf8_lossy(cell))).collect()
}

/// A row as it is kept: its line, and its cells or its text.
fn body(record: &Record) -> String {
    let what = match record.body() {
        Body::Csv(row) => cells(row),
        Body::Jsonl(line) => Value::from(String::from_utf8_lossy(line)),
    };
    json!([record.line(), what]).to_string()
}

/// The record that was kept so.
pub(super) fn record(number: u64, body: &str, format: Format) -> Option<Record> {
    let kept = match format {
        Format::Csv | Format::Xlsx => {
            let (line, cells): (u64, Vec<String>) = serde_json::from_str(body).ok()?;
            (line, Kept::Csv(ByteRecord::from(cells)))
        }
        Format::Jsonl => {
            let (line, text): (u64, String) = serde_json::from_str(body).ok()?;
            (line, Kept::Jsonl(text.into_bytes()))
        }
    };
    Some(Record::kept(number, kept.0, kept.1))
}

/// The columns that were kept so.
pub(super) fn header(text: &str, format: Format) -> Option<Header> {
    let cells: Vec<String> = serde_json::from_str(text).ok()?;
    Some(Header::new(1, ByteRecord::from(cells), format == Format::Xlsx))
}
