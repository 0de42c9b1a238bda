//! `deskload work`: joins in with the run that another machine has begun in a shared journal.
//!
//! It needs no file. Without `--once` it waits for the next run when one is through, until a signal comes; trouble with
//! rows is in the journal and ends nothing, trouble with the machine, the credentials or the desk does.

use std::time::{Duration, Instant};

use crate::cli::WorkArgs;
use crate::commands::{shared, watched};
use crate::config::Profile;
use crate::error::Error;
use crate::journal::postgres::Place;
use crate::settings::{JournalPlace, Known, SendSettings};
use crate::shutdown::Shutdown;
use crate::voice::say;

/// Between two looks for something to do, and between two looks at the signals.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LISTEN_EVERY: Duration = Duration::from_millis(50);

/// Rows that the desk kept refusing are not tried again at once.
const REST: Duration = Duration::from_secs(30);

/// Runs it.
pub fn run(args: &WorkArgs, profile: &Profile) -> Result<(), Error> {
    let settings = SendSettings::resolve(&args.send, Known(None), profile)?;
    super::speak(&settings.output)?;
    let JournalPlace::Database(place) = &settings.output.journal else {
        return Err(Error::Usage(
            "work needs a journal that machines share: --journal postgres://USER@HOST/DATABASE, or DESKLOAD_JOURNAL; \
             with a journal of this machine, deskload run or deskload resume does the work"
                .to_owned(),
        ));
    };
    let on_finish = settings.output.on_finish.as_deref();
    watched::on_finish(on_finish, work(place, args.once, &settings))
}

fn work(place: &Place, once: bool, settings: &SendSettings) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    // Nothing is half taken in here: a signal while it waits is heard by the loop.
    shutdown.begin_sending();
    loop {
        settings.terms.bounds.check(jiff::Timestamp::now())?;
        match shared::join_in(place, settings, &shutdown)? {
            None if once => {
                say("nothing is left to send");
                return Ok(());
            }
            None => wait(LOOK_EVERY, &shutdown)?,
            Some(end) if once => return end,
            Some(Ok(()) | Err(Error::Attention(_))) => {}
            Some(Err(Error::Early(why))) => {
                say(&why);
                wait(REST, &shutdown)?;
            }
            Some(end) => return end,
        }
    }
}

fn wait(time: Duration, shutdown: &Shutdown) -> Result<(), Error> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        shutdown.check()?;
        std::thread::sleep(LISTEN_EVERY);
    }
    Ok(())
}
