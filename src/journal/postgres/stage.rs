//! Opens a run with its rows, in one transaction: no worker sees a part of an input.
//!
//! Rows go as arrays, some thousands a statement. COPY would be a little faster, and needs a statement that is prepared
//! in a session, which a pooler does not keep. A row is kept as JSON, its line and its cells or its text, whatever
//! format it came in; that is personal data, which the schema's functions remove as rows are settled.

use std::path::Path;

use csv::ByteRecord;
use serde_json::{Value, json};
use tokio_postgres::types::Type;

use super::session::Session;
use super::worker::odd;
use super::{UNITS, to_i64, unit_of};
use crate::error::Error;
use crate::input::{Body, Format, Header, Kept, Record, Records};
use crate::journal::fingerprint::{FieldBits, Fingerprint, digest};
use crate::journal::runs::{DeskId, NewRun};
use crate::journal::state::{Reason, State};
use crate::mapping::{Complaint, Mapping};
use crate::ticket::Changes;

/// Rows sent in one statement, and the text that ends one early.
const CHUNK_ROWS: usize = 2_000;
const CHUNK_BYTES: usize = 1 << 20;

/// Asks the database within the transaction.
type Ask<'a> = dyn FnMut(&str, &[super::session::Value<'_>]) -> Result<Vec<tokio_postgres::Row>, Error> + 'a;

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
    session.transaction(|ask| {
        // Two machines may have been given the same file at once.
        let lock = ask("SELECT pg_try_advisory_xact_lock(7562541, $1::bigint::integer)", &[(&account, Type::INT8)])?;
        if !lock.first().and_then(|row| row.try_get(0).ok()).unwrap_or(false) {
            return Err(Error::Overlap(
                "another machine is taking in an input for this account; nothing was sent; give the same command \
                 again when it has"
                    .to_owned(),
            ));
        }
        // The other one may have done so already: a second run would send each of its updates once more.
        let since = ask(
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
        let run = insert_run(ask, account, new, records.header())?;
        insert_rows(ask, run, new, &mut records)?;
        Ok(run.cast_unsigned())
    })
}

fn insert_run(
    ask: &mut Ask<'_>,
    account: i64,
    new: &NewRun<'_>,
    header: Option<&Header>,
) -> Result<i64, Error> {
    let text = |result: serde_json::Result<String>| result.map_err(|_| odd());
    let header = header.map(|header| cells(header.cells()).to_string());
    let rows = ask(
        "INSERT INTO deskload.run (account, rows, sha256, bytes, path, layout, mapping, custom_fields, header, invalid,
             started_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
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
            (&new.now_ms, Type::INT8),
        ],
    )?;
    rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(odd)
}

/// Rows on their way into the table, column by column.
#[derive(Default)]
struct Chunk {
    numbers: Vec<i64>,
    units: Vec<i16>,
    states: Vec<i16>,
    tickets: Vec<Option<i64>>,
    asks: Vec<Option<String>>,
    origin_runs: Vec<Option<i64>>,
    origin_rows: Vec<Option<i64>>,
    same: Vec<Option<Vec<u8>>>,
    bodies: Vec<String>,
    reasons: Vec<Option<&'static str>>,
    messages: Vec<Option<String>>,
    bytes: usize,
}

fn insert_rows(ask: &mut Ask<'_>, run: i64, new: &NewRun<'_>, records: &mut Records) -> Result<(), Error> {
    let mapping = Mapping::resolve(new.mapping, records.header())?;
    let bits = FieldBits::new(new.survey.custom_fields.clone());
    let (mut chunk, mut record) = (Chunk::default(), Record::new());
    while records.next(&mut record)? {
        chunk.add(&record, &mapping, &bits)?;
        if chunk.numbers.len() >= CHUNK_ROWS || chunk.bytes >= CHUNK_BYTES {
            chunk.insert(ask, run)?;
            chunk = Chunk::default();
        }
    }
    chunk.insert(ask, run)
}

impl Chunk {
    fn add(&mut self, record: &Record, mapping: &Mapping, bits: &FieldBits) -> Result<(), Error> {
        let body = body(record);
        self.bytes += body.len();
        self.numbers.push(to_i64(record.number()));
        self.bodies.push(body);
        match mapping.update(record) {
            Ok(mapped) => {
                let ticket = mapped.update.ticket();
                let fingerprint = Fingerprint::of(mapped.update.changes(), bits).ok_or_else(odd)?;
                self.units.push(unit_of(ticket).into());
                self.states.push(state(State::Pending));
                self.tickets.push(Some(ticket.as_i64()));
                self.asks.push(Some(asks(mapped.update.changes())));
                self.origin_runs.push(mapped.origin.map(|origin| to_i64(origin.run)));
                self.origin_rows.push(mapped.origin.map(|origin| to_i64(origin.row)));
                self.same.push(Some(fingerprint.same_update(ticket).short()));
                self.reasons.push(None);
                self.messages.push(None);
                Ok(())
            }
            Err(Complaint::Input(error)) => Err(error),
            Err(Complaint::Row(trouble)) => {
                self.units.push(0);
                self.states.push(state(State::Invalid));
                self.tickets.push(None);
                self.asks.push(None);
                self.origin_runs.push(None);
                self.origin_rows.push(None);
                self.same.push(None);
                self.reasons.push(Some(Reason::Invalid.as_str()));
                self.messages.push(Some(crate::text::clean(&trouble.to_string())));
                Ok(())
            }
        }
    }

    fn insert(&self, ask: &mut Ask<'_>, run: i64) -> Result<(), Error> {
        ask(
            "INSERT INTO deskload.rows
                 (run, number, unit, state, ticket, asks, same, body, reason, message, origin_run, origin_row)
             SELECT $1, a, b, c, d, e::jsonb, f, g, h, i, j, k
                 FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS one(a, b, c, d, e, f, g, h, i, j, k)",
            &[
                (&run, Type::INT8),
                (&self.numbers, Type::INT8_ARRAY),
                (&self.units, Type::INT2_ARRAY),
                (&self.states, Type::INT2_ARRAY),
                (&self.tickets, Type::INT8_ARRAY),
                (&self.asks, Type::TEXT_ARRAY),
                (&self.same, Type::BYTEA_ARRAY),
                (&self.bodies, Type::TEXT_ARRAY),
                (&self.reasons, Type::TEXT_ARRAY),
                (&self.messages, Type::TEXT_ARRAY),
                (&self.origin_runs, Type::INT8_ARRAY),
                (&self.origin_rows, Type::INT8_ARRAY),
            ],
        )
        .map(|_| ())
    }
}

/// The digests of what a row asks for, by field, as JSON. No desk tells the ids of custom fields apart by case.
fn asks(changes: &Changes) -> String {
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
