//! Which units are ours, and the rows in them: a thread that renews leases and hands out rows.
//!
//! It reads each unit once from its start, in file order, when it is leased; rows of a ticket so come in their order. Units
//! that were leased at different times take turns, the newest first: those of a worker that died do not wait for the end of
//! our own.
//! Towards the end, when all has been handed out, it looks now and then for rows that have become free again: a doubt
//! that was settled, a unit that a worker left. It ends the pipeline's rows once nobody has anything left to send.
//! It gives no permits: a row handed out that is not ours any more is refused by the database.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;
use tokio_postgres::Row as DbRow;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use super::session::{Failure, Session};
use super::worker::{odd, term_us};
use super::{Place, TERM, UNITS, to_i64};
use crate::error::Error;
use crate::input::{Header, Record};
use crate::journal::fingerprint::{FieldBits, Fingerprint};
use crate::journal::runs::Run;
use crate::mapping::Mapping;
use crate::todo::{InHand, Row, Source};

/// Rows read at a time.
const PAGE: i64 = 64;

/// Pages read ahead.
const PAGES: usize = 4;

/// A lease that ends has ended so long after.
const JUST_AFTER: Duration = Duration::from_millis(1);

/// Between two looks for rows that have become free.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Between two looks whether there is room for more rows, or somebody has asked to stop.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// The units that are ours, each with the number of its lease.
#[derive(Debug, Default)]
pub struct Leases(Mutex<[Option<i64>; UNITS as usize]>);

impl Leases {
    pub(super) fn epoch(&self, unit: u8) -> Option<i64> {
        let epochs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        epochs.get(usize::from(unit)).copied().flatten()
    }

    /// Gives the units that are ours anew.
    fn set(&self, held: &[(u8, i64)]) -> Vec<i16> {
        let mut epochs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = [None; UNITS as usize];
        let mut new = Vec::new();
        for (unit, epoch) in held {
            if let Some(place) = now.get_mut(usize::from(*unit)) {
                *place = Some(*epoch);
                if epochs.get(usize::from(*unit)).copied().flatten() != Some(*epoch) {
                    new.push(i16::from(*unit));
                }
            }
        }
        *epochs = now;
        new
    }
}

/// The thread at work.
#[derive(Debug)]
pub struct Keeper {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Ends the thread; its leases last until the worker leaves.
    pub fn end(self) {
        self.stop.cancel();
        // A panic there has ended the rows, which the pipeline has told of.
        let _ = self.thread.join();
    }
}

/// What the thread works with.
pub(super) struct Handing {
    pub(super) place: Place,
    pub(super) worker: i64,
    pub(super) leases: Arc<Leases>,
    pub(super) run: Run,
    pub(super) header: Option<Header>,
    pub(super) patience: Duration,
    pub(super) resends: bool,
}

impl Handing {
    /// Begins to renew leases and to hand out rows.
    pub(super) fn spawn(self) -> Result<(Source, Keeper), Error> {
        let (to, from) = mpsc::channel(PAGES);
        let (in_hand, stop) = (Arc::new(InHand::default()), CancellationToken::new());
        let mut hand = Hand {
            session: Session::new(&self.place)?,
            mapping: Mapping::resolve(&self.run.mapping, self.header.as_ref())?,
            bits: FieldBits::new(self.run.custom_fields.clone()),
            handed: Arc::clone(&in_hand),
            stop: stop.clone(),
            unread: VecDeque::new(),
            next_keep: Instant::now(),
            is_active: true,
            with: self,
            to,
        };
        let thread = std::thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || {
                if let Err(error) = hand.work() {
                    // Nobody listens any more once the pipeline has ended.
                    let _ = hand.to.blocking_send(Err(error));
                }
            })
            .map_err(|error| Error::Machine(format!("failed to start the leases' thread: {error}")))?;
        Ok((Source::Shared(from, in_hand), Keeper { stop, thread }))
    }
}

