//! Makes the journal's schema in a database, and judges whether the database can be trusted with it.
//!
//! The promise needs commits that are on disk when they are acknowledged, and a server that has not forgotten any: so
//! `fsync` and `synchronous_commit` must be on, and a server that has taken over from another is not believed until a
//! person says so.

use tokio_postgres::types::Type;
use tokio_postgres::{Row, types::FromSql};

use super::Place;
use super::session::{Failure, Session};
use super::worker::odd;
use crate::error::Error;

/// What `schema/` makes, counted up with each step that is added to its steps.
pub const VERSION: i32 = 1;

/// The steps that lead an older schema to this version's, as in SQLite's journal: a released one is never changed.
const STEPS: [&str; VERSION as usize] = [concat!(
    include_str!("schema/tables.sql"),
    include_str!("schema/turns.sql"),
    include_str!("schema/unchanged.sql"),
    include_str!("schema/batch.sql"),
    include_str!("schema/workers.sql"),
    include_str!("schema/words.sql"),
    include_str!("schema/prune.sql"),
)];

/// How a database stands to this deskload.
pub(super) struct Standing {
    pub(super) uuid: String,
    /// It is the server that it was when a person last said so.
    pub(super) is_known: bool,
}

/// Looks whether the journal is one that this deskload knows.
pub(super) fn standing(session: &mut Session) -> Result<Standing, Error> {
    let rows = session
        .query("SELECT version, uuid, instance = deskload.instance() FROM deskload.journal", &[])
        .map_err(Failure::into_error)?;
    let row = rows.first().ok_or_else(odd)?;
    let version: i32 = get(row, 0)?;
    let place = session.place();
    if version > VERSION {
        return Err(Error::Machine(format!(
            "the journal {place} is of a newer deskload (schema {version}, this one knows {VERSION}); use that version"
        )));
    }
    if version < VERSION {
        return Err(Error::Usage(format!(
            "the journal {place} is of an older deskload (schema {version}); deskload journal init brings it up to {VERSION}"
        )));
    }
    Ok(Standing { uuid: get(row, 1)?, is_known: get(row, 2)? })
}

/// Makes the schema, or takes the steps that are missing. Gives whether anything was done.
pub fn init(place: &Place) -> Result<bool, Error> {
    let mut session = Session::new(place)?;
    judge(&mut session)?;
    let there = session
        .query("SELECT to_regclass('deskload.journal') IS NOT NULL", &[])
        .map_err(Failure::into_error)?;
    let mut version = 0;
    if get(there.first().ok_or_else(odd)?, 0)? {
        let rows = session.query("SELECT version FROM deskload.journal", &[]).map_err(Failure::into_error)?;
        version = get(rows.first().ok_or_else(odd)?, 0)?;
    }
    if version >= VERSION {
        standing(&mut session)?;
        return Ok(false);
    }
    let done = usize::try_from(version).unwrap_or_default();
    let steps = STEPS.iter().skip(done).copied().collect::<Vec<_>>().join("\n");
    let noted = match version {
        0 => format!(
            "INSERT INTO deskload.journal (version, uuid, instance) VALUES ({VERSION}, '{}', deskload.instance())",
            uuid::Uuid::new_v4()
        ),
        _ => format!("UPDATE deskload.journal SET version = {VERSION}"),
    };
    session.run(&format!("BEGIN;\n{steps}\n{noted};\nCOMMIT"))?;
    Ok(true)
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// How many standbys a commit waits for; none: a server that is lost takes what it did not archive with it.
    pub standbys: Vec<String>,
    /// Whether a commit waits for them.
    pub waits_for_standby: bool,
    /// Another server than the one that a person last confirmed.
    pub is_changed: bool,
}

/// Checks the database's settings and the schema. With `confirm`, the server as it is now is the one to be trusted.
pub fn check(place: &Place, confirm: bool) -> Result<Findings, Error> {
    let mut session = Session::new(place)?;
    judge(&mut session)?;
    let mut standing = standing(&mut session)?;
    if confirm && !standing.is_known {
        session
            .query("UPDATE deskload.journal SET instance = deskload.instance()", &[])
            .map_err(Failure::into_error)?;
        standing.is_known = true;
    }
    let names = setting(&mut session, "synchronous_standby_names")?;
    let standbys = session
        .query("SELECT coalesce(application_name, '') FROM pg_stat_replication ORDER BY 1", &[])
        .map_err(Failure::into_error)?;
    Ok(Findings {
        standbys: standbys.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?,
        waits_for_standby: !names.is_empty(),
        is_changed: !standing.is_known,
    })
}

/// Refuses a database that may forget what it has acknowledged to this user: a setting may be a role's own.
pub(super) fn judge(session: &mut Session) -> Result<(), Error> {
    let (names, whys): (Vec<&str>, Vec<&str>) = [
        ("fsync", "a crash of its machine would lose intents"),
        ("synchronous_commit", "a crash of it would lose intents that were acknowledged"),
        ("full_page_writes", "a crash of its machine may leave half a page"),
    ]
    .into_iter()
    .unzip();
    let sql =
        "SELECT current_setting(name) = 'off' FROM unnest($1) WITH ORDINALITY AS one(name, nth) ORDER BY nth";
    let rows = session.query(sql, &[(&names, Type::TEXT_ARRAY)]).map_err(Failure::into_error)?;
    for ((row, name), why) in rows.iter().zip(names).zip(whys) {
        if get(row, 0)? {
            return Err(Error::Machine(format!(
                "the database {} has {name} = off for this user, so {why}, and updates would be repeated; turn it on",
                session.place()
            )));
        }
    }
    Ok(())
}

fn setting(session: &mut Session, name: &str) -> Result<String, Error> {
    let rows =
        session.query("SELECT current_setting($1)", &[(&name, Type::TEXT)]).map_err(Failure::into_error)?;
    get(rows.first().ok_or_else(odd)?, 0)
}

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Error> {
    row.try_get(column).map_err(|_| odd())
}
