//! Whatever is done to rows, in whatever order, killed wherever: the journal stands as a small model says, and what
//! the diagram does not draw is refused without a trace.

mod model;

use std::time::Duration;

use proptest::prelude::*;
use rusqlite::types::Value;
use tempfile::TempDir;

use super::Journal;
use super::runs::Run;
use super::settle::Word;
use super::state::{Intent, Permit, Reason, State, Unsent};
use super::tests::{desk, intent, note, opened, take_in};
use super::transitions::Batch;
use super::twins::Twins;
use crate::error::Error;
use model::{Ask, End, Model, ROWS};

#[derive(Clone, Debug)]
enum Step {
    /// For each: what, of which row, and whether to look for a row of which it can be asked.
    Commit {
        asks: Vec<(Ask, u64, bool)>,
        cursor: u64,
    },
    /// The process dies, and the next one recovers.
    Crash,
    Resolve(Word, Option<(u64, u64)>),
    Retry,
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        Just(End::Applied),
        Just(End::Failed),
        Just(End::InDoubt),
        Just(End::Throttled),
        Just(End::NeverLeft)
    ];
    let ask = prop_oneof![
        4 => end.prop_map(Ask::Settle),
        1 => Just(Ask::GiveBack),
        1 => Just(Ask::SetAside),
        1 => Just(Ask::Skip),
        1 => Just(Ask::Fail),
        5 => Just(Ask::Grant),
        2 => Just(Ask::GrantAgain),
    ];
    let asks = prop::collection::vec((ask, 1..=ROWS, prop::bool::weighted(0.9)), 1..4);
    let word = prop_oneof![Just(Word::Applied), Just(Word::Resend), Just(Word::Skip)];
    // From no row at all to one beyond the run, which is the next run's.
    let rows = prop::option::of((0..=ROWS, 0..3_u64).prop_map(|(first, more)| (first, first + more)));
    prop_oneof![
        8 => (asks, 0..=ROWS + 1).prop_map(|(asks, cursor)| Step::Commit { asks, cursor }),
        1 => Just(Step::Crash),
        2 => (word, rows).prop_map(|(word, rows)| Step::Resolve(word, rows)),
        1 => Just(Step::Retry),
    ]
}

