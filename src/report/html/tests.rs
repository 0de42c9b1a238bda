//! The page's words and drawings, from journals that are made up.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::error::{EXIT_ATTENTION, EXIT_EARLY};
use crate::journal::changed::SettledOtherwise;
use crate::journal::invocations::{Beginning, End};
use crate::journal::minutes::Meanwhile;
use crate::journal::runs::Counts;
use crate::journal::state::Ending;
use crate::journal::tests::{csv, grant, opened};
use crate::journal::transitions::Batch;

const MINUTE_MS: i64 = 60_000;

fn clock() -> Clock {
    Clock { zone: TimeZone::UTC, now: Timestamp::from_second(1_795_000_000).unwrap() }
}

/// The headline of a run whose rows stand like this.
fn sentence(counts: Counts, exit_code: Option<u8>) -> String {
    let (_folder, _journal, run) = opened(&csv(1));
    words::headline(&Run { counts, exit_code, ..run }, None).sentence
}

#[test]
fn the_headline_says_how_it_went() {
    let none = Counts::default();
    let all = |rows| Counts { rows, ..none };
    for (counts, exit_code, expected) in [
        (none, Some(0), "The file has no rows, so there was nothing to do."),
        (Counts { applied: 1, ..all(1) }, Some(0), "The one row was applied."),
        (Counts { applied: 1_300, ..all(1_300) }, Some(0), "All 1,300 rows were applied."),
        (Counts { applied: 9, skipped: 1, ..all(10) }, Some(0), "9 of 10 rows were applied, 1 skipped."),
        (
            Counts { applied: 1, failed: 1, invalid: 2, ..all(4) },
            Some(3),
            "1 of 4 rows was applied; 3 need a look.",
        ),
        (
            Counts { failed: 1, pending: 1, ..all(2) },
            Some(EXIT_EARLY),
            "0 of 2 rows were applied so far, 1 is still to be sent; 1 needs a look.",
        ),
        (
            Counts { applied: 5, in_doubt: 1, pending: 4, ..all(10) },
            Some(EXIT_ATTENTION),
            "5 of 10 rows were applied so far, 4 wait behind rows in doubt; 1 needs a look.",
        ),
        (
            Counts { applied: 5, pending: 5, ..all(10) },
            Some(EXIT_ATTENTION),
            "5 of 10 rows were applied so far, 5 wait behind a row in doubt of another run.",
        ),
    ] {
        assert_eq!(sentence(counts, exit_code), expected);
    }
}

#[test]
fn what_the_desk_did_not_settle_is_told_beside_the_headline() {
    let settled =
        SettledOtherwise { applied_by_word: 1, skipped_by_word: 0, superseded: 2, already_applied: 0 };
    let expected = [
        "1 row counts as applied because a person said that the desk has it.",
        "2 rows were skipped because later rows had set the same fields.",
        "3 rows were skipped because the ticket was given these values last.",
    ];
    assert_eq!(words::otherwise(&settled, Some(3)), expected);
    assert!(words::otherwise(&SettledOtherwise::default(), None).is_empty());
    let unchanged = Tallied {
        outcome: "skipped",
        reason: "unchanged".to_owned(),
        message: String::new(),
        count: 3,
        example: String::new(),
        rows: Vec::new(),
    };
    assert!(tables::reasons(&[unchanged]).is_empty(), "it needs no look");
}

#[test]
fn the_bar_is_full_and_every_outcome_can_be_seen() {
    let counts = Counts { rows: 1_000_000, applied: 999_990, failed: 3, in_doubt: 7, ..Counts::default() };
    let parts = words::outcomes(&counts);
    assert_eq!(parts.iter().map(|part| part.width).sum::<u64>(), words::BAR_WIDTH);
    for part in &parts {
        assert_eq!(part.width >= 5, part.count.0 > 0, "{}: {}", part.word, part.width);
    }
    let shares: Vec<&str> = parts.iter().map(|part| part.share.as_str()).collect();
    assert_eq!(shares, [">99.9%", "<0.1%", "0%", "<0.1%", "0%", "0%"]);
}

