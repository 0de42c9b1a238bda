//! What a prune takes away, and that no question is answered otherwise because of it.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::journal::fingerprint::{FieldBits, Fingerprint};
use crate::journal::later::Later;
use crate::journal::tests::{desk, take_in};
use crate::ticket::{Changes, CustomField, CustomValue, TicketId};

/// Half of the runs began before it.
const NOW_MS: i64 = 1_000_000;

/// A row of a history: its ticket, which of four fields it sets, how it stands.
type Row = (i64, u8, State);

/// A run of a history.
#[derive(Clone, Debug)]
struct Past {
    rows: Vec<Row>,
    /// One more row, which has no entry.
    is_unfinished: bool,
    is_old: bool,
    /// Its input names the custom fields in another order and another case.
    is_turned: bool,
}

fn past(rows: &[Row]) -> Past {
    Past { rows: rows.to_vec(), is_unfinished: false, is_old: true, is_turned: false }
}

fn changes(mask: u8, turned: bool) -> Changes {
    let custom = |id: &str| CustomField { id: id.to_owned(), value: CustomValue::Text("x".to_owned()) };
    let ids = if turned { ["cf1", "cf2"] } else { ["CF1", "CF2"] };
    Changes {
        staff: (mask & 1 > 0).then(|| "A".to_owned()),
        subject: (mask & 2 > 0).then(|| "A".to_owned()),
        custom_fields: (0..2).filter(|bit| mask & 4 << bit > 0).map(|bit| custom(ids[bit])).collect(),
        ..Changes::default()
    }
}

/// A journal with these runs.
fn journal(history: &[Past]) -> (TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("journal.sqlite3")).unwrap();
    for past in history {
        let names = if past.is_turned {
            "custom_fields.cf2,custom_fields.cf1"
        } else {
            "custom_fields.CF1,custom_fields.CF2"
        };
        let rows = past.rows.len() + usize::from(past.is_unfinished);
        let lines = (1..=rows).fold(String::new(), |lines, row| format!("{lines}{row},A,x,x\n"));
        let run = take_in(&mut journal, &format!("ticket_id,staff,{names}\n{lines}"));
        assert_eq!(run.custom_fields.len(), 2);
        let bits = FieldBits::new(run.custom_fields.clone());
        let conn = &journal.conn;
        for ((ticket, mask, state), row) in past.rows.iter().zip(1..) {
            let print = Fingerprint::of(&changes(*mask, past.is_turned), &bits).unwrap();
            let entry = params![run.key.key(row), state.code(), ticket, print.fields(), print.values()];
            conn.execute("INSERT INTO row VALUES (?1, ?2, ?3, ?4, ?5)", entry).unwrap();
            // A row that is skipped was so by a person's word if its ticket is odd.
            let reason = if ticket % 2 == 1 { "resolved" } else { "superseded" };
            let detail = params![run.key.key(row), reason];
            conn.execute("INSERT INTO detail VALUES (?1, 1, 0, NULL, ?2, '')", detail).unwrap();
            let counter = state.key();
            conn.execute(&format!("UPDATE run SET {counter} = {counter} + 1 WHERE id = ?1"), [run.key.id])
                .unwrap();
        }
        let ended_ms = if past.is_old { 1 } else { NOW_MS };
        conn.execute("UPDATE run SET ended_ms = ?2 WHERE id = ?1", params![run.key.id, ended_ms]).unwrap();
    }
    (folder, journal)
}

fn prune(journal: &mut Journal, dry_run: bool) -> Pruned {
    let what = Prune { desk: &desk(), before_ms: NOW_MS, now_ms: NOW_MS, dry_run };
    journal.prune(&what, &|| Ok(())).unwrap()
}