/// The journal under test: two runs of one desk, side by side in the keys of the rows.
struct Bench {
    journal: Option<Journal>,
    runs: Vec<Run>,
    models: Vec<Model>,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let rows =
            (1..ROWS).fold("ticket_id,staff\n".to_owned(), |text, row| format!("{text}{row},ST{row}\n"));
        let text = format!("{rows}#{ROWS},x\n");
        let (folder, mut journal, first) = opened(&text);
        let runs = vec![first, take_in(&mut journal, &text)];
        Self { journal: Some(journal), runs, models: vec![Model::new(), Model::new()], folder }
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().unwrap()
    }

    /// Everything that is in the file.
    fn dump(&mut self) -> Vec<Vec<Value>> {
        let conn = &self.journal().conn;
        let mut found = Vec::new();
        for table in ["run", "row", "detail", "minute", "invocation"] {
            let mut query = conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
            let columns = query.column_count();
            let rows = query.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
            found.extend(rows.unwrap().map(Result::unwrap));
        }
        found
    }

    fn apply(&mut self, run: usize, step: &Step) {
        let before = self.dump();
        let refused = match step {
            Step::Commit { asks, cursor } => self.commit(run, asks, *cursor),
            Step::Crash => {
                self.crash();
                false
            }
            Step::Resolve(word, rows) => self.resolve(run, *word, *rows),
            Step::Retry => {
                let (model, run) = (&mut self.models[run], &self.runs[run]);
                assert_eq!(self.journal.as_mut().unwrap().retry(run).unwrap(), model.retry());
                false
            }
        };
        if refused {
            assert_eq!(self.dump(), before, "nothing of what is refused stays");
        }
        for run in 0..self.runs.len() {
            self.agree(run);
        }
    }

    /// Whether it was refused, as it had to be.
    fn commit(&mut self, run: usize, asks: &[(Ask, u64, bool)], cursor: u64) -> bool {
        let mut asks = asks.to_vec();
        asks.sort_by_key(|(ask, ..)| *ask);
        let mut model = self.models[run].clone();
        let mut batch = Batch { cursor, ..Batch::default() };
        let (mut legal, mut granted) = (true, Vec::new());
        for (ask, row, look) in asks {
            let Some(row) = (if look { model.find(ask, row) } else { Some(row) }) else { continue };
            let now = model.row(row).clone();
            let resend = if ask == Ask::GrantAgain { true } else { now.resend && ask != Ask::Grant };
            add(&mut batch, ask, Intent { attempts: now.attempts, resend, ..intent(row) });
            legal &= model.take(ask, row).is_ok();
            if matches!(ask, Ask::Grant | Ask::GrantAgain) {
                granted.push((row, now.attempts + 1));
            }
        }
        let key = self.runs[run].key;
        match self.journal().commit(key, &batch) {
            Ok(committed) => {
                assert!(legal, "{batch:?} is not drawn in the diagram");
                model.cursor = model.cursor.max(cursor);
                let permits: Vec<(u64, u32)> =
                    committed.permits.iter().map(|permit| (permit.row(), permit.attempt())).collect();
                assert_eq!(permits, granted);
                assert_eq!(committed.counts.applied, model.count(State::Applied));
                assert_eq!(committed.counts.in_doubt, model.count(State::InDoubt));
                self.models[run] = model;
            }
            Err(error) => {
                assert!(!legal, "{error}: {batch:?}");
                assert!(error.to_string().contains("is not in a state that can be"), "{error}");
            }
        }
        !legal
    }

    fn crash(&mut self) {
        // No last checkpoint: what was committed is in the write-ahead log alone.
        let journal = self.journal.take().unwrap();
        journal
            .conn
            .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
        drop(journal);
        let mut journal = Journal::open(&self.folder.path().join("journal.sqlite3")).unwrap();
        let sending: u64 = self.models.iter().map(|model| model.count(State::Sending)).sum();
        assert_eq!(journal.recover(&desk()).unwrap(), sending);
        assert_eq!(journal.recover(&desk()).unwrap(), 0);
        self.models.iter_mut().for_each(Model::crash);
        self.journal = Some(journal);
    }

    fn resolve(&mut self, run: usize, word: Word, rows: Option<(u64, u64)>) -> bool {
        let doubts = self.models[run].in_state(State::InDoubt);
        let expected = self.models[run].resolve(word, rows);
        let settled: Vec<u64> = doubts
            .into_iter()
            .filter(|row| self.models[run].row(*row).state != Some(State::InDoubt))
            .collect();
        let mut twins = Vec::new();
        if word == Word::Applied && run == 0 && self.models[0].is_whole() {
            let rows = self.models[1].skip_twins(&settled);
            twins.extend((rows > 0).then_some(Twins { run: self.runs[1].key.id, rows }));
        }
        let ranges = rows.map(|range| [range]);
        let run = self.runs[run].clone();
        match self.journal().resolve(&run, word, ranges.as_ref().map(<[_; 1]>::as_slice)) {
            Ok(resolved) => {
                assert_eq!(Ok(resolved.rows), expected);
                assert_eq!(resolved.twins, twins);
            }
            Err(Error::Usage(_)) => assert_eq!(expected, Err(())),
            Err(error) => panic!("{error}"),
        }
        expected.is_err()
    }

    /// Rows, reasons and counters are the model's.
    fn agree(&mut self, run: usize) {
        let (key, model) = (self.runs[run].key, self.models[run].clone());
        let journal = self.journal();
        let entries = journal.entry_page(key, 0, ROWS).unwrap();
        let found = |number: u64| entries.iter().find(|entry| entry.row == number);
        for (expected, number) in model.rows.iter().zip(1..) {
            let entry = found(number);
            assert_eq!(entry.map(|entry| entry.state), expected.state, "row {number}");
            let Some(entry) = entry else { continue };
            assert_eq!(
                (entry.attempts, entry.retried),
                (expected.attempts, expected.retried),
                "row {number}"
            );
            let sql = "SELECT reason FROM detail WHERE key = ?1";
            let reason = journal.conn.query_row(sql, [key.key(number)], |row| row.get::<_, String>(0)).ok();
            assert_eq!(reason.as_deref(), expected.reason.map(Reason::as_str), "row {number}");
        }
        let run = journal.run(key.id).unwrap().unwrap();
        assert_eq!(
            (run.attempts, run.throttled, run.cursor),
            (model.attempts, model.throttled, model.cursor)
        );
        let counts = run.counts;
        let counted = [counts.applied, counts.failed, counts.invalid, counts.in_doubt, counts.skipped];
        let states = [State::Applied, State::Failed, State::Invalid, State::InDoubt, State::Skipped];
        assert_eq!(counted, states.map(|state| model.count(state)));
    }
}

fn add(batch: &mut Batch, ask: Ask, intent: Intent) {
    match ask {
        Ask::Settle(end) => {
            let outcome = Permit::new(&intent).send().settle(end.ending(), Duration::from_millis(3));
            batch.outcomes.push(outcome);
        }
        Ask::GiveBack => batch.given_back.push(Permit::new(&intent)),
        Ask::SetAside => batch.set_aside.push(intent),
        Ask::Skip => batch.unsent.push((intent, Unsent::Skipped(note(Reason::Superseded)))),
        Ask::Fail => batch.unsent.push((intent, Unsent::Failed(note(Reason::Overlapped)))),
        Ask::Grant | Ask::GrantAgain => batch.wanted.push(intent),
    }
}

proptest! {
    // Each case is a file with commits that reach the disk; PROPTEST_CASES=8000 tries a thousand.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn rows_stand_as_the_diagram_says_after_whatever_is_done_to_them(
        steps in prop::collection::vec((0..2_usize, step()), 1..60)
    ) {
        let mut bench = Bench::new();
        for (run, step) in &steps {
            bench.apply(*run, step);
        }
    }
}
