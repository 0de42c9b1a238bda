//! Never overwrite newer data: whether a row that goes out of its turn may still be sent.
//!
//! Most rows go in their turn, and nothing is looked up for them. Three kinds do not: a failed row that is retried,
//! a row of a failures file that comes back, and any row of a run that goes on after a newer one of the same desk
//! has done something. For those the journal's later rows decide, field by field. Nothing here sends or writes.

use crate::error::Error;
use crate::journal::Journal;
use crate::journal::fingerprint::Fingerprint;
use crate::journal::later::{Later, LaterRows, Place};
use crate::journal::runs::{Run, RunKey};
use crate::journal::state::{Note, Reason, State, Unsent};
use crate::mapping::{Mapped, Origin};
use crate::todo::Turn;

/// Looks for later rows, and builds the journal's look-up only once it is needed.
#[derive(Debug)]
pub struct Newer {
    run: Run,
    /// Whether a newer run of the desk has done anything.
    is_overtaken: bool,
    built: Option<Built>,
}

#[derive(Debug)]
struct Built {
    from: (RunKey, u64),
    rows: LaterRows,
}

impl Newer {
    /// For the rows of one run.
    pub fn new(journal: &Journal, run: &Run) -> Result<Self, Error> {
        Ok(Self { run: run.clone(), is_overtaken: journal.has_newer(run)?, built: None })
    }

    /// Whether row `number` may be sent.
    pub fn turn(
        &mut self,
        journal: &Journal,
        number: u64,
        mapped: &Mapped,
        fingerprint: &Fingerprint,
        retried: bool,
    ) -> Result<Turn, Error> {
        if let Some(origin) = mapped.origin
            && let Some(turn) = self.come_back(journal, origin, mapped, fingerprint)?
        {
            return Ok(turn);
        }
        if !retried && !self.is_overtaken {
            return Ok(Turn::Send);
        }
        // Only a retried row can have later ones in its own run: all others keep the order of their file.
        let from = if retried { number } else { self.run.counts.rows };
        let later = self.later(journal, (self.run.key, from), number, None, mapped)?;
        Ok(turn(&later))
    }

    /// A row that was in another run before: what has become of it there, and what came after it. `None`: this
    /// journal does not know that run, or nothing speaks against sending.
    fn come_back(
        &mut self,
        journal: &Journal,
        origin: Origin,
        mapped: &Mapped,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Turn>, Error> {
        let Some(then) = journal
            .run(origin.run)?
            .filter(|then| then.desk == self.run.desk && then.key.id < self.run.key.id)
        else {
            return Ok(None);
        };
        let ticket = mapped.update.ticket();
        if let Some((state, same)) =
            journal.what_became(then.key, origin.row, &fingerprint.same_update(ticket))?
        {
            let place = Place { run: origin.run, row: origin.row };
            match state {
                State::InDoubt => return Ok(Some(Turn::Hold(place))),
                // The very same update has been settled there since, by `retry` or by a person's word.
                State::Applied | State::Skipped if same => return Ok(Some(turn(&Later::Superseded(place)))),
                // It is going to be sent there.
                State::Pending | State::Sending if same => return Ok(Some(Turn::Hold(place))),
                _ => {}
            }
        }
        let later = self.later(journal, (then.key, origin.row), origin.row, Some(self.run.key), mapped)?;
        Ok((later != Later::Nothing).then(|| turn(&later)))
    }

    fn later(
        &mut self,
        journal: &Journal,
        from: (RunKey, u64),
        row: u64,
        except: Option<RunKey>,
        mapped: &Mapped,
    ) -> Result<Later, Error> {
        let reaches = |built: &Built| (built.from.0.id, built.from.1) <= (from.0.id, from.1);
        if !self.built.as_ref().is_some_and(reaches) {
            let rows = journal.build_later(&self.run.desk, from)?;
            self.built = Some(Built { from, rows });
        }
        let Some(built) = &self.built else { return Ok(Later::Nothing) };
        journal.later_than(
            &built.rows,
            (from.0, row),
            except,
            mapped.update.ticket(),
            mapped.update.changes(),
        )
    }
}

fn turn(later: &Later) -> Turn {
    let note = |reason, what: &str, place: Place| Note {
        reason,
        message: format!("{what}: run {}, row {}", place.run, place.row),
        http_status: None,
    };
    match *later {
        Later::Nothing => Turn::Send,
        Later::Blocked(place) => Turn::Hold(place),
        Later::Superseded(place) => Turn::Settle(Unsent::Skipped(note(
            Reason::Superseded,
            "a later row has set all of its fields",
            place,
        ))),
        Later::Overlapped(place) => Turn::Settle(Unsent::Failed(note(
            Reason::Overlapped,
            "a later row has set some of its fields",
            place,
        ))),
    }
}