#[test]
fn a_run_of_days_has_no_more_columns_than_a_page_can_show() {
    let (_folder, mut journal, run) = opened(&csv(300));
    let begin = |now_ms| Beginning { now_ms, again: "deskload resume", pace: "1/s" };
    let hour_ms = 60 * MINUTE_MS;
    for night in 0..3 {
        let began_ms = night * 24 * hour_ms;
        journal.begin_invocation(run.key, &begin(began_ms)).unwrap();
        for hour in 0..8 {
            let row = u64::try_from(night * 8 + hour + 1).unwrap();
            let permit = grant(&mut journal, &run, &[row]).unwrap().remove(0);
            let outcomes = vec![permit.send().settle(Ending::Applied, Duration::from_millis(30))];
            let now_ms = began_ms + hour * hour_ms + 1;
            let meanwhile = Meanwhile { now_ms, paused_ms: 0, away_ms: 0, per_second: Some(0.001) };
            journal.commit(run.key, &Batch { outcomes, meanwhile, ..Batch::default() }).unwrap();
        }
        let said = Some("the window is closed");
        let now_ms = began_ms + 8 * hour_ms;
        let end = End { now_ms, ended_ms: now_ms, exit_code: EXIT_EARLY, said };
        journal.end_invocation(run.key, &end).unwrap();
    }
    let mut invocations = Vec::new();
    journal.each_invocation(run.key, |invocation| invocations.push(invocation)).unwrap();
    let spans = timeline::spans(&invocations, None);
    let chart = timeline::draw(&journal, run.key, Some((0, 55 * 60)), &spans, &clock()).unwrap().unwrap();
    assert_eq!((chart.step.as_str(), chart.columns.len()), ("30m", 2 * 55 + 1));
    assert_eq!(chart.columns.iter().map(|column| column.applied.count.0).sum::<u64>(), 24);
    let [lane] = &chart.lanes[..] else { panic!("{}", chart.told) };
    assert_eq!((lane.key, lane.total.as_str()), ("stopped", "1d 8h"), "two days between three nights");
    assert!(!chart.pace_path.is_empty());
}

#[test]
fn a_process_that_was_cut_off_was_at_work_until_its_last_sample() {
    let one = |number, began_ms, ended_ms| crate::journal::invocations::Invocation {
        number,
        again: String::new(),
        pace: String::new(),
        began_ms,
        ended_ms,
        exit_code: None,
        said: None,
    };
    let invocations =
        [one(1, 0, None), one(2, 10 * MINUTE_MS, Some(11 * MINUTE_MS)), one(3, 20 * MINUTE_MS, None)];
    let spans: Vec<i64> = timeline::spans(&invocations, Some(24)).iter().map(timeline::Span::ms).collect();
    assert_eq!(spans, [10 * MINUTE_MS, MINUTE_MS, 5 * MINUTE_MS]);
    assert_eq!(timeline::spans(&invocations[2..], None)[0].ms(), 0);
}

#[test]
fn latencies_are_told_by_the_buckets_that_they_fell_into() {
    let mut latencies = Latencies::default();
    assert!(tables::latencies(&latencies).is_none());
    latencies.0[4] = 50;
    latencies.0[6] = 45;
    latencies.0[14] = 5;
    let table = tables::latencies(&latencies).unwrap();
    assert_eq!(table.told, "Half of the answers came within 20 ms, 95 of 100 within 100 ms.");
    let labels: Vec<&str> = table.buckets.iter().map(|bucket| bucket.label.as_str()).collect();
    assert_eq!((labels[0], labels[labels.len() - 1], labels.len()), ("10 ms to 20 ms", "over 30 s", 11));
    assert_eq!(table.buckets.iter().map(|bucket| bucket.count.0).sum::<u64>(), 100);
}

#[test]
fn the_page_of_a_run_without_rows_is_whole() {
    let (_folder, journal, run) = opened("ticket_id,staff\n");
    let page = render(&journal, &run, &[], &[], &Flags::default(), &clock()).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && page.ends_with("</html>\n"), "{page}");
    assert!(page.contains("there was nothing to do") && page.contains("Nothing."), "{page}");
    assert!(!page.contains("<table>") && !page.contains("<svg") && !page.contains("Throughput"), "{page}");
}

#[test]
fn a_run_too_short_for_a_chart_is_told_in_a_sentence() {
    let (_folder, mut journal, run) = opened(&csv(2));
    let begin = Beginning { now_ms: 0, again: "deskload resume", pace: "1/s" };
    journal.begin_invocation(run.key, &begin).unwrap();
    let permit = grant(&mut journal, &run, &[1]).unwrap().remove(0);
    let outcomes = vec![permit.send().settle(Ending::Applied, Duration::from_millis(30))];
    let meanwhile = Meanwhile { now_ms: 1, paused_ms: 3_000, away_ms: 0, per_second: Some(1.0) };
    journal.commit(run.key, &Batch { outcomes, meanwhile, ..Batch::default() }).unwrap();
    journal
        .end_invocation(run.key, &End { now_ms: 4_000, ended_ms: 4_000, exit_code: EXIT_EARLY, said: None })
        .unwrap();
    let run = journal.run(run.key.id).unwrap().unwrap();
    let page = render(&journal, &run, &[], &[], &Flags::default(), &clock()).unwrap();
    let told = "It was at work for 4s, too short for a chart over time: 15.0 a minute were applied, at a pace of 1/s. \
                The desk asked to wait for 3s of it.";
    assert!(page.contains(told), "{page}");
}

#[test]
fn a_command_s_line_ends_before_a_flag_and_never_in_a_quoted_value() {
    let command = r"deskload run 'a -b.csv' --map 'staff=it'\''s -- mine' --journal a-b.db -q";
    let units = words::units(command);
    let expected = ["deskload run 'a -b.csv'", r"--map 'staff=it'\''s -- mine'", "--journal a-b.db", "-q"];
    assert_eq!(units, expected);
    assert_eq!(units.join(" "), command, "what is copied is the command");
}
