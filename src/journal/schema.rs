//! The tables, and the steps that lead an older journal to them.
//!
//! Two things one must never do: change a step that has been released, and take one away. A new need is a new
//! step at the end; `PRAGMA user_version` counts the steps that a file has seen. Each step is one transaction
//! with its count, so that a kill leaves the file before it or after it.

use rusqlite::{Connection, TransactionBehavior};

/// Tells a journal from any other SQLite file ("dskl").
pub(super) const APPLICATION_ID: i32 = 0x6473_6B6C;

/// What a query must say so that SQLite may use the index of the open rows: the same words as the index itself.
pub(super) const OPEN: &str = "state NOT IN (1, 6)";

const STEPS: &[&str] = &[
    "
    CREATE TABLE journal (
        id   INTEGER PRIMARY KEY CHECK (id = 1),
        uuid TEXT NOT NULL
    ) STRICT;

    -- A desk: one URL and one account. The epoch is raised at each start, here and in the account file.
    CREATE TABLE account (
        id    INTEGER PRIMARY KEY,
        url   TEXT NOT NULL,
        email TEXT NOT NULL,
        epoch INTEGER NOT NULL DEFAULT 0,
        UNIQUE (url, email)
    ) STRICT;

    CREATE TABLE run (
        id            INTEGER PRIMARY KEY,
        account       INTEGER NOT NULL REFERENCES account (id),
        key_before    INTEGER NOT NULL, -- a row's key is this plus its number
        rows          INTEGER NOT NULL CHECK (rows >= 0),
        sha256        TEXT    NOT NULL, -- of the input's bytes
        bytes         INTEGER NOT NULL,
        path          TEXT,             -- NULL: standard input
        layout        TEXT    NOT NULL, -- JSON: how the spool is laid out
        mapping       TEXT    NOT NULL, -- JSON: how columns become fields
        custom_fields TEXT    NOT NULL, -- JSON: the ids that the bits of row.fields count from
        spool         TEXT,             -- file name in the spool folder; NULL once nothing needs it
        cursor        INTEGER NOT NULL DEFAULT 1, -- every row below it has an entry in row
        applied       INTEGER NOT NULL DEFAULT 0 CHECK (applied >= 0),
        failed        INTEGER NOT NULL DEFAULT 0 CHECK (failed >= 0),
        invalid       INTEGER NOT NULL DEFAULT 0 CHECK (invalid >= 0),
        in_doubt      INTEGER NOT NULL DEFAULT 0 CHECK (in_doubt >= 0),
        skipped       INTEGER NOT NULL DEFAULT 0 CHECK (skipped >= 0),
        attempts      INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
        throttled     INTEGER NOT NULL DEFAULT 0 CHECK (throttled >= 0),
        started_ms    INTEGER NOT NULL, -- UNIX time
        ended_ms      INTEGER,          -- of the last invocation
        exit_code     INTEGER
    ) STRICT;
    CREATE INDEX run_input ON run (sha256);

    -- Small on purpose: ten million of these stay on disk for good. No payload.
    CREATE TABLE row (
        key    INTEGER PRIMARY KEY,
        state  INTEGER NOT NULL,
        ticket INTEGER,            -- NULL: the row is invalid
        fields BLOB,               -- which fields it sets: bits
        digest BLOB                -- six bytes a value
    ) STRICT;
    -- Everything but applied (1) and skipped (6), which are nearly all.
    CREATE INDEX row_open ON row (state) WHERE state NOT IN (1, 6);

    -- For the few rows that have something to tell.
    CREATE TABLE detail (
        key         INTEGER PRIMARY KEY,
        attempts    INTEGER NOT NULL,
        retried     INTEGER NOT NULL DEFAULT 0, -- 1: a person asked to send a failed row again
        http_status INTEGER,
        reason      TEXT NOT NULL,
        message     TEXT NOT NULL
    ) STRICT;

    -- Where rows begin in the spool, now and then, so that any row is found without reading from the start.
    CREATE TABLE mark (
        run  INTEGER NOT NULL REFERENCES run (id),
        row  INTEGER NOT NULL,
        byte INTEGER NOT NULL,
        line INTEGER NOT NULL,
        PRIMARY KEY (run, row)
    ) STRICT, WITHOUT ROWID;

    -- What happened in each minute, for the report.
    CREATE TABLE minute (
        run       INTEGER NOT NULL REFERENCES run (id),
        minute    INTEGER NOT NULL, -- UNIX time / 60
        applied   INTEGER NOT NULL,
        failed    INTEGER NOT NULL,
        in_doubt  INTEGER NOT NULL,
        throttled INTEGER NOT NULL,
        not_sent  INTEGER NOT NULL,
        paused_ms INTEGER NOT NULL,
        latency   BLOB NOT NULL,    -- counts by bucket, u32 little endian
        PRIMARY KEY (run, minute)
    ) STRICT, WITHOUT ROWID;
    ",
    "
    -- What the account may have sent lately, and the desk's last pause. Times are a boot of the machine and
    -- milliseconds since, so that no clock that is set grants budget.
    CREATE TABLE spent (
        account  INTEGER NOT NULL REFERENCES account (id),
        boot     BLOB    NOT NULL,
        until_ms INTEGER NOT NULL, -- by then they have left, or never will
        requests INTEGER NOT NULL,
        PRIMARY KEY (account, boot, until_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE pause (
        account INTEGER PRIMARY KEY REFERENCES account (id),
        boot    BLOB    NOT NULL,
        from_ms INTEGER NOT NULL,
        wait_ms INTEGER NOT NULL
    ) STRICT;
    ",
    "
    -- When a run's rows were given up; what is left of them is what later runs are compared with. Its counters stay.
    ALTER TABLE run ADD COLUMN pruned_ms INTEGER; -- UNIX time
    ",
    "
    -- For the report, too: what a minute waited for besides the desk's word, and the pace that was in force at its end.
    ALTER TABLE minute ADD COLUMN away_ms INTEGER NOT NULL DEFAULT 0; -- waiting for a desk that did not answer
    ALTER TABLE minute ADD COLUMN per_second REAL; -- NULL: no limit, or nobody wrote it down
    -- The processes that worked on a run. One that was killed has no end.
    CREATE TABLE invocation (
        run       INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
        number    INTEGER NOT NULL, -- from 1
        again     TEXT    NOT NULL, -- the command that goes on
        pace      TEXT    NOT NULL, -- in words
        began_ms  INTEGER NOT NULL, -- UNIX time
        ended_ms  INTEGER,
        exit_code INTEGER,
        said      TEXT,             -- why it ended; NULL: nothing was wrong
        PRIMARY KEY (run, number)
    ) STRICT, WITHOUT ROWID;
    ",
    "
    -- How many rows were skipped when the run began, because their tickets had these values; NULL: it did not look.
    -- Such a row has no digest and no detail.
    ALTER TABLE run ADD COLUMN unchanged INTEGER;
    ",
    "
    -- What each ticket may have been sent lately, as long as it counts for the limit that it was sent under. In the
    -- order of time, so that it grows at its end and what is old goes from its beginning.
    CREATE TABLE spent_by_ticket (
        account   INTEGER NOT NULL REFERENCES account (id),
        boot      BLOB    NOT NULL,
        until_ms  INTEGER NOT NULL, -- as in spent
        ticket    INTEGER NOT NULL,
        requests  INTEGER NOT NULL,
        counts_ms INTEGER NOT NULL, -- for so long after until_ms
        PRIMARY KEY (account, boot, until_ms, ticket)
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE account ADD COLUMN slowed_to REAL; -- requests a second since the desk said 'later'; NULL: as asked for
    ALTER TABLE account ADD COLUMN succeeded_ms INTEGER; -- UNIX time: when an invocation last ended with exit 0
    UPDATE account SET succeeded_ms = (SELECT max(ended_ms) FROM run WHERE account = account.id AND exit_code = 0);
    ",
];

/// The number of steps that this version knows.
pub const VERSION: usize = STEPS.len();

/// What a file's number of steps means to this version.
pub(super) enum Standing {
    /// Nothing in it yet.
    New,
    /// As this version writes it, or older.
    Known,
    /// From a later version of deskload.
    Newer(i64),
    /// Not a journal.
    Foreign,
}

/// Looks at a file without changing it.
pub(super) fn standing(conn: &Connection) -> rusqlite::Result<Standing> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application == APPLICATION_ID {
        let known = i64::try_from(VERSION).unwrap_or(i64::MAX);
        return Ok(if version > known { Standing::Newer(version) } else { Standing::Known });
    }
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(if tables == 0 && application == 0 { Standing::New } else { Standing::Foreign })
}

/// Takes the steps that are missing; where none is, nothing is written and nobody is kept waiting. `uuid` becomes
/// the identity of a file that is new.
pub(super) fn migrate(conn: &mut Connection, uuid: &str) -> rusqlite::Result<()> {
    let known: usize = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if known >= VERSION {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    // Read again under the lock: another process may have been here a moment ago.
    let done: usize = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in STEPS.iter().skip(done) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    if done == 0 {
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.execute("INSERT INTO journal (id, uuid) VALUES (1, ?1)", [uuid])?;
    }
    tx.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_cannot_fall_below_zero() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, "uuid").unwrap();
        conn.execute_batch(
            "INSERT INTO account (id, url, email) VALUES (1, '', '');
             INSERT INTO run (account, key_before, rows, sha256, bytes, layout, mapping, custom_fields, started_ms)
                 VALUES (1, 0, 3, '', 0, '', '', '', 0);",
        )
        .unwrap();
        for counter in ["applied", "failed", "invalid", "in_doubt", "skipped", "attempts", "throttled"] {
            let minus = conn.execute(&format!("UPDATE run SET {counter} = {counter} - 1"), []);
            assert!(minus.is_err(), "{counter}");
        }
    }
}
