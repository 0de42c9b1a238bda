//! What workers that are alive keep from happening to the run that they work on. For the database alone: a file's account
//! is held by one process.

use deskload::error::Error;
use deskload::journal::prune::{Kept, Prune};
use deskload::journal::state::Ending;

use super::database::Database;
use super::{At, Engine as _, csv, desk, in_doubt, take_in};

#[test]
fn a_run_whose_rows_in_doubt_a_worker_sends_again_is_not_displaced() {
    for resends in [true, false] {
        let Some(mut engine) = Database::open() else { return };
        engine.resends = resends;
        let mut at = At::on(engine, &csv(3));
        at.end(&[1, 2], &Ending::Applied);
        at.end(&[3], &in_doubt());
        let next = take_in(&mut at.engine, "ticket_id,staff\n9,other\n");
        let displaced = at.engine.activate(&next);
        if resends {
            assert!(matches!(displaced, Err(Error::Overlap(_))), "{displaced:?}");
            let worker = at.worker.take().unwrap();
            at.engine.leave(worker);
            at.engine.activate(&next).unwrap();
        } else {
            displaced.unwrap();
        }
    }
}

#[test]
fn a_run_whose_rows_are_left_to_send_is_displaced_once_nobody_works_on_it() {
    let Some(engine) = Database::open() else { return };
    let mut at = At::on(engine, &csv(2));
    let next = take_in(&mut at.engine, "ticket_id,staff\n9,other\n");
    assert!(matches!(at.engine.activate(&next), Err(Error::Overlap(_))));
    let worker = at.worker.take().unwrap();
    at.engine.leave(worker);
    at.engine.activate(&next).unwrap();
}

#[test]
fn a_finished_run_keeps_its_rows_until_its_workers_have_left() {
    let Some(engine) = Database::open() else { return };
    let mut at = At::on(engine, &csv(2));
    at.end(&[1, 2], &Ending::Applied);
    let desk = desk();
    let all = Prune { desk: &desk, before_ms: i64::MAX, now_ms: 1, dry_run: false };
    let pruned = at.engine.archive().prune(&all, &|| Ok(())).unwrap();
    assert_eq!((pruned.runs, pruned.kept), (vec![], Kept { recent: 1, ..Kept::default() }));
    let worker = at.worker.take().unwrap();
    at.engine.leave(worker);
    assert_eq!(at.engine.archive().prune(&all, &|| Ok(())).unwrap().runs, [at.run.key.id]);
}