/// The keys of the rows that are there.
fn keys(journal: &Journal) -> Vec<i64> {
    let mut keys = journal.conn.prepare("SELECT key FROM row ORDER BY key").unwrap();
    keys.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

const APPLIED: State = State::Applied;

#[test]
fn an_applied_row_goes_once_each_of_its_fields_was_set_again() {
    let (_folder, mut journal) = journal(&[
        past(&[(1, 0b0101, APPLIED), (2, 0b0001, APPLIED), (3, 0b0001, APPLIED)]),
        past(&[(1, 0b0001, APPLIED), (2, 0b0010, APPLIED)]),
        Past { is_turned: true, ..past(&[(1, 0b0100, APPLIED), (3, 0b0011, APPLIED)]) },
    ]);
    assert_eq!(prune(&mut journal, true).rows, 2);
    let pruned = prune(&mut journal, false);
    assert_eq!((pruned.rows, pruned.runs), (2, vec![1, 2, 3]));
    // Row 1 of the first run and row 3: by two later runs together, one of which writes CF1 otherwise.
    assert_eq!(keys(&journal), [2, 4, 5, 6, 7]);
    assert_eq!(prune(&mut journal, false), Pruned::default(), "once is enough");
}

#[test]
fn rows_that_a_later_night_sets_again_go_by_a_later_prune() {
    let (_folder, mut journal) = journal(&[
        past(&[(1, 1, APPLIED), (2, 1, APPLIED)]),
        Past { is_old: false, ..past(&[(1, 1, State::Failed)]) },
    ]);
    assert_eq!(prune(&mut journal, false).rows, 0);
    let next = journal.runs().unwrap().pop().unwrap();
    journal.conn.execute("UPDATE row SET state = 1 WHERE key = ?1", [next.key.key(1)]).unwrap();
    journal.conn.execute("UPDATE run SET applied = 1, failed = 0 WHERE id = ?1", [next.key.id]).unwrap();
    let pruned = prune(&mut journal, false);
    assert_eq!((pruned.rows, pruned.runs.len(), keys(&journal)), (1, 0, vec![2, 3]));
}

#[test]
fn what_needs_a_person_or_time_stays_whole() {
    let (_folder, mut journal) = journal(&[
        past(&[(1, 1, APPLIED), (1, 1, State::InDoubt)]),
        Past { is_unfinished: true, ..past(&[(1, 1, APPLIED), (1, 1, State::Failed)]) },
        Past { is_old: false, ..past(&[(1, 1, APPLIED), (1, 1, State::Failed)]) },
        past(&[(1, 1, APPLIED), (1, 1, State::Failed), (2, 1, State::Invalid), (2, 1, State::Skipped)]),
    ]);
    let before = keys(&journal);
    let pruned = prune(&mut journal, false);
    assert_eq!(pruned.kept, Kept { unfinished: 1, in_doubt: 1, recent: 1 });
    assert_eq!(pruned.runs, [4]);
    // Of the last run the row stays that was the last to set its field.
    assert_eq!(keys(&journal), before[..before.len() - 3]);
    let run = journal.run(4).unwrap().unwrap();
    assert_eq!((run.pruned_ms, run.spool), (Some(NOW_MS), None));
    assert_eq!((run.counts.applied, run.counts.failed, run.counts.invalid, run.counts.skipped), (1, 1, 1, 1));
    let details: u64 = journal.conn.query_row("SELECT count(*) FROM detail", [], |row| row.get(0)).unwrap();
    assert_eq!(details, 6, "what was said of its rows goes with them");
}

#[test]
fn a_run_that_may_still_send_does_not_stand_in_for_the_rows_before_it() {
    let retryable = Past { is_old: false, ..past(&[(1, 1, APPLIED), (1, 1, State::Failed)]) };
    let (_folder, mut journal) =
        journal(&[past(&[(1, 1, State::Failed)]), past(&[(1, 1, APPLIED)]), retryable]);
    assert_eq!(prune(&mut journal, false).rows, 1);
    let runs = journal.runs().unwrap();
    let later = journal.build_later(&desk(), (runs[0].key, 0)).unwrap();
    let asked = (TicketId::from_journal(1), changes(1, false));
    let answer = journal.later_than(&later, (runs[0].key, 1), Some(runs[2].key), asked.0, &asked.1).unwrap();
    assert!(matches!(answer, Later::Superseded(place) if place.run == 2), "{answer:?}");
}

#[test]
fn a_process_that_noted_no_end_was_last_at_work_in_its_last_minute() {
    let (_folder, mut journal) = journal(&[past(&[(1, 1, APPLIED)])]);
    let conn = &journal.conn;
    conn.execute("UPDATE run SET ended_ms = NULL, started_ms = 0", []).unwrap();
    let sample =
        "INSERT INTO minute (run, minute, applied, failed, in_doubt, throttled, not_sent, paused_ms, latency)
         VALUES (1, ?1, 1, 0, 0, 0, 0, 0, x'')";
    conn.execute(sample, [NOW_MS / 60_000]).unwrap();
    assert_eq!(prune(&mut journal, false).kept.recent, 1);
    journal.conn.execute("UPDATE minute SET minute = 0", []).unwrap();
    assert_eq!(prune(&mut journal, false).runs, [1]);
}

fn row() -> impl Strategy<Value = Row> {
    let states = [APPLIED, APPLIED, APPLIED, State::Failed, State::Skipped, State::InDoubt];
    (1..3_i64, prop::sample::select(vec![1, 4, 5, 12]), prop::sample::select(states.to_vec()))
}

fn pasts() -> impl Strategy<Value = Vec<Past>> {
    let few = prop::bool::weighted(0.2);
    let past = (prop::collection::vec(row(), 1..6), few, any::<bool>(), any::<bool>());
    let past = past.prop_map(|(rows, is_unfinished, is_old, is_turned)| Past {
        rows,
        is_unfinished,
        is_old,
        is_turned,
    });
    prop::collection::vec(past, 1..6)
}

/// Every answer to whether a row may still be sent: of each row there was, for each ticket and set of fields, to each run
/// that may ask because it can still send.
fn answers(journal: &Journal) -> Vec<Later> {
    let runs = journal.runs().unwrap();
    let can_send = |run: &&Run| !run.is_finished() || run.counts.in_doubt + run.counts.failed > 0;
    let asking: Vec<Option<RunKey>> = std::iter::once(None)
        .chain(runs.iter().filter(|run| !run.is_pruned()).filter(can_send).map(|run| Some(run.key)))
        .collect();
    let later = journal.build_later(&desk(), (runs[0].key, 0)).unwrap();
    let mut answers = Vec::new();
    for run in &runs {
        for row in 0..=run.counts.rows {
            for ticket in 1..3 {
                for mask in [1, 4, 8, 13] {
                    for except in &asking {
                        let ticket = TicketId::from_journal(ticket);
                        let changes = changes(mask, mask % 2 == 0);
                        answers.push(
                            journal.later_than(&later, (run.key, row), *except, ticket, &changes).unwrap(),
                        );
                    }
                }
            }
        }
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_row_may_be_sent_that_might_not_before_and_none_the_other_way(history in pasts()) {
        let (_folder, mut journal) = journal(&history);
        // Who has gone asks nothing any more.
        let goes = prune(&mut journal, true).runs;
        for id in &goes {
            journal.mark_pruned(*id, NOW_MS).unwrap();
        }
        let (before, rows) = (answers(&journal), keys(&journal).len() as u64);
        let would_go = prune(&mut journal, true).rows;
        prop_assert_eq!(keys(&journal).len() as u64, rows, "a dry run changes nothing");
        let gone = prune(&mut journal, false).rows;
        prop_assert_eq!((would_go, keys(&journal).len() as u64), (gone, rows - gone));
        prop_assert_eq!(answers(&journal), before);
        prop_assert_eq!(prune(&mut journal, false).rows, 0);
    }
}
