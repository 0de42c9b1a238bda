//! Both journals give up the same rows of the same history, whatever it is: the one in a file has its rules from a test of
//! its own, which asks all questions before and after (`journal/prune/tests.rs`).

use std::fmt::Write as _;

use deskload::journal::fingerprint::{FieldBits, Fingerprint};
use deskload::journal::prune::{Prune, Pruned};
use deskload::journal::runs::Run;
use deskload::journal::state::State;
use deskload::ticket::{Changes, CustomField, CustomValue};
use fastrand::Rng;
use rusqlite::{Connection, params};

use super::database::Database;
use super::file::File;
use super::{Engine as _, desk, take_in};

/// Histories that are looked at.
const HISTORIES: u64 = 40;

/// A run is old if it ended before.
const NOW_MS: i64 = 1_000_000;

/// Fields that rows set.
const FIELDS: [&str; 4] = ["staff", "subject", "custom_fields.cf1", "custom_fields.cf2"];

/// What became of a row, why, and after how many attempts.
const ENDINGS: [(State, &str, u32); 10] = [
    (State::Applied, "", 1),
    (State::Applied, "", 1),
    (State::Applied, "resolved", 1),
    (State::Failed, "rejected", 1),
    (State::Failed, "rejected", 2),
    (State::Failed, "overlapped", 1),
    (State::Skipped, "resolved", 1),
    (State::Skipped, "superseded", 1),
    (State::Skipped, "already applied", 0),
    (State::Skipped, "unchanged", 0),
];

struct Row {
    /// `None`: the row is invalid.
    ticket: Option<i64>,
    /// Which of the fields, as bits.
    sets: u8,
    ending: (State, &'static str, u32),
}

struct Past {
    rows: Vec<Row>,
    /// One more row, which is pending.
    is_unfinished: bool,
    is_old: bool,
    /// It names its custom fields in another order and another case.
    is_turned: bool,
}

fn row(dice: &mut Rng, may_be_in_doubt: bool) -> Row {
    if dice.u8(..10) == 0 {
        return Row { ticket: None, sets: 0, ending: (State::Invalid, "invalid", 0) };
    }
    let mut ending = ENDINGS[dice.usize(..ENDINGS.len())];
    if may_be_in_doubt && dice.u8(..8) == 0 {
        ending = (State::InDoubt, "timeout", 1);
    }
    Row { ticket: Some(dice.i64(1..4)), sets: dice.u8(1..16), ending }
}

fn history(dice: &mut Rng) -> Vec<Past> {
    let runs = dice.usize(1..7);
    let past = |_| {
        let may_be_in_doubt = dice.u8(..4) == 0;
        Past {
            rows: (0..dice.usize(1..9)).map(|_| row(dice, may_be_in_doubt)).collect(),
            is_unfinished: dice.u8(..5) == 0,
            is_old: dice.u8(..3) > 0,
            is_turned: dice.bool(),
        }
    };
    (0..runs).map(past).collect()
}

impl Past {
    fn rows(&self) -> usize {
        self.rows.len() + usize::from(self.is_unfinished)
    }

    fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.ending.0 == state).count()
    }

    fn ended_ms(&self) -> i64 {
        if self.is_old { 1 } else { NOW_MS }
    }

    fn put_into_file(&self, engine: &mut File, conn: &Connection) {
        let ids = if self.is_turned { ["cf2", "cf1"] } else { ["CF1", "CF2"] };
        let line = |text: String, row: usize| format!("{text}{},A,x,x\n", row + 1);
        let head = format!("ticket_id,staff,custom_fields.{},custom_fields.{}\n", ids[0], ids[1]);
        let run = take_in(engine, &(0..self.rows()).fold(head, line));
        let bits = FieldBits::new(run.custom_fields.clone());
        for (row, number) in self.rows.iter().zip(1..) {
            let (key, (state, reason, attempts)) = (run.key.key_before + number, row.ending);
            let print = Fingerprint::of(&row.changes(&run), &bits).unwrap();
            let (fields, digest) = (row.ticket.map(|_| print.fields()), print.values());
            let digest = Some(digest).filter(|_| reason != "unchanged" && row.ticket.is_some());
            conn.execute(
                "INSERT INTO row VALUES (?1, ?2, ?3, ?4, ?5)",
                params![key, state.code(), row.ticket, fields, digest],
            )
            .unwrap();
            if !["", "unchanged"].contains(&reason) {
                conn.execute(
                    "INSERT INTO detail VALUES (?1, ?2, 0, NULL, ?3, '')",
                    params![key, attempts, reason],
                )
                .unwrap();
            }
        }
        let [applied, failed, invalid, in_doubt, skipped] = self.counts();
        conn.execute(
            "UPDATE run SET ended_ms = ?2, applied = ?3, failed = ?4, invalid = ?5, in_doubt = ?6, skipped = ?7 WHERE id = ?1",
            params![run.key.id, self.ended_ms(), applied, failed, invalid, in_doubt, skipped],
        )
        .unwrap();
    }

    fn counts(&self) -> [usize; 5] {
        [State::Applied, State::Failed, State::Invalid, State::InDoubt, State::Skipped]
            .map(|state| self.count(state))
    }

    /// Statements that do so.
    fn put_into_database(&self, run: usize, sql: &mut String) {
        let [applied, failed, invalid, in_doubt, skipped] = self.counts();
        write!(
            sql,
            "INSERT INTO deskload.run (account, rows, sha256, bytes, layout, mapping, custom_fields, started_ms, ended_ms, applied, \
                 failed, invalid, in_doubt, skipped)
             VALUES (1, {}, '', 0, '{{}}', '{{}}', '[]', 0, {}, {applied}, {failed}, {invalid}, {in_doubt}, {skipped});",
            self.rows(),
            self.ended_ms()
        )
        .unwrap();
        let pending = Row { ticket: Some(1), sets: 1, ending: (State::Pending, "", 0) };
        for (row, number) in self.rows.iter().chain(self.is_unfinished.then_some(&pending)).zip(1..) {
            let (state, reason, attempts) = row.ending;
            let ticket = row.ticket.map_or_else(|| "NULL".to_owned(), |ticket| ticket.to_string());
            let asks = row.fields().map(|field| format!("\"{field}\": \"\"")).collect::<Vec<_>>().join(",");
            write!(
                sql,
                "INSERT INTO deskload.rows (run, number, unit, state, ticket, asks, attempts, reason, body)
                 VALUES ({run}, {number}, 0, {}, {ticket}, '{{{asks}}}', {attempts}, nullif('{reason}', ''), 'text');",
                state.code()
            )
            .unwrap();
        }
    }
}

