//! The transitions, one by one: what each refuses, and that counters follow.

use std::time::Duration;

use rusqlite::params;
use tempfile::TempDir;

use super::Journal;
use super::fingerprint::{FieldBits, Fingerprint};
use super::minutes::Meanwhile;
use super::runs::{DeskId, InputId, NewRun, Run};
use super::settle::Word;
use super::state::{Ending, Intent, Note, Outcome, Permit, Reason, State, Unsent};
use super::transitions::Batch;
use crate::error::Error;
use crate::input::{Format, Layout, Records, spool, survey};
use crate::mapping::{Mapping, MappingSpec};
use crate::spooled;
use crate::ticket::{Changes, TicketId};

/// The desk of all of these.
pub(crate) fn desk() -> DeskId {
    DeskId::new("https://desk.example/", "ops@example.com")
}

/// Takes a CSV in as a run, the way `run` does.
pub(crate) fn take_in(journal: &mut Journal, text: &str) -> Run {
    let folder = spooled::make_folder(journal).unwrap();
    let taken = spool::take(&mut text.as_bytes(), &folder).unwrap();
    let layout = Layout { format: Format::Csv, delimiter: b',', bom: false };
    let spec = MappingSpec::default();
    let mut records = Records::open(taken.file.path(), &layout).unwrap();
    let mapping = Mapping::resolve(&spec, records.header()).unwrap();
    journal.begin_first_pass().unwrap();
    let survey = survey(&mut records, &mapping, false, &mut |seen| journal.note(seen)).unwrap();
    let input = InputId { sha256: taken.sha256.clone(), bytes: taken.bytes, path: None };
    let desk = desk();
    let new = NewRun {
        desk: &desk,
        input: &input,
        layout: &layout,
        mapping: &spec,
        survey: &survey,
        unchanged: None,
        now_ms: 0,
    };
    journal.open_run(&new, |name| spooled::keep(&folder, taken.file, name)).unwrap()
}

/// A journal in a folder of its own, with one run of these rows.
pub(crate) fn opened(text: &str) -> (TempDir, Journal, Run) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("journal.sqlite3")).unwrap();
    let run = take_in(&mut journal, text);
    (folder, journal, run)
}

/// `rows` rows, each of another ticket.
pub(crate) fn csv(rows: u64) -> String {
    (1..=rows).fold("ticket_id,staff\n".to_owned(), |text, row| format!("{text}{row},ST{row}\n"))
}

pub(crate) fn intent(row: u64) -> Intent {
    let changes = Changes { staff: Some(format!("ST{row}")), ..Changes::default() };
    let fingerprint = Fingerprint::of(&changes, &FieldBits::default()).unwrap();
    Intent {
        row,
        ticket: TicketId::parse(&row.to_string()).unwrap(),
        fingerprint,
        attempts: 0,
        resend: false,
    }
}

pub(crate) fn grant(journal: &mut Journal, run: &Run, rows: &[u64]) -> Result<Vec<Permit>, Error> {
    let wanted = rows.iter().map(|row| intent(*row)).collect();
    let cursor = rows.iter().max().map_or(0, |row| row + 1);
    Ok(journal.commit(run.key, &Batch { wanted, cursor, ..Batch::default() })?.permits)
}

pub(crate) fn settle(journal: &mut Journal, run: &Run, outcomes: Vec<Outcome>) -> Result<(), Error> {
    journal.commit(run.key, &Batch { outcomes, ..Batch::default() }).map(|_| ())
}

/// Grants each row and gives it this ending.
pub(crate) fn end(journal: &mut Journal, run: &Run, rows: &[u64], ending: &Ending) {
    let permits = grant(journal, run, rows).unwrap();
    let outcomes = permits.into_iter().map(|permit| permit.send().settle(ending.clone(), Duration::ZERO));
    settle(journal, run, outcomes.collect()).unwrap();
}

pub(crate) fn note(reason: Reason) -> Note {
    Note { reason, message: "why".to_owned(), http_status: None }
}

pub(crate) fn in_doubt() -> Ending {
    Ending::InDoubt(note(Reason::Timeout))
}

fn state(journal: &Journal, run: &Run, row: u64) -> Option<State> {
    journal.entry_page(run.key, row - 1, row).unwrap().first().map(|entry| entry.state)
}

fn again(journal: &Journal, run: &Run) -> Run {
    journal.run(run.key.id).unwrap().unwrap()
}