/// Units that were leased together and are read from their start.
struct Unread {
    units: Vec<i16>,
    after: i64,
}

struct Hand {
    session: Session,
    with: Handing,
    mapping: Mapping,
    bits: FieldBits,
    handed: Arc<InHand>,
    to: mpsc::Sender<Result<Vec<Row>, Error>>,
    stop: CancellationToken,
    unread: VecDeque<Unread>,
    next_keep: Instant,
    /// The run is the one that the account's workers work on.
    is_active: bool,
}

/// What a renewal gives.
#[derive(Deserialize)]
struct Kept {
    units: Vec<(u8, i64)>,
    run: Option<i64>,
    found: u64,
    /// Until the next lease of another ends.
    next_end_us: Option<u64>,
}

impl Hand {
    fn work(&mut self) -> Result<(), Error> {
        while !self.stop.is_cancelled() {
            self.keep()?;
            if !self.is_active && self.is_left()? {
                return Err(self.displaced());
            }
            if let Some(Unread { units, after }) = self.unread.pop_front() {
                let rows = self.page(&units, after, false)?;
                if let Some(last) = rows.last() {
                    self.unread.push_back(Unread { units, after: number(last)? });
                }
                self.hand_out(&rows)?;
            } else if self.is_left()? {
                let mine: Vec<i16> = (0..UNITS)
                    .filter(|unit| self.with.leases.epoch(*unit).is_some())
                    .map(i16::from)
                    .collect();
                let rows = self.page(&mine, 0, true)?;
                self.hand_out(&rows)?;
                self.pause(LOOK_EVERY)?;
            } else {
                // Nothing comes any more; what is under way still needs its leases.
                self.send(Vec::new())?;
                while !self.stop.is_cancelled() {
                    self.pause(LOOK_EVERY)?;
                }
            }
        }
        Ok(())
    }

    /// Renews the leases when it is time to.
    fn keep(&mut self) -> Result<(), Error> {
        if Instant::now() < self.next_keep {
            return Ok(());
        }
        let term = term_us();
        let sql = "SELECT deskload.keep($1, $2)::text";
        let worker = self.with.worker;
        let rows = self.query(sql, &[(&worker, Type::INT8), (&term, Type::INT8)])?;
        let text: Option<&str> = rows.first().and_then(|row| row.try_get(0).ok());
        let kept: Kept = text.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(odd)?;
        if kept.found > 0 {
            tracing::warn!("another worker was cut off with {} on the way: in doubt from now on", kept.found);
        }
        self.is_active = kept.run == Some(to_i64(self.with.run.key.id));
        let new = self.with.leases.set(&kept.units);
        if !new.is_empty() {
            tracing::debug!(units = ?new, "leased");
            self.unread.push_front(Unread { units: new, after: 0 });
        }
        // Of a worker that has died the units are taken over at once.
        let next_end = kept.next_end_us.map_or(TERM, |us| Duration::from_micros(us) + JUST_AFTER);
        self.next_keep = Instant::now() + next_end.min(TERM / 4);
        Ok(())
    }

