//! What several machines do to one journal at the same time, and a database that is not what it was.

use std::time::Duration;

use deskload::error::Error;
use deskload::journal::settle::Word;
use deskload::journal::state::Ending;
use deskload::journal::transitions::Batch;
use deskload::journal::writer::Commits as _;

use super::database::Database;
use super::{At, Engine as _, csv, in_doubt};
use crate::support::until;

/// A case's journal with a run of so many rows.
fn at(rows: u64) -> Option<At<Database>> {
    Some(At::on(Database::open()?, &csv(rows)))
}

/// A file of a million rows takes a while to be taken in; its run is not committed until then.
#[test]
fn an_input_that_is_being_taken_in_holds_up_no_permit_of_its_account() {
    let Some(mut at) = at(2) else { return };
    let staging = at.engine.hold(
        "INSERT INTO deskload.run (account, rows, sha256, bytes, layout, mapping, custom_fields, started_ms)
             SELECT account, 0, 'other', 0, layout, mapping, custom_fields, 0 FROM deskload.run",
    );
    at.end(&[1], &Ending::Applied);
    drop(staging);
    assert_eq!(at.counts(), [1, 0, 0, 0, 0, 1]);
}

#[test]
fn a_worker_without_a_rate_works_while_the_account_is_slowed_down() {
    let Some(mut at) = at(3) else { return };
    at.engine.ask("UPDATE deskload.account SET slow_parts = 4");
    at.end(&[1, 2], &Ending::Applied);
    at.end(&[3], &Ending::Applied);
    assert_eq!(at.counts(), [3, 0, 0, 0, 0, 0]);
}

/// As administrators set it for a role or a database.
#[test]
fn a_batch_that_was_refused_a_lock_is_given_again() {
    let Some(engine) = Database::open() else { return };
    engine.set("lock_timeout = '20ms'");
    let mut at = At::on(engine, &csv(1));
    let permits = at.grant(&[(1, 0)]);
    let outcomes = permits.into_iter().map(|permit| permit.send().settle(Ending::Applied, Duration::ZERO));
    let batch = Batch { outcomes: outcomes.collect(), ..Batch::default() };
    let held = at.engine.hold("SELECT FROM deskload.rows FOR UPDATE");
    let waits = "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let (mut worker, run) = (at.worker.take().unwrap(), at.run.key);
    let committing = std::thread::spawn(move || worker.commit(run, &batch).map(|_| worker));
    let mut first = String::new();
    until("the batch to wait for the lock", || {
        first = at.engine.ask(waits);
        first != "0"
    });
    // Its session ends with the refusal.
    until("the batch to be refused", || {
        at.engine.ask(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {first}")) == "0"
    });
    drop(held);
    at.worker = Some(committing.join().unwrap().unwrap());
    assert_eq!(at.counts(), [1, 0, 0, 0, 0, 0]);
}

/// Its worker was cut off, a person looked at the desk too early, and then the answer came.
#[test]
fn an_answer_that_comes_after_a_person_s_word_to_send_again_spares_the_row_that() {
    let Some(mut at) = at(1) else { return };
    let permits = at.grant(&[(1, 0)]);
    at.engine.ask("SELECT deskload.cut_off(account, worker, NULL) FROM deskload.unit LIMIT 1");
    assert_eq!(at.counts(), [0, 0, 0, 1, 0, 0]);
    let run = at.run.clone();
    at.engine.archive().resolve(&run, Word::Resend, None).unwrap();
    let outcomes = permits.into_iter().map(|permit| permit.send().settle(Ending::Applied, Duration::ZERO));
    at.commit(&Batch { outcomes: outcomes.collect(), ..Batch::default() });
    assert_eq!(at.counts(), [1, 0, 0, 0, 0, 0]);
    assert_eq!(at.engine.ask("SELECT count(*) FROM deskload.rows WHERE body IS NOT NULL"), "0");
}

/// Both looked before either had opened a run.
#[test]
fn an_input_that_two_machines_take_in_at_once_makes_one_run() {
    let Some(mut at) = at(2) else { return };
    at.end(&[1, 2], &Ending::Applied);
    let refused = at.engine.open_again(&csv(2), None).unwrap_err();
    assert!(matches!(&refused, Error::Overlap(why) if why.contains("taken in this input")), "{refused}");
    // Who knows of that run may still want another one.
    let newest = Some(at.run.key.id);
    assert_eq!(at.engine.open_again(&csv(2), newest).unwrap().key.id, 2);
    assert!(at.engine.open_again(&csv(2), newest).is_err());
}

/// A snapshot of the server's disk is as it was then, and says that it is the same server.
#[test]
fn a_server_that_was_set_back_under_its_workers_gives_no_permit_and_learns_what_they_know() {
    let Some(mut at) = at(5) else { return };
    at.end(&[1], &Ending::Applied);
    at.engine.ask(
        "CREATE TABLE rows_then AS TABLE deskload.rows; CREATE TABLE worker_then AS TABLE deskload.worker",
    );
    let mut permits = at.grant(&[(2, 0), (3, 0), (4, 0)]).into_iter();
    at.engine.ask(
        "UPDATE deskload.rows r SET (state, permit, attempts, worker) = (t.state, t.permit, t.attempts, t.worker)
             FROM rows_then t WHERE t.number = r.number;
         UPDATE deskload.worker SET batch = t.batch FROM worker_then t;
         UPDATE deskload.run SET attempts = 1",
    );
    let mut answered = |ending| permits.next().unwrap().send().settle(ending, Duration::ZERO);
    let outcomes = vec![answered(Ending::Applied), answered(in_doubt())];
    let given_back = permits.collect();
    let batch = Batch { outcomes, given_back, wanted: vec![super::intent(5)], ..Batch::default() };
    let committed = at.worker.as_mut().unwrap().commit(at.run.key, &batch).unwrap();
    assert!(committed.permits.is_empty());
    assert!(committed.trouble.unwrap().to_string().contains("deskload journal check --confirm"));
    assert_eq!((at.counts(), at.now().attempts), ([2, 0, 0, 1, 0, 2], 3));
    assert!(at.engine.open_another().is_err(), "nobody else may, either");
}

#[test]
fn a_word_that_was_held_up_for_long_does_not_settle_what_is_in_doubt_by_then() {
    let Some(mut at) = at(1) else { return };
    at.end(&[1], &in_doubt());
    let settled =
        "BEGIN PERFORM deskload.resolve(1, 1, 'said', NULL, deskload.now_us() - 1); RAISE 'settled';
                   EXCEPTION WHEN SQLSTATE 'DL003' THEN NULL; END";
    at.engine.ask(&format!("DO $$ {settled} $$"));
    assert_eq!(at.counts(), [0, 0, 0, 1, 0, 0]);
}
