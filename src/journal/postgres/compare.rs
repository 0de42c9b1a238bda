//! `--only-changed` on PostgreSQL: the database compares what the rows of a new input ask for with what it knows.
//!
//! What that means is told in [`crate::journal::unchanged`]; here it is one statement over a temporary table, in a
//! transaction of its own that changes nothing. Others may work meanwhile, and what they send would make the answer wrong.
//! So it comes with the number of permits that the account had been given before, and the transaction that opens the run
//! ends by asking, under the lock under which permits are given, whether that is still the number: no permit, no request.
//! Permits that come after it see the run, and leave alone what its unchanged rows ask for (`schema/turns.sql`).

use tokio_postgres::Row as DbRow;
use tokio_postgres::types::Type;

use super::session::{Copy, JSON_ON_ITS_WAY, Session, Transaction, json_on_its_way};
use super::worker::odd;
use super::{stage, to_i64};
use crate::error::Error;
use crate::input::{Seen, Survey};
use crate::journal::archive::ReadOnce;
use crate::journal::unchanged::{Compared, Unchanged};
use crate::mapping::Asks;

const COPY: &str = "COPY pg_temp.asked (number, ticket, asks) FROM STDIN (FORMAT binary)";
const COLUMNS: [Type; 3] = [Type::INT8, Type::INT8, JSON_ON_ITS_WAY];

/// As in `unchanged.rs`: rows without success that may have changed their ticket all the same.
pub(super) const MAY_HAVE_CHANGED: &str =
    "(attempts > (state <> 6)::integer OR reason IN ('resolved', 'overlapped'))";

/// The rows that ask for what their tickets have, as words of bits. Of each ticket what it was given comes first, in the
/// order of the files, then what is in doubt, which may arrive after all of that, then what the new input asks for.
const UNCHANGED: &str = "
    WITH row AS (
        SELECT ticket, (state IN (0, 5))::integer AS turn, run.id AS run, number,
            CASE WHEN state = 1 AND started_ms BETWEEN $2 AND $3 THEN asks ELSE deskload.unknown(asks) END AS asks
            FROM (SELECT id, started_ms FROM deskload.run WHERE account = $1) AS run
                JOIN deskload.rows ON rows.run = run.id
            WHERE asks IS NOT NULL AND (state IN (0, 1, 5) OR {may_have_changed})
                AND ticket IN (SELECT ticket FROM pg_temp.asked)
        UNION ALL SELECT ticket, 2, NULL, number, asks FROM pg_temp.asked
    ), learnt AS (
        SELECT turn, number, asks <@ deskload.known(asks, turn = 2)
                OVER (PARTITION BY ticket ORDER BY turn, run, number) AS is_unchanged
            FROM row
    )
    SELECT number / 64, bit_or(1::bigint << (number % 64)::integer)
        FROM learnt WHERE turn = 2 AND is_unchanged GROUP BY 1";

/// Reads a new input, and gives which of its rows need not be sent.
pub(super) fn first_pass(
    session: &mut Session,
    compared: &Compared<'_>,
    read: &mut ReadOnce<'_>,
) -> Result<(Survey, Unchanged), Error> {
    session.transaction(|tx| {
        let desk = compared.desk;
        let found = tx.query(
            "SELECT id, deskload.permits(id) FROM deskload.account WHERE url = $1 AND email = $2",
            &[(&desk.url, Type::TEXT), (&desk.account_email, Type::TEXT)],
        )?;
        let account: Option<(i64, i64)> = found.first().map(pair).transpose()?;
        tx.run("CREATE TEMP TABLE asked (number bigint, ticket bigint, asks jsonb) ON COMMIT DROP")?;
        let mut copy = tx.copy(COPY, &COLUMNS)?;
        let survey = read(&mut |seen| note(&mut copy, seen))?;
        copy.finish()?;
        let words = match account {
            None => Vec::new(),
            Some((account, _)) => {
                // Without it nobody knows whether these are three rows or a million.
                tx.run("ANALYZE pg_temp.asked")?;
                let sql = UNCHANGED.replace("{may_have_changed}", MAY_HAVE_CHANGED);
                let (from_ms, to_ms) = (compared.recent.from_ms, compared.recent.to_ms);
                let values: [super::session::Value<'_>; 3] =
                    [(&account, Type::INT8), (&from_ms, Type::INT8), (&to_ms, Type::INT8)];
                tx.query_long(&sql, &values, compared.look)?
            }
        };
        let words = words.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
        let words = words.into_iter().map(|(word, bits)| (word.cast_unsigned(), bits.cast_unsigned()));
        let permits = account.map_or(0, |(_, permits)| permits.cast_unsigned());
        Ok((survey, Unchanged::of(words, permits)))
    })
}

fn pair(row: &DbRow) -> Result<(i64, i64), Error> {
    row.try_get(0).and_then(|first| Ok((first, row.try_get(1)?))).map_err(|_| odd())
}

fn note(copy: &mut Copy<'_>, seen: Seen<'_>) -> Result<(), Error> {
    let Some(update) = seen.result.ok().and_then(Asks::update) else { return Ok(()) };
    let asks = json_on_its_way(&stage::asks(update.changes()));
    copy.write(&[&to_i64(seen.row.number()), &update.ticket().as_i64(), &asks])
}

/// Refuses what was compared before others were permitted to send; from now on nobody is until this transaction ends.
pub(super) fn require_still(tx: &Transaction<'_>, account: i64, unchanged: &Unchanged) -> Result<(), Error> {
    let permits = to_i64(unchanged.permits());
    let rows =
        tx.query("SELECT deskload.is_still($1, $2)", &[(&account, Type::INT8), (&permits, Type::INT8)])?;
    if rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(odd)? {
        return Ok(());
    }
    Err(Error::Overlap(
        "workers have sent for this account since its rows were compared; nothing was sent; give the same command \
         again when they have ended"
            .to_owned(),
    ))
}