/// Counters and rows, as they must agree at any time.
fn assert_counts(journal: &Journal, run: &Run) {
    let counts = again(journal, run).counts;
    let count = |state: State| -> u64 {
        let last = run.key.key(run.counts.rows);
        let sql = "SELECT count(*) FROM row WHERE key > ?1 AND key <= ?2 AND state = ?3";
        let params = params![run.key.key(0), last, state.code()];
        journal.conn.query_row(sql, params, |row| row.get(0)).unwrap()
    };
    assert_eq!(counts.applied, count(State::Applied));
    assert_eq!(counts.failed, count(State::Failed));
    assert_eq!(counts.invalid, count(State::Invalid));
    assert_eq!(counts.in_doubt, count(State::InDoubt));
    assert_eq!(counts.skipped, count(State::Skipped));
}

#[test]
fn a_row_that_is_sending_is_not_granted_again() {
    let (_folder, mut journal, run) = opened(&csv(2));
    assert_eq!(grant(&mut journal, &run, &[1]).unwrap().len(), 1);
    let error = grant(&mut journal, &run, &[2, 1]).unwrap_err();
    assert!(error.to_string().contains("row 1 is not in a state that can be sent"), "{error}");
    assert_eq!(state(&journal, &run, 2), None, "nothing of the batch counts");
    assert_eq!(again(&journal, &run).attempts, 1);
}

#[test]
fn a_settled_row_is_not_granted_again() {
    for ending in [Ending::Applied, Ending::Failed(note(Reason::Rejected)), in_doubt()] {
        let (_folder, mut journal, run) = opened(&csv(1));
        end(&mut journal, &run, &[1], &ending);
        assert!(grant(&mut journal, &run, &[1]).is_err(), "{ending:?}");
        assert_counts(&journal, &run);
    }
}

#[test]
fn an_invalid_row_is_not_granted() {
    let (_folder, mut journal, run) = opened("ticket_id,staff\n#1,A\n2,B\n");
    assert_eq!(run.counts.invalid, 1);
    assert!(grant(&mut journal, &run, &[1]).is_err());
    assert!(grant(&mut journal, &run, &[2]).is_ok());
}

#[test]
fn only_a_row_that_is_sending_gets_an_outcome() {
    let (_folder, mut journal, run) = opened(&csv(3));
    for row in [1, 2] {
        let outcome = |permit: Permit| permit.send().settle(Ending::Applied, Duration::ZERO);
        let twice = vec![outcome(Permit::new(&intent(row)))];
        assert!(settle(&mut journal, &run, twice).is_err(), "no entry");
        end(&mut journal, &run, &[row], &in_doubt());
        assert!(settle(&mut journal, &run, vec![outcome(Permit::new(&intent(row)))]).is_err(), "in doubt");
    }
    assert_eq!(again(&journal, &run).counts.in_doubt, 2);
    assert_counts(&journal, &run);
}

#[test]
fn a_permit_that_is_given_back_was_never_given() {
    let (_folder, mut journal, run) = opened(&csv(2));
    let given_back = grant(&mut journal, &run, &[1]).unwrap();
    journal.commit(run.key, &Batch { given_back, ..Batch::default() }).unwrap();
    assert_eq!((state(&journal, &run, 1), again(&journal, &run).attempts), (Some(State::Pending), 0));
    let permit = grant(&mut journal, &run, &[1]).unwrap().remove(0);
    assert_eq!(permit.attempt(), 1);
    // Given back and wanted again, in one batch.
    let batch = Batch { given_back: vec![permit], wanted: vec![intent(1)], ..Batch::default() };
    assert_eq!(journal.commit(run.key, &batch).unwrap().permits.len(), 1);
    assert_eq!((state(&journal, &run, 1), again(&journal, &run).attempts), (Some(State::Sending), 1));
    let batch = Batch { given_back: vec![Permit::new(&intent(2))], ..Batch::default() };
    assert!(journal.commit(run.key, &batch).is_err(), "it was never given");
}

#[test]
fn a_refused_row_is_pending_and_remembers_its_attempts() {
    let (_folder, mut journal, run) = opened(&csv(2));
    end(&mut journal, &run, &[1], &Ending::NotApplied(note(Reason::Throttled)));
    end(&mut journal, &run, &[2], &Ending::NotApplied(note(Reason::NotSent)));
    let run = again(&journal, &run);
    assert_eq!((run.attempts, run.throttled), (1, 1), "what never left is no attempt");
    let attempts: Vec<u32> =
        journal.entry_page(run.key, 0, 2).unwrap().iter().map(|entry| entry.attempts).collect();
    assert_eq!(attempts, [1, 0]);
    let second = Intent { attempts: 1, ..intent(1) };
    let batch = Batch { wanted: vec![second], ..Batch::default() };
    let permits = journal.commit(run.key, &batch).unwrap().permits;
    let outcomes = permits.into_iter().map(|permit| permit.send().settle(Ending::Applied, Duration::ZERO));
    settle(&mut journal, &run, outcomes.collect()).unwrap();
    let details: u64 = journal.conn.query_row("SELECT count(*) FROM detail", [], |row| row.get(0)).unwrap();
    assert_eq!(details, 0, "an applied row has nothing to tell");
}

