//! How much of a run a batch reads, in a database that has no statistics yet of a table that was just filled.

use deskload::journal::state::Ending;

use super::database::Database;
use super::{At, Engine as _, csv};
use crate::support::until;

/// With a plan that is right for an empty table every batch read the whole run, and 20,000 rows took 45 s.
#[test]
fn a_batch_finds_its_rows_by_their_key_while_nothing_is_known_of_their_table() {
    const ROWS: u64 = 20_000;
    let Some(engine) = Database::open() else { return };
    engine.ask("ALTER TABLE deskload.rows SET (autovacuum_enabled = off)");
    let mut at = At::on(engine, &csv(ROWS));
    for batch in 0..20 {
        let rows: Vec<u64> = (1..=50).map(|row| batch * 50 + row).collect();
        at.end(&rows, &Ending::Applied);
    }
    let worker = at.worker.take().unwrap();
    at.engine.leave(worker);
    assert_eq!(
        at.engine.ask("SELECT count(*) FROM pg_stats WHERE schemaname = 'deskload' AND tablename = 'rows'"),
        "0"
    );
    // What a session has read is known once it has ended.
    until("the worker's sessions to end", || at.engine.sessions() == 1);
    let read: u64 = at
        .engine
        .ask(
            "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'rows')
                 + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'rows')",
        )
        .parse()
        .unwrap();
    assert!(read < ROWS, "40 batches of 50 rows have read {read} rows of a run of {ROWS}");
}
