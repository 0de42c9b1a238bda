//! `deskload journal init|check`: a journal on PostgreSQL, made and judged.

use crate::cli::{JournalCheckArgs, JournalInitArgs};
use crate::commands::print;
use crate::error::Error;
use crate::journal::postgres::{Place, setup};
use crate::settings::{JournalPlace, journal_place};
use crate::text::clean;

/// Makes the schema.
pub fn init(args: &JournalInitArgs) -> Result<(), Error> {
    let place = database(journal_place(args.journal.journal.as_deref())?)?;
    let done = if setup::init(&place)? { "made" } else { "there already" };
    print(&format!("{place}: the journal is {done}; deskload journal check looks at its database\n"));
    Ok(())
}

/// Looks whether the database can be trusted.
pub fn check(args: &JournalCheckArgs) -> Result<(), Error> {
    let place = database(journal_place(args.journal.journal.as_deref())?)?;
    let found = setup::check(&place, args.confirm)?;
    print(&format!("{place}: commits are on disk before they are acknowledged\n"));
    let standbys = clean(&found.standbys.join(", "));
    let standing = match (found.standbys.is_empty(), found.waits_for_standby) {
        (_, true) => "a commit waits for a standby: one that is promoted has forgotten nothing",
        (true, false) => {
            "one server and no standby that is connected: if its disk is lost, so is what was sent; is that what you want?"
        }
        (false, false) => {
            "the standbys do not make commits wait: one that is promoted may have forgotten what was sent last; is that \
             what you want? (synchronous_standby_names)"
        }
    };
    let named = if standbys.is_empty() { String::new() } else { format!(" ({standbys})") };
    print(&format!("{standing}{named}\n"));
    if found.is_changed {
        return Err(Error::Machine(format!(
            "the journal {place} is not where it was: a standby that was promoted, or a backup or a copy that was put in \
             its place, may have forgotten what was sent last; nothing is sent until you have confirmed that it has \
             forgotten nothing: deskload journal check --confirm"
        )));
    }
    Ok(())
}

fn database(place: JournalPlace) -> Result<Place, Error> {
    match place {
        JournalPlace::Database(place) => Ok(*place),
        JournalPlace::File(_) => Err(Error::Usage(
            "journal needs --journal postgres://USER@HOST/DATABASE, or DESKLOAD_JOURNAL; a journal in a file needs nothing"
                .to_owned(),
        )),
    }
}
