//! What must have come of the week: at the desk, in its log, and in what each night said of itself.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_GUARD};

use super::office::LOCKED_OUT;
use super::{DAY, HOUR, MINUTE, Night, Week};

pub(super) fn the_desk_is_as_the_files_ask_for(week: &Week, nights: &[Night; 7]) {
    let office = week.office.borrow();
    let wanted: BTreeMap<u64, String> = nights.iter().flat_map(|night| night.rows.iter().cloned()).collect();
    assert_eq!(office.staff, wanted);
    let once: HashSet<_> = office.applied.iter().collect();
    assert_eq!(once.len(), office.applied.len(), "no update twice");
}

/// In no window of the week, whichever processes sent.
pub(super) fn no_limit_was_passed(week: &Week) {
    let seen = &week.office.borrow().seen;
    for (most, per) in [(1 + 2, Duration::from_secs(1)), (10, MINUTE), (400, HOUR)] {
        let too_many = seen.windows(most + 1).find(|window| window[most].saturating_sub(window[0]) < per);
        assert_eq!(too_many, None, "more than {most} within {per:?}");
    }
    let slept = |at: &&Duration| {
        let hour = at.as_secs() % DAY.as_secs() / 3_600;
        (6..22).contains(&hour)
    };
    // What was under way at six is finished.
    let by_day: Vec<_> = seen.iter().filter(slept).collect();
    assert!(by_day.is_empty(), "outside of the window: {by_day:?}");
    assert!(
        !seen.iter().any(|at| (LOCKED_OUT.0 + MINUTE..LOCKED_OUT.1).contains(at)),
        "asked while locked out"
    );
}

pub(super) fn the_summaries_tell_the_story(week: &Week) {
    // Monday: a night as it should be.
    let [monday, tuesday, wednesday, thursday, friday, sunday] =
        [1, 2, 3, 4, 5, 6].map(|run| week.last_of(run));
    assert_eq!((monday.exit_code, monday.counts()), (EXIT_DONE, [300, 0, 0, 0]));
    assert!(monday.when.starts_with("Mon 22:"), "{monday:?}");
    // Tuesday: killed, gone on with at eleven; what was on its way is in doubt until somebody looks in the morning.
    assert_eq!((tuesday.exit_code, tuesday.counts()), (EXIT_ATTENTION, [299, 1, 0, 0]));
    assert_eq!(week.settled_by_day, [0, 1, 0, 0, 0, 0, 0]);
    // Wednesday: the desk is away for longer than anybody has patience; at eleven it is back.
    let first = week.told.iter().find(|told| told.run == Some(3)).unwrap();
    assert_eq!(first.exit_code, EXIT_EARLY);
    assert_eq!((wednesday.exit_code, wednesday.counts()), (EXIT_DONE, [300, 0, 0, 0]));
    // Thursday: locked out until five past midnight; at eleven nobody asks; at six the window closes on the rest.
    let thursdays: Vec<_> = week.told.iter().filter(|told| told.run == Some(4)).collect();
    assert_eq!(
        thursdays.iter().map(|told| told.exit_code).collect::<Vec<_>>(),
        [EXIT_EARLY, EXIT_EARLY, EXIT_EARLY, EXIT_DONE]
    );
    assert_eq!(thursdays[0].counts(), thursdays[1].counts());
    assert_eq!(thursday.counts(), [2_700, 0, 0, 0]);
    // Friday: the same values in another order, after what Thursday has left.
    assert_eq!((friday.exit_code, friday.counts()), (EXIT_DONE, [0, 0, 2_700, 0]));
    assert_eq!(friday.summary["reasons"][0]["reason"], "unchanged");
    // Saturday: an export that came out empty, at each start.
    let saturday: Vec<_> = week.told.iter().filter(|told| told.run.is_none()).collect();
    assert_eq!(saturday.iter().map(|told| told.exit_code).collect::<Vec<_>>(), [EXIT_GUARD; 3]);
    assert!(saturday.iter().all(|told| told.when.starts_with("Sat") || told.when.starts_with("Sun 01")));
    // Sunday: a tenth has changed.
    assert_eq!((sunday.exit_code, sunday.counts()), (EXIT_DONE, [270, 0, 2_430, 0]));
}
