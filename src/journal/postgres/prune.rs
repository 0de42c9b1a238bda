//! Gives up the rows of old runs of a shared journal, by the rules of [`crate::journal::prune`].
//!
//! Nobody has the account for himself here: workers go on meanwhile, and a run that they work on stays. A run is marked
//! first, and from then on nothing makes its rows pending again. Its rows go in stretches of tickets, because all that
//! decides about a row is what others have done to its ticket; each stretch is a statement, and so a transaction.
//! **If the way to the database breaks**, what is done stays done, which is told, and the same command goes on: what a
//! stretch leaves is what the next look at it would leave.

use tokio_postgres::types::Type;

use super::session::Value;
use super::setup::get;
use super::shared::Shared;
use super::worker::odd;
use crate::error::Error;
use crate::journal::prune::{Prune, Pruned};
use crate::text::{counted, rows};

/// Tickets of the first stretch; the database widens and narrows them by what it finds.
const SPAN_FIRST: i64 = 16_384;

/// Below any ticket.
const NO_TICKET: i64 = -1;

/// The runs that can send nothing any more, and those of them whose rows go.
#[derive(Default)]
struct Closed {
    all: Vec<i64>,
    goes: Vec<i64>,
}

impl Shared {
    /// As [`crate::journal::Journal::prune`], beside workers.
    pub(super) fn prune_beside_workers(
        &self,
        what: &Prune<'_>,
        look: &dyn Fn() -> Result<(), Error>,
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        match self.prune_in_steps(what, look, &mut pruned) {
            Ok(()) => Ok(pruned),
            Err(Error::Machine(why)) if !what.dry_run => Err(Error::Machine(format!(
                "{why}; {} and {} of {} were pruned by then, and the same command goes on",
                counted(pruned.runs.len() as u64, "run"),
                rows(pruned.rows),
                what.desk.account_email
            ))),
            Err(error) => Err(error),
        }
    }

    fn prune_in_steps(
        &self,
        what: &Prune<'_>,
        look: &dyn Fn() -> Result<(), Error>,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let closed = self.sort_out(what, look, pruned)?;
        if closed.goes.is_empty() {
            return Ok(());
        }
        let all: Value<'_> = (&closed.all, Type::INT8_ARRAY);
        let goes: Value<'_> = (&closed.goes, Type::INT8_ARRAY);
        let dry_run: Value<'_> = (&what.dry_run, Type::BOOL);
        let (mut above, mut span) = (Some(NO_TICKET), SPAN_FIRST);
        while let Some(from) = above {
            look()?;
            let found = self.query(
                "SELECT gone, above, span FROM deskload.prune_tickets($1, $2, $3, $4, $5)",
                &[all.clone(), goes.clone(), (&from, Type::INT8), (&span, Type::INT8), dry_run.clone()],
            )?;
            let row = found.first().ok_or_else(odd)?;
            pruned.rows += get::<i64>(row, 0)?.unsigned_abs();
            (above, span) = (get(row, 1)?, get(row, 2)?);
        }
        loop {
            look()?;
            let gone: Option<i64> =
                self.one("SELECT deskload.prune_invalid($1, $2)", &[goes.clone(), dry_run.clone()])?;
            let gone = gone.ok_or_else(odd)?.unsigned_abs();
            pruned.rows += gone;
            if gone == 0 || what.dry_run {
                return Ok(());
            }
        }
    }

    /// Which of a desk's runs go, and are marked, and which stay and why.
    fn sort_out(
        &self,
        what: &Prune<'_>,
        look: &dyn Fn() -> Result<(), Error>,
        pruned: &mut Pruned,
    ) -> Result<Closed, Error> {
        let runs = self.query(
            "SELECT r.id, deskload.stands(r, $3) FROM deskload.run r JOIN deskload.account ON account.id = r.account
                 WHERE url = $1 AND email = $2 ORDER BY r.id",
            &[
                (&what.desk.url, Type::TEXT),
                (&what.desk.account_email, Type::TEXT),
                (&what.before_ms, Type::INT8),
            ],
        )?;
        let mut closed = Closed::default();
        for row in &runs {
            let (id, stands): (i64, &str) = (get(row, 0)?, get(row, 1)?);
            match stands {
                "unfinished" => pruned.kept.unfinished += 1,
                "in_doubt" => pruned.kept.in_doubt += 1,
                "retryable" => pruned.kept.recent += 1,
                "recent" => {
                    pruned.kept.recent += 1;
                    closed.all.push(id);
                }
                "pruned" => {
                    closed.all.push(id);
                    closed.goes.push(id);
                }
                "old" => {
                    look()?;
                    if !what.dry_run && !self.give_up(id, what)? {
                        // Somebody has begun to work on it since.
                        pruned.kept.recent += 1;
                        continue;
                    }
                    pruned.runs.push(id.unsigned_abs());
                    closed.all.push(id);
                    closed.goes.push(id);
                }
                _ => return Err(odd()),
            }
        }
        Ok(closed)
    }

    fn give_up(&self, run: i64, what: &Prune<'_>) -> Result<bool, Error> {
        let given_up = self.one(
            "SELECT deskload.give_up($1, $2, $3)",
            &[(&run, Type::INT8), (&what.before_ms, Type::INT8), (&what.now_ms, Type::INT8)],
        )?;
        given_up.ok_or_else(odd)
    }
}
