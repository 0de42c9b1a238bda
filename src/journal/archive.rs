//! What commands and reports ask of a journal, whichever engine keeps it.
//!
//! Two things stand behind it: [`Journal`], a file of this machine, and [`super::postgres::Shared`], a database of
//! several. What the pipeline asks of them is [`super::writer::Commits`].

use std::path::Path;

use super::Journal;
use super::account::AccountLock;
use super::changed::{Changed, SettledOtherwise};
use super::invocations::{End, Invocation};
use super::minutes::Minute;
use super::prune::{Prune, Pruned};
use super::reader::Told;
use super::runs::{DeskId, NewRun, Run, RunKey};
use super::settle::{Resolved, Word};
use super::state::State;
use super::unchanged::{Asked, Compared, Unchanged};
use crate::error::Error;
use crate::input::spool::Taken;
use crate::input::{Header, Record, Seen, Survey};
use crate::spooled::{self, Spooled};

/// Told of each row of an input as it is read; its error ends the reading.
pub type OnRow<'a> = dyn FnMut(Seen<'_>) -> Result<(), Error> + 'a;

/// Reads all rows of an input, once.
pub type ReadOnce<'a> = dyn FnMut(&mut OnRow<'_>) -> Result<Survey, Error> + 'a;

/// A journal's runs and rows. What each method gives is said at the method of [`Journal`] of the same name.
#[expect(missing_docs, reason = "each is one of the journal's own, and told there")]
pub trait Archive {
    /// Where it is, without a password.
    fn name(&self) -> String;
    fn uuid(&self) -> &str;
    fn runs(&self) -> Result<Vec<Run>, Error>;
    fn run(&self, id: u64) -> Result<Option<Run>, Error>;
    fn runs_of_input(&self, desk: &DeskId, sha256: &str) -> Result<Vec<Run>, Error>;
    fn knows_input_of(&self, bytes: u64) -> Result<bool, Error>;
    /// Refuses while others work for this account ([`Error::Overlap`]).
    fn require_alone(&self, desk: &DeskId) -> Result<(), Error>;
    /// Has a new input read for the first time, and keeps what [`Self::begin_run`] is going to need of it. Gives also
    /// which rows need not be sent, where they are to be compared.
    fn first_pass(
        &mut self,
        compared: Option<&Compared<'_>>,
        read: &mut ReadOnce<'_>,
    ) -> Result<(Survey, Option<Unchanged>), Error>;
    /// Makes a run of the input that was read last, in one transaction. `newest` is the last run of this input that was
    /// known when that was decided; [`Error::Overlap`] if somebody else has opened one since.
    fn begin_run(&mut self, new: &NewRun<'_>, taken: Taken, newest: Option<u64>) -> Result<Run, Error>;
    /// Whether the rows of a run are lost, and the same input taken in again would bring them back.
    fn wants_its_input(&self, run: &Run) -> bool;
    /// Takes an input in again, for the run that it was taken in for before.
    fn take_back(&mut self, run: &Run, taken: Taken) -> Result<(), Error>;
    fn desk_changed_since(&self, run: &Run) -> Result<bool, Error>;
    fn older_unfinished(&self, run: &Run) -> Result<Option<u64>, Error>;
    fn last_success(&self, desk: &DeskId) -> Result<Option<i64>, Error>;
    fn told_page(&self, run: RunKey, states: &[State], after: u64, rows: u64) -> Result<Vec<Told>, Error>;
    /// The rows of a run as they came; `None` if none of them is kept any more.
    fn kept(&self, run: &Run) -> Result<Option<Box<dyn KeptRows + '_>>, Error>;
    fn recover(&mut self, desk: &DeskId) -> Result<u64, Error>;
    fn resolve(&mut self, run: &Run, word: Word, rows: Option<&[(u64, u64)]>) -> Result<Resolved, Error>;
    fn retry(&mut self, run: &Run) -> Result<u64, Error>;
    fn prune(&mut self, what: &Prune<'_>, look: &dyn Fn() -> Result<(), Error>) -> Result<Pruned, Error>;
    fn end_invocation(&mut self, run: RunKey, end: &End<'_>) -> Result<(), Error>;
    fn each_invocation(&self, run: RunKey, take: &mut dyn FnMut(Invocation)) -> Result<(), Error>;
    fn each_minute(&self, run: RunKey, take: &mut dyn FnMut(Minute)) -> Result<(), Error>;
    fn changed(&self, run: &Run) -> Result<Changed, Error>;
    fn settled_otherwise(&self, run: &Run) -> Result<SettledOtherwise, Error>;
    /// Whether somebody is at work for the run's account.
    fn is_worked_on(&self, state_folder: &Path, run: &Run) -> Result<bool, Error>;
    /// Ends the use of it, when nothing has failed.
    fn close(self: Box<Self>) -> Result<(), Error>;
    /// Gives up the rows that no report tells of, once nothing is pending: they are personal data.
    fn cut_down(&mut self, run: &Run) -> Result<(), Error>;
}

/// A run's rows as they came.
pub trait KeptRows {
    /// The columns; `None` for JSONL.
    fn header(&self) -> Option<&Header>;
    /// The row with this number. Rows in order cost one reading.
    fn at(&mut self, number: u64) -> Result<&Record, Error>;
}

impl Archive for Journal {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn uuid(&self) -> &str {
        self.uuid()
    }

    fn runs(&self) -> Result<Vec<Run>, Error> {
        self.runs()
    }

    fn run(&self, id: u64) -> Result<Option<Run>, Error> {
        self.run(id)
    }

    fn runs_of_input(&self, desk: &DeskId, sha256: &str) -> Result<Vec<Run>, Error> {
        self.runs_of_input(desk, sha256)
    }

    fn knows_input_of(&self, bytes: u64) -> Result<bool, Error> {
        self.knows_input_of(bytes)
    }

    /// Whoever may send holds the account.
    fn require_alone(&self, _desk: &DeskId) -> Result<(), Error> {
        Ok(())
    }

    fn first_pass(
        &mut self,
        compared: Option<&Compared<'_>>,
        read: &mut ReadOnce<'_>,
    ) -> Result<(Survey, Option<Unchanged>), Error> {
        self.begin_first_pass()?;
        let mut asked = compared.map(|_| self.begin_comparing()).transpose()?;
        let survey = read(&mut |seen| {
            if let Some(asked) = &mut asked {
                self.note_asked(asked, seen)?;
            }
            self.note(seen)
        })?;
        let compare = |(asked, compared): (Asked, &Compared<'_>)| {
            self.unchanged(&asked, compared.desk, survey.rows, compared.recent, compared.look)
        };
        let unchanged = asked.zip(compared).map(compare).transpose()?;
        Ok((survey, unchanged))
    }

    /// The spool first: a run without its rows could not go on, rows without a run are swept up. Whoever decides holds the
    /// account, so that nobody else opens one.
    fn begin_run(&mut self, new: &NewRun<'_>, taken: Taken, _newest: Option<u64>) -> Result<Run, Error> {
        taken.sync()?;
        let folder = self.spool_folder();
        self.open_run(new, |name| spooled::keep(&folder, taken.file, name))
    }

    fn wants_its_input(&self, run: &Run) -> bool {
        spooled::wants_its_input(self, run)
    }

    /// The bytes are those that the run was opened with, so its marks fit.
    fn take_back(&mut self, run: &Run, taken: Taken) -> Result<(), Error> {
        taken.sync()?;
        spooled::keep(&self.spool_folder(), taken.file, &Run::spool_name(run.key.id))
    }

    fn desk_changed_since(&self, run: &Run) -> Result<bool, Error> {
        self.desk_changed_since(run)
    }

    fn older_unfinished(&self, run: &Run) -> Result<Option<u64>, Error> {
        self.older_unfinished(run)
    }

    fn last_success(&self, desk: &DeskId) -> Result<Option<i64>, Error> {
        self.last_success(desk)
    }

    fn told_page(&self, run: RunKey, states: &[State], after: u64, rows: u64) -> Result<Vec<Told>, Error> {
        self.told_page(run, states, after, rows)
    }

    fn kept(&self, run: &Run) -> Result<Option<Box<dyn KeptRows + '_>>, Error> {
        let spooled = Spooled::open(self, run)?;
        Ok(spooled.map(|spooled| Box::new(InSpool { journal: self, spooled }) as Box<dyn KeptRows>))
    }

    fn recover(&mut self, desk: &DeskId) -> Result<u64, Error> {
        self.recover(desk)
    }

    fn resolve(&mut self, run: &Run, word: Word, rows: Option<&[(u64, u64)]>) -> Result<Resolved, Error> {
        self.resolve(run, word, rows)
    }

    fn retry(&mut self, run: &Run) -> Result<u64, Error> {
        self.retry(run)
    }

    fn prune(&mut self, what: &Prune<'_>, look: &dyn Fn() -> Result<(), Error>) -> Result<Pruned, Error> {
        self.prune(what, look)
    }

    fn end_invocation(&mut self, run: RunKey, end: &End<'_>) -> Result<(), Error> {
        self.end_invocation(run, end)
    }

    fn each_invocation(&self, run: RunKey, take: &mut dyn FnMut(Invocation)) -> Result<(), Error> {
        self.each_invocation(run, take)
    }

    fn each_minute(&self, run: RunKey, take: &mut dyn FnMut(Minute)) -> Result<(), Error> {
        self.each_minute(run, take)
    }

    fn changed(&self, run: &Run) -> Result<Changed, Error> {
        self.changed(run)
    }

    fn settled_otherwise(&self, run: &Run) -> Result<SettledOtherwise, Error> {
        self.settled_otherwise(run)
    }

    fn is_worked_on(&self, state_folder: &Path, run: &Run) -> Result<bool, Error> {
        Ok(AccountLock::is_held(state_folder, &run.desk))
    }

    fn close(self: Box<Self>) -> Result<(), Error> {
        Self::close(*self)
    }

    fn cut_down(&mut self, run: &Run) -> Result<(), Error> {
        spooled::cut_down(self, run)
    }
}

/// Rows in the spool beside a journal's file.
struct InSpool<'a> {
    journal: &'a Journal,
    spooled: Spooled,
}

impl KeptRows for InSpool<'_> {
    fn header(&self) -> Option<&Header> {
        self.spooled.header()
    }

    fn at(&mut self, number: u64) -> Result<&Record, Error> {
        self.spooled.at(self.journal, number)
    }
}
