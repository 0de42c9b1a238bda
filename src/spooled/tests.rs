//! Rows by their numbers, in a whole spool and in one that was cut down.

use super::*;
use crate::journal::settle::Word;
use crate::journal::state::{Ending, Reason};
use crate::journal::tests::{csv, end, in_doubt, note, opened};

/// The staff cell and the line of a row.
fn at(spooled: &mut Spooled, journal: &Journal, number: u64) -> Result<(String, u64), Error> {
    let record = spooled.at(journal, number)?;
    let Body::Csv(cells) = record.body() else { panic!("a CSV") };
    assert_eq!(record.number(), number);
    Ok((String::from_utf8_lossy(&cells[1]).into_owned(), record.line()))
}

fn reload(journal: &Journal, run: &Run) -> Run {
    journal.run(run.key.id).unwrap().unwrap()
}

fn cut(journal: &mut Journal, run: &Run) {
    let run = reload(journal, run);
    cut_down(journal, &run).unwrap();
}

fn files(journal: &Journal) -> Vec<String> {
    let folder = fs::read_dir(journal.spool_folder()).unwrap();
    let mut names: Vec<String> =
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_row_is_found_in_whatever_order_it_is_asked_for() {
    let (_folder, journal, run) = opened(&csv(3_000));
    let mut spooled = Spooled::open(&journal, &run).unwrap().unwrap();
    for number in [1, 2, 5, 3, 1_024, 1_025, 2_999, 1, 3_000, 2_048, 2_048] {
        assert_eq!(at(&mut spooled, &journal, number).unwrap(), (format!("ST{number}"), number + 1));
    }
    assert!(at(&mut spooled, &journal, 3_001).is_err());
}

#[test]
fn a_run_with_rows_left_keeps_its_whole_spool() {
    let (_folder, mut journal, run) = opened(&csv(3));
    end(&mut journal, &run, &[1, 2], &Ending::Applied);
    cut(&mut journal, &run);
    assert_eq!(reload(&journal, &run).spool, run.spool);
}

#[test]
fn a_run_that_has_nothing_to_tell_keeps_nothing() {
    let (_folder, mut journal, run) = opened(&csv(3));
    end(&mut journal, &run, &[1, 2, 3], &Ending::Applied);
    cut(&mut journal, &run);
    assert_eq!(reload(&journal, &run).spool, None);
    assert_eq!(files(&journal), [""; 0]);
    assert!(Spooled::open(&journal, &reload(&journal, &run)).unwrap().is_none());
}

#[test]
fn a_cut_spool_keeps_the_rows_that_are_told_with_their_numbers_and_lines() {
    let text = "ticket_id,staff\n1,ST1\n2,\"two\nlines\"\n3,ST3\n\n4,\"a, \"\"b\"\"\"\n#5,ST5\n6,ST6\n";
    let (_folder, mut journal, run) = opened(text);
    end(&mut journal, &run, &[2], &Ending::Failed(note(Reason::Rejected)));
    end(&mut journal, &run, &[1, 3], &Ending::Applied);
    end(&mut journal, &run, &[4, 6], &in_doubt());
    cut(&mut journal, &run);
    let cut = reload(&journal, &run);
    assert_eq!(cut.spool.as_deref(), Some("run-1.spool.cut1"));
    assert_eq!(files(&journal), ["run-1.spool.cut1"]);
    for order in [[2, 4, 5, 6], [6, 5, 4, 2]] {
        let mut spooled = Spooled::open(&journal, &cut).unwrap().unwrap();
        for number in order {
            let expected = match number {
                2 => ("two\nlines", 3),
                4 => ("a, \"b\"", 7),
                5 => ("ST5", 8),
                _ => ("ST6", 9),
            };
            let (staff, line) = at(&mut spooled, &journal, number).unwrap();
            assert_eq!((staff.as_str(), line), expected, "row {number}");
        }
    }
}

#[test]
fn a_row_that_was_cut_away_is_missing_and_no_other_takes_its_place() {
    let (_folder, mut journal, run) = opened(&csv(4));
    end(&mut journal, &run, &[1, 3], &Ending::Applied);
    end(&mut journal, &run, &[2, 4], &in_doubt());
    cut(&mut journal, &run);
    let cut = reload(&journal, &run);
    for number in [1, 3, 5] {
        let mut spooled = Spooled::open(&journal, &cut).unwrap().unwrap();
        assert!(at(&mut spooled, &journal, number).is_err(), "row {number}");
        let mut spooled = Spooled::open(&journal, &cut).unwrap().unwrap();
        assert!(at(&mut spooled, &journal, 2).is_ok());
        assert!(at(&mut spooled, &journal, number).is_err(), "row {number} after row 2");
    }
}

#[test]
fn a_cut_spool_is_cut_again_when_fewer_rows_are_told() {
    let (_folder, mut journal, run) = opened(&csv(4));
    end(&mut journal, &run, &[1, 2, 3, 4], &in_doubt());
    cut(&mut journal, &run);
    journal.resolve(&run, Word::Applied, Some(&[(1, 2)])).unwrap();
    cut(&mut journal, &run);
    let cut = reload(&journal, &run);
    assert_eq!(files(&journal), ["run-1.spool.cut2"]);
    let mut spooled = Spooled::open(&journal, &cut).unwrap().unwrap();
    assert_eq!(at(&mut spooled, &journal, 4).unwrap(), ("ST4".to_owned(), 5));
    assert_eq!(at(&mut spooled, &journal, 3).unwrap(), ("ST3".to_owned(), 4));
}

#[test]
fn sweeping_takes_leftovers_and_leaves_what_is_being_made() {
    let (_folder, mut journal, run) = opened(&csv(1));
    let folder = journal.spool_folder();
    let make = |name: &str, age: Duration| {
        let file = File::create(folder.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
        file
    };
    let old = 2 * SWEPT_AFTER;
    drop((make(".spool-left", old), make(".spool-new", Duration::ZERO), make("run-2.spool", Duration::ZERO)));
    let busy = make(".spool-busy", old);
    busy.lock().unwrap();
    sweep(&mut journal).unwrap();
    assert_eq!(files(&journal), [".spool-busy".to_owned(), ".spool-new".to_owned(), run.spool.unwrap()]);
}