impl Row {
    fn fields(&self) -> impl Iterator<Item = &'static str> {
        FIELDS.into_iter().enumerate().filter(|(bit, _)| self.sets >> bit & 1 == 1).map(|(_, field)| field)
    }

    fn changes(&self, run: &Run) -> Changes {
        let custom = |id: &String| self.fields().any(|field| field.ends_with(&id.to_ascii_lowercase()));
        let ids = run.custom_fields.iter().filter(|id| custom(id));
        let value = || "A".to_owned();
        Changes {
            staff: self.fields().any(|field| field == "staff").then(value),
            subject: self.fields().any(|field| field == "subject").then(value),
            custom_fields: ids
                .map(|id| CustomField { id: id.clone(), value: CustomValue::Text(value()) })
                .collect(),
            ..Changes::default()
        }
    }
}

/// What a dry run says, what is done, what a second time does, and which rows are left, by run and number.
type Outcome = ([Pruned; 3], Vec<(u64, u64)>);

fn outcome(mut prune: impl FnMut(&Prune<'_>) -> Pruned, rows: impl FnOnce() -> Vec<(u64, u64)>) -> Outcome {
    let desk = desk();
    let what = |dry_run| Prune { desk: &desk, before_ms: NOW_MS, now_ms: NOW_MS, dry_run };
    ([true, false, false].map(|dry_run| prune(&what(dry_run))), rows())
}

fn in_file(history: &[Past]) -> Outcome {
    let mut engine = File::open().unwrap();
    let conn = engine.tables();
    for past in history {
        past.put_into_file(&mut engine, &conn);
    }
    outcome(
        |what| engine.archive().prune(what, &|| Ok(())).unwrap(),
        || {
            let sql = "SELECT run.id, key - key_before FROM run JOIN row ON key > key_before AND key <= key_before + rows";
            let mut rows = conn.prepare(&format!("{sql} ORDER BY key")).unwrap();
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.map(Result::unwrap).collect()
        },
    )
}

fn in_database(engine: &mut Database, history: &[Past]) -> Outcome {
    let desk = desk();
    let mut sql = format!(
        "TRUNCATE deskload.run, deskload.rows, deskload.account, deskload.unit, deskload.bucket, deskload.spent,
             deskload.spent_by_ticket, deskload.worker, deskload.invocation, deskload.minute RESTART IDENTITY;
         INSERT INTO deskload.account (url, email) VALUES ('{}', '{}');",
        desk.url, desk.account_email
    );
    for (past, run) in history.iter().zip(1..) {
        past.put_into_database(run, &mut sql);
    }
    engine.ask(&sql);
    let pruned = outcome(|what| engine.archive().prune(what, &|| Ok(())).unwrap(), Vec::new).0;
    let kept = engine.ask(
        "SELECT count(*) FROM deskload.rows JOIN deskload.run ON run.id = run WHERE pruned_ms IS NOT NULL AND body IS NOT NULL",
    );
    assert_eq!(kept, "0", "of a run that was pruned nobody asks for a text any more");
    let rows = engine.ask("SELECT run, number FROM deskload.rows WHERE state <> 2 ORDER BY run, number");
    let pair = |line: &str| {
        let (run, number) = line.split_once('|').unwrap();
        (run.parse().unwrap(), number.parse().unwrap())
    };
    (pruned, rows.lines().map(pair).collect())
}

#[test]
fn a_prune_takes_the_same_rows_from_a_database_as_from_a_file() {
    let Some(mut database) = Database::open() else { return };
    let mut gone = 0;
    for seed in 0..HISTORIES {
        let history = history(&mut Rng::with_seed(seed));
        let (file, database) = (in_file(&history), in_database(&mut database, &history));
        assert_eq!(file, database, "seed {seed}");
        gone += file.0[1].rows;
    }
    assert!(gone > HISTORIES, "{gone} rows have gone");
}
