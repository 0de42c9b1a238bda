//! What a person's word does to rows: `resolve` in its forms, and `retry`.

use deskload::error::Error;
use deskload::journal::settle::Word;
use deskload::journal::state::{Ending, Reason, State};

use super::database::Database;
use super::file::File;
use super::{At, Engine, asking, csv, in_doubt, note, on_both, opened};

on_both!(
    File, Database:
    a_word_settles_the_rows_in_doubt_that_it_names,
    a_word_on_a_row_that_is_not_in_doubt_settles_nothing,
    a_row_that_a_person_wants_sent_again_gets_a_permit,
    rows_that_failed_are_tried_again_at_a_person_s_word_alone,
    a_word_on_one_run_leaves_the_others_alone,
    what_waits_in_newer_runs_for_a_row_is_skipped_once_a_person_says_that_the_desk_has_it,
);

fn a_word_settles_the_rows_in_doubt_that_it_names<E: Engine>() {
    for (word, some, all) in [
        (Word::Applied, [2, 0, 0, 2, 0, 1], [4, 0, 0, 0, 0, 1]),
        (Word::Resend, [0, 0, 0, 2, 0, 3], [0, 0, 0, 0, 0, 5]),
        (Word::Skip, [0, 0, 0, 2, 2, 1], [0, 0, 0, 0, 4, 1]),
    ] {
        let mut at = opened!(E, &csv(5));
        at.end(&[1, 2, 3, 4], &in_doubt());
        let run = at.run.clone();
        let say = |at: &mut At<E>, rows| at.engine.archive().resolve(&run, word, rows).unwrap().rows;
        assert_eq!(say(&mut at, Some(&[(2, 3)][..])), 2);
        assert_eq!(at.counts(), some, "{word:?}");
        assert_eq!(say(&mut at, None), 2);
        assert_eq!(at.counts(), all, "{word:?}");
        assert_eq!(say(&mut at, None), 0);
        let by_word = at.engine.archive().settled_otherwise(&run).unwrap();
        let expected = match word {
            Word::Applied => (4, 0),
            Word::Skip => (0, 4),
            Word::Resend => (0, 0),
        };
        assert_eq!((by_word.applied_by_word, by_word.skipped_by_word), expected);
    }
}

fn a_word_on_a_row_that_is_not_in_doubt_settles_nothing<E: Engine>() {
    let mut at = opened!(E, &csv(4));
    at.end(&[1, 2], &in_doubt());
    at.end(&[3], &Ending::Applied);
    let run = at.run.clone();
    let wrong: [(&[(u64, u64)], u64); 5] = [
        (&[(1, 3)], 3),
        (&[(1, 1), (3, 3)], 3),
        (&[(1, 2), (4, 4)], 4),
        (&[(0, 1)], 0),
        (&[(1, 1), (5, u64::MAX)], 5),
    ];
    for (ranges, odd) in wrong {
        let error = at.engine.archive().resolve(&run, Word::Skip, Some(ranges)).unwrap_err();
        let named = format!("row {odd} of run {} is not in doubt", run.key.id);
        assert!(matches!(&error, Error::Usage(why) if why.contains(&named)), "{ranges:?}: {error}");
        assert_eq!(at.counts(), [1, 0, 0, 2, 0, 1], "{ranges:?}");
    }
}

fn a_row_that_a_person_wants_sent_again_gets_a_permit<E: Engine>() {
    let mut at = opened!(E, &csv(2));
    at.end(&[1], &in_doubt());
    let run = at.run.clone();
    at.engine.archive().resolve(&run, Word::Resend, Some(&[(1, 1)])).unwrap();
    assert_eq!(at.told(), [(1, State::Pending, 1, "resolved".to_owned(), None)]);
    at.end_again(&[(1, 1)], &Ending::Applied);
    assert_eq!((at.counts(), at.now().attempts), ([1, 0, 0, 0, 0, 1], 2));
}

fn rows_that_failed_are_tried_again_at_a_person_s_word_alone<E: Engine>() {
    let mut at = opened!(E, &csv(4));
    at.end(&[1, 2], &Ending::Failed(note(Reason::Rejected, Some(422))));
    at.end(&[3], &in_doubt());
    let run = at.run.clone();
    assert_eq!(at.engine.archive().retry(&run).unwrap(), 2);
    assert_eq!(at.counts(), [0, 0, 0, 1, 0, 3]);
    at.end_again(&[(1, 1)], &Ending::Applied);
    at.end_again(&[(2, 1)], &Ending::Failed(note(Reason::Rejected, Some(404))));
    let told = [
        (2, State::Failed, 2, "rejected".to_owned(), Some(404)),
        (3, State::InDoubt, 1, "timeout".to_owned(), None),
    ];
    assert_eq!(at.told(), told);
    assert_eq!((at.counts(), at.now().attempts), ([1, 1, 0, 1, 0, 1], 5));
}

fn a_word_on_one_run_leaves_the_others_alone<E: Engine>() {
    let mut at = opened!(E, &csv(2));
    at.end(&[1, 2], &in_doubt());
    let first = at.now();
    let second = at.next_run(&(csv(2) + "3,ST3\n"));
    at.end(&[3], &in_doubt());
    assert_eq!(at.engine.archive().resolve(&second, Word::Skip, None).unwrap().rows, 1);
    assert_eq!(at.counts(), [0, 0, 0, 0, 1, 2]);
    assert!(at.engine.archive().resolve(&first, Word::Skip, Some(&[(3, 3)])).is_err());
    assert_eq!(at.engine.archive().run(first.key.id).unwrap().unwrap().counts, first.counts);
}

fn what_waits_in_newer_runs_for_a_row_is_skipped_once_a_person_says_that_the_desk_has_it<E: Engine>() {
    for (word, in_second, in_third) in [
        (Word::Applied, [1, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1]),
        (Word::Skip, [1, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 2]),
    ] {
        let mut at = opened!(E, &csv(2));
        at.end(&[1, 2], &in_doubt());
        let first = at.now();
        let second = at.next_run("ticket_id,staff\n2,other\n1,ST1\n3,ST3\n");
        at.set_aside(vec![asking(1, 2, "other"), asking(2, 1, "ST1")]);
        at.end(&[3], &Ending::Applied);
        let third = at.next_run("ticket_id,staff\n2,ST2\n1,ST1\n");
        at.set_aside(vec![asking(1, 2, "ST2"), asking(2, 1, "ST1")]);
        let resolved = at.engine.archive().resolve(&first, word, None).unwrap();
        let twins = resolved.twins.iter().map(|twins| (twins.run, twins.rows)).collect::<Vec<_>>();
        // Row 1 of the second run has another word for ticket 2, and comes before what the third says of it.
        let expected =
            if word == Word::Applied { vec![(second.key.id, 1), (third.key.id, 1)] } else { vec![] };
        assert_eq!((resolved.rows, twins), (2, expected));
        assert_eq!(at.counts(), in_third);
        at.run = second;
        assert_eq!(at.counts(), in_second);
    }
}