#[test]
fn setting_a_row_aside_gives_it_an_entry_and_changes_none() {
    let (_folder, mut journal, run) = opened(&csv(2));
    end(&mut journal, &run, &[1], &Ending::Applied);
    let set_aside = vec![intent(1), intent(2), intent(2)];
    journal.commit(run.key, &Batch { set_aside, ..Batch::default() }).unwrap();
    assert_eq!(state(&journal, &run, 1), Some(State::Applied));
    assert_eq!(state(&journal, &run, 2), Some(State::Pending));
    assert_counts(&journal, &run);
}

#[test]
fn a_batch_is_empty_until_something_happened() {
    let now = Meanwhile { now_ms: 1, ..Meanwhile::default() };
    assert!(Batch { cursor: 7, meanwhile: now, ..Batch::default() }.is_empty());
    let permit = || Permit::new(&intent(1));
    let outcome = permit().send().settle(Ending::Applied, Duration::ZERO);
    let skipped = (intent(1), Unsent::Skipped(note(Reason::Superseded)));
    for batch in [
        Batch { outcomes: vec![outcome], ..Batch::default() },
        Batch { given_back: vec![permit()], ..Batch::default() },
        Batch { set_aside: vec![intent(1)], ..Batch::default() },
        Batch { unsent: vec![skipped], ..Batch::default() },
        Batch { wanted: vec![intent(1)], ..Batch::default() },
        Batch { meanwhile: Meanwhile { paused_ms: 5, ..now }, ..Batch::default() },
    ] {
        assert!(!batch.is_empty(), "{batch:?}");
    }
}

#[test]
fn a_minute_counts_each_ending_of_its_own() {
    let (_folder, mut journal, run) = opened(&csv(5));
    let permits = grant(&mut journal, &run, &[1, 2, 3, 4, 5]).unwrap();
    let throttled = || Ending::NotApplied(note(Reason::Throttled));
    let endings =
        [Ending::Applied, throttled(), throttled(), Ending::NotApplied(note(Reason::NotSent)), in_doubt()];
    let outcomes =
        permits.into_iter().zip(endings).map(|(permit, end)| permit.send().settle(end, Duration::ZERO));
    settle(&mut journal, &run, outcomes.collect()).unwrap();
    let select = "SELECT applied, failed, in_doubt, throttled, not_sent FROM minute";
    let counts = |row: &rusqlite::Row<'_>| (0..5).map(|column| row.get(column)).collect();
    let counts: Vec<i64> = journal.conn.query_row(select, [], counts).unwrap();
    assert_eq!(counts, [1, 0, 1, 2, 1]);
}

#[test]
fn the_cursor_never_goes_back() {
    let (_folder, mut journal, run) = opened(&csv(5));
    for (cursor, expected) in [(3, 3), (2, 3), (6, 6)] {
        journal.commit(run.key, &Batch { cursor, ..Batch::default() }).unwrap();
        assert_eq!(again(&journal, &run).cursor, expected);
    }
}

#[test]
fn recovery_puts_what_was_sending_in_doubt_and_doing_it_twice_changes_nothing() {
    let (_folder, mut journal, run) = opened(&csv(4));
    end(&mut journal, &run, &[1], &Ending::Applied);
    let _cut_off = grant(&mut journal, &run, &[2, 3]).unwrap();
    let elsewhere = DeskId::new("https://other.example/", "ops@example.com");
    assert_eq!(journal.recover(&elsewhere).unwrap(), 0, "another account's rows may be on their way");
    assert_eq!(journal.recover(&desk()).unwrap(), 2);
    let told = journal.told_page(run.key, &[State::InDoubt], 0, 4).unwrap();
    assert_eq!(told.iter().map(|told| (told.row, told.attempts)).collect::<Vec<_>>(), [(2, 1), (3, 1)]);
    assert_eq!(told[0].reason, "interrupted");
    assert_eq!(journal.recover(&desk()).unwrap(), 0);
    assert_eq!(again(&journal, &run).counts.in_doubt, 2);
    assert_counts(&journal, &run);
}

