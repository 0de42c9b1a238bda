//! The ways from state to state while a run is sending.

use std::time::Duration;

use deskload::journal::state::{Ending, Permit, Reason, State};
use deskload::journal::transitions::Batch;

use super::database::Database;
use super::file::File;
use super::{At, Engine, csv, in_doubt, note, on_both, opened};

on_both!(
    File, Database:
    a_run_opens_with_its_rows_and_its_invalid_ones_settled,
    each_ending_leads_to_its_state_and_is_told,
    outcomes_unused_permits_and_intents_share_a_batch,
    a_permit_given_back_was_no_attempt_and_comes_again,
    a_request_that_never_left_was_no_attempt,
    a_refusal_of_the_moment_counts_and_leads_to_another_attempt,
    what_was_on_its_way_is_in_doubt_after_a_kill_and_stays_so,
    rows_that_were_settled_before_a_kill_stay_as_they_were,
    a_run_without_rows_is_at_its_end,
);

fn a_run_opens_with_its_rows_and_its_invalid_ones_settled<E: Engine>() {
    let mut at = opened!(E, "ticket_id,staff\n1,ST1\nnonsense,ST2\n3,ST3\n");
    assert_eq!(at.counts(), [0, 0, 1, 0, 0, 2]);
    assert_eq!(at.told(), [(2, State::Invalid, 0, "invalid".to_owned(), None)]);
    let run = at.now();
    assert_eq!((run.desk, run.attempts, run.throttled), (super::desk(), 0, 0));
    let kept = at.engine.archive();
    let (runs, found) =
        (kept.runs().unwrap(), kept.runs_of_input(&super::desk(), &run.input.sha256).unwrap());
    assert_eq!((runs.len(), found.len()), (1, 1));
}

fn each_ending_leads_to_its_state_and_is_told<E: Engine>() {
    let mut at = opened!(E, &csv(6));
    at.end(&[1, 2], &Ending::Applied);
    at.end(&[3], &Ending::Failed(note(Reason::Rejected, Some(404))));
    at.end(&[4], &Ending::InDoubt(note(Reason::ServerError, Some(502))));
    at.end(&[5], &Ending::NotApplied(note(Reason::Throttled, Some(429))));
    assert_eq!(at.counts(), [2, 1, 0, 1, 0, 2]);
    let told = [
        (3, State::Failed, 1, "rejected".to_owned(), Some(404)),
        (4, State::InDoubt, 1, "server error".to_owned(), Some(502)),
        (5, State::Pending, 1, "throttled".to_owned(), Some(429)),
    ];
    assert_eq!(at.told(), told);
    assert_eq!((at.now().attempts, at.now().throttled), (5, 1));
}

fn outcomes_unused_permits_and_intents_share_a_batch<E: Engine>() {
    let mut at = opened!(E, &csv(4));
    let mut permits = at.grant(&[(1, 0), (2, 0)]).into_iter();
    let outcome = permits.next().unwrap().send().settle(Ending::Applied, Duration::ZERO);
    let given_back = vec![permits.next().unwrap()];
    let wanted = vec![super::intent(3), super::intent(4)];
    let batch = Batch { outcomes: vec![outcome], given_back, wanted, cursor: 5, ..Batch::default() };
    let rows: Vec<u64> = at.commit(&batch).iter().map(Permit::row).collect();
    assert_eq!(rows, [3, 4], "in the order in which they were asked for");
    assert_eq!(at.counts(), [1, 0, 0, 0, 0, 3]);
    assert_eq!(at.now().attempts, 3);
}

fn a_permit_given_back_was_no_attempt_and_comes_again<E: Engine>() {
    let mut at = opened!(E, &csv(1));
    let given_back = at.grant(&[(1, 0)]);
    at.commit(&Batch { given_back, ..Batch::default() });
    assert_eq!((at.counts(), at.now().attempts), ([0, 0, 0, 0, 0, 1], 0));
    let again = at.grant(&[(1, 0)]);
    assert_eq!(again.iter().map(Permit::attempt).collect::<Vec<_>>(), [1]);
}

fn a_request_that_never_left_was_no_attempt<E: Engine>() {
    let mut at = opened!(E, &csv(1));
    at.end(&[1], &Ending::NotApplied(note(Reason::NotSent, None)));
    assert_eq!((at.counts(), at.now().attempts), ([0, 0, 0, 0, 0, 1], 0));
    at.end(&[1], &Ending::Applied);
    assert_eq!((at.counts(), at.now().attempts), ([1, 0, 0, 0, 0, 0], 1));
}

fn a_refusal_of_the_moment_counts_and_leads_to_another_attempt<E: Engine>() {
    let mut at = opened!(E, &csv(1));
    let later = Ending::NotApplied(note(Reason::Throttled, Some(429)));
    at.end(&[1], &later);
    at.end_again(&[(1, 1)], &later);
    let third = at.grant(&[(1, 2)]);
    assert_eq!(third[0].attempt(), 3);
    let outcomes = third.into_iter().map(|permit| permit.send().settle(Ending::Applied, Duration::ZERO));
    at.commit(&Batch { outcomes: outcomes.collect(), ..Batch::default() });
    assert_eq!((at.counts(), at.now().attempts, at.now().throttled), ([1, 0, 0, 0, 0, 0], 3, 2));
    assert_eq!(at.told(), [], "an applied row has nothing to tell");
}

fn what_was_on_its_way_is_in_doubt_after_a_kill_and_stays_so<E: Engine>() {
    let mut at = opened!(E, &csv(4));
    let _under_way = at.grant(&[(2, 0), (3, 0)]);
    assert_eq!(at.kill(), 2);
    let told = |row| (row, State::InDoubt, 1, "interrupted".to_owned(), None);
    assert_eq!(at.told(), [told(2), told(3)]);
    assert_eq!(at.counts(), [0, 0, 0, 2, 0, 2]);
    assert_eq!(at.kill(), 0, "nothing more is found by looking twice");
    assert_eq!((at.counts(), at.now().attempts), ([0, 0, 0, 2, 0, 2], 2));
}

fn rows_that_were_settled_before_a_kill_stay_as_they_were<E: Engine>() {
    let mut at = opened!(E, &csv(4));
    at.end(&[1], &Ending::Applied);
    at.end(&[2], &in_doubt());
    at.end(&[3], &Ending::Failed(note(Reason::Refused, Some(200))));
    assert_eq!(at.kill(), 0);
    assert_eq!(at.counts(), [1, 1, 0, 1, 0, 1]);
}

fn a_run_without_rows_is_at_its_end<E: Engine>() {
    let mut at = opened!(E, &csv(0));
    assert_eq!(at.counts(), [0; 6]);
    assert_eq!(at.commit(&Batch::default()).len(), 0);
}