    /// Waits, and renews leases meanwhile.
    fn pause(&mut self, wait: Duration) -> Result<(), Error> {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.stop.is_cancelled() {
            self.keep()?;
            std::thread::sleep(POLL_EVERY.min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Pending rows in these units, in their order: those that may go alone, or all of them, with those in doubt if a
    /// person said to send them again. One that has become doubtful since is handed out no more, nor is one that rests: a
    /// page of these would hide what comes behind them.
    fn page(&mut self, units: &[i16], after: i64, free: bool) -> Result<Vec<DbRow>, Error> {
        let which = match (free, self.with.resends) {
            (true, _) => "r.state = 2 AND deskload.waits(run.account, r) IS NULL",
            (false, true) => "r.state IN (2, 5)",
            (false, false) => "r.state = 2",
        };
        let sql = format!(
            "SELECT r.number, r.attempts, r.body, r.state = 5 FROM deskload.run JOIN deskload.rows r ON r.run = run.id
             WHERE run.id = $1 AND {which} AND r.number > $2 AND r.unit = ANY ($3) AND r.number <> ALL ($4)
             ORDER BY r.number LIMIT {PAGE}"
        );
        let (run, resting) = (to_i64(self.with.run.key.id), self.resting());
        self.query(
            &sql,
            &[
                (&run, Type::INT8),
                (&after, Type::INT8),
                (&units, Type::INT2_ARRAY),
                (&resting, Type::INT8_ARRAY),
            ],
        )
    }

    /// Leases keep other runs away, and these had run out. To go on would keep units from the run that has come instead.
    fn displaced(&self) -> Error {
        let id = self.with.run.key.id;
        Error::Early(format!(
            "the account's workers were put to work on another run while nothing was heard of those of run {id}; the \
             same command goes on with it once that one has ended"
        ))
    }

    fn resting(&self) -> Vec<i64> {
        self.handed.resting().into_iter().map(to_i64).collect()
    }

    fn is_left(&mut self) -> Result<bool, Error> {
        let run = to_i64(self.with.run.key.id);
        let resting = self.resting();
        let sql = "SELECT deskload.is_left($1, $2)";
        let rows = self.query(sql, &[(&run, Type::INT8), (&resting, Type::INT8_ARRAY)])?;
        rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(odd)
    }

    /// Asks the database, for as long as patience lasts.
    fn query(&mut self, sql: &str, values: &[super::session::Value<'_>]) -> Result<Vec<DbRow>, Error> {
        let since = Instant::now();
        loop {
            match self.session.query(sql, values) {
                Ok(rows) => return Ok(rows),
                Err(Failure::Conflict(_)) => {}
                Err(Failure::Lost(error)) => {
                    if since.elapsed() >= self.with.patience || self.stop.is_cancelled() {
                        return Err(error);
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(Failure::Final(error)) => return Err(error),
            }
        }
    }

    fn hand_out(&mut self, rows: &[DbRow]) -> Result<(), Error> {
        let mut new = Vec::with_capacity(rows.len());
        for row in rows {
            let number = number(row)?.cast_unsigned();
            if self.handed.take(number) {
                new.push(self.read(number, row)?);
            }
        }
        if new.is_empty() { Ok(()) } else { self.send(new) }
    }

    /// Waits for room, and renews leases meanwhile.
    fn send(&mut self, rows: Vec<Row>) -> Result<(), Error> {
        let mut rows = Ok(rows);
        while !self.stop.is_cancelled() {
            match self.to.try_send(rows) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => {
                    self.stop.cancel();
                    return Ok(());
                }
                Err(TrySendError::Full(back)) => rows = back,
            }
            self.pause(POLL_EVERY)?;
        }
        Ok(())
    }

    fn read(&self, number: u64, row: &DbRow) -> Result<Row, Error> {
        let attempts: i32 = row.try_get(1).map_err(|_| odd())?;
        let body: &str = row.try_get(2).map_err(|_| odd())?;
        let resend: bool = row.try_get(3).map_err(|_| odd())?;
        let record = super::stage::record(number, body, self.with.run.layout.format).ok_or_else(odd)?;
        self.row(&record, attempts.unsigned_abs(), resend)
    }

    fn row(&self, record: &Record, attempts: u32, resend: bool) -> Result<Row, Error> {
        let mapped = self.mapping.update_again(record)?;
        let fingerprint = Fingerprint::of(mapped.update.changes(), &self.bits).ok_or_else(odd)?;
        let row = Row::new(record.number(), record.bytes(), mapped.update, fingerprint);
        Ok(Row { attempts, has_entry: true, resend, ..row })
    }
}

fn number(row: &DbRow) -> Result<i64, Error> {
    row.try_get(0).map_err(|_| odd())
}