#[test]
fn each_word_settles_rows_in_doubt_its_way() {
    for (word, state_after, said) in [
        (Word::Applied, State::Applied, "the desk has it"),
        (Word::Resend, State::Pending, "to send it again"),
        (Word::Skip, State::Skipped, "to leave it"),
    ] {
        let (_folder, mut journal, run) = opened(&csv(5));
        end(&mut journal, &run, &[1, 2, 3, 4], &in_doubt());
        assert_eq!(journal.resolve(&run, word, Some(&[(2, 3)])).unwrap().rows, 2);
        assert_eq!(state(&journal, &run, 1), Some(State::InDoubt));
        assert_eq!(state(&journal, &run, 2), Some(state_after));
        let sql = "SELECT message FROM detail WHERE key = ?1";
        let message: String =
            journal.conn.query_row(sql, [run.key.key_before + 2], |row| row.get(0)).unwrap();
        assert!(message.ends_with(said), "{message}");
        assert_counts(&journal, &run);
        assert_eq!(journal.resolve(&run, word, None).unwrap().rows, 2);
        assert_eq!(journal.resolve(&run, word, None).unwrap().rows, 0);
        assert_counts(&journal, &run);
    }
}

#[test]
fn a_number_too_large_for_a_row_is_not_taken_for_another_row() {
    let (_folder, mut journal, first) = opened(&csv(2));
    let second = take_in(&mut journal, &csv(2));
    end(&mut journal, &second, &[1], &in_doubt());
    for row in [i64::MAX.unsigned_abs(), 1 << 63, u64::MAX] {
        assert!(journal.resolve(&second, Word::Skip, Some(&[(row, row)])).is_err(), "{row}");
        assert_eq!(state(&journal, &second, 1), Some(State::InDoubt));
    }
    assert_counts(&journal, &first);
}

#[test]
fn a_word_on_a_run_without_rows_settles_none_of_the_run_before() {
    let (_folder, mut journal, first) = opened(&csv(2));
    let second = take_in(&mut journal, &csv(0));
    end(&mut journal, &first, &[1, 2], &in_doubt());
    assert_eq!(journal.resolve(&second, Word::Skip, None).unwrap().rows, 0);
    assert!(journal.resolve(&second, Word::Skip, Some(&[(1, 1)])).is_err());
    assert_eq!(again(&journal, &first).counts.in_doubt, 2);
    assert_eq!(journal.resolve(&first, Word::Skip, Some(&[(2, 2)])).unwrap().rows, 1, "the last row alone");
}

#[test]
fn a_word_on_a_row_beyond_the_run_does_not_reach_the_next_run() {
    let (_folder, mut journal, first) = opened(&csv(2));
    let second = take_in(&mut journal, &csv(2));
    end(&mut journal, &second, &[1], &in_doubt());
    let error = journal.resolve(&first, Word::Resend, Some(&[(3, 3)])).unwrap_err();
    assert!(error.to_string().contains("row 3 of run 1 is not in doubt"), "{error}");
    assert_eq!(state(&journal, &second, 1), Some(State::InDoubt));
    assert_counts(&journal, &first);
    assert_counts(&journal, &second);
}

#[test]
fn updates_in_doubt_are_known_in_every_run_of_the_desk() {
    let (_folder, mut journal, first) = opened(&csv(3));
    let second = take_in(&mut journal, &csv(3));
    end(&mut journal, &first, &[2], &in_doubt());
    let known = journal.updates_in_doubt(&desk(), second.key).unwrap();
    let same = |row| intent(row).fingerprint.same_update(intent(row).ticket);
    assert!(known.contains_key(&same(2)) && !known.contains_key(&same(1)));
    assert!(journal.updates_in_doubt(&desk(), first.key).unwrap().is_empty(), "its own are in their order");
    let other = DeskId::new("https://other.example/", "x@y");
    assert!(journal.updates_in_doubt(&other, second.key).unwrap().is_empty());
}

#[test]
fn a_mode_that_is_not_wal_is_noticed() {
    let memory = rusqlite::Connection::open_in_memory().unwrap();
    assert!(!super::use_wal(&memory).unwrap(), "memory has no log");
}

#[test]
fn opening_a_journal_that_is_up_to_date_waits_for_no_writer() {
    let (_folder, mut journal, _) = opened(&csv(1));
    let path = journal.path.clone();
    let _writing = journal.conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let began = std::time::Instant::now();
    Journal::open_if_there(&path).unwrap().unwrap();
    assert!(began.elapsed() < super::BUSY_MAX / 2);
}
