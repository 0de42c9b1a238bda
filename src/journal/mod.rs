//! The journal: the SQLite file that holds runs and rows. It is the truth; everything printed is derived.
//!
//! - [`state`]: how a row stands, and the tokens (`Permit`, `Sent`, `Outcome`) that lead from state to state
//! - [`transitions`]: the one transaction that takes rows from state to state while sending
//! - [`runs`]: what a run is, and finding them
//! - `opening`: how a new one comes in
//! - [`spent`]: what is left of the account's budget
//! - [`spools`]: which spool a run names, and where its rows begin
//! - [`mod@prune`]: gives up the rows of old runs, but for those that later runs are compared with
//! - [`changed`]: what a run has changed, by field
//! - [`minutes`]: the samples that the report draws
//! - [`invocations`]: the processes that worked on a run
//! - [`settle`]: what a person's word and a restart do to rows
//! - [`twins`]: what waits for a row in doubt elsewhere, once a person says that the desk has it
//! - [`unchanged`]: which rows of a new input need not be sent
//! - [`reader`]: what is left to send, what to report
//! - [`fingerprint`]: what is remembered of an update once its row is gone
//! - [`schema`]: tables and migrations
//! - [`archive`]: what commands and reports ask of a journal, this one or
//! - [`postgres`]: the journal that several machines share
//! - [`account`]: one process for one account, whatever the journal
//! - [`writer`]: the thread that commits
//!
//! ```text
//!                  grant                 answer proven not applied, permit given back
//!   (no entry) ───────────▶ sending ◀───────────────────────────────────────▶ pending ◀─┐
//!       │                    │ │ │             grant                           ▲  ▲     │
//!       │   reply believed   │ │ └──▶ in doubt ──────── resolve --resend ──────┘  │     │
//!       │       ┌────────────┘ │       │  ▲ the process died while sending        │     │
//!       │       ▼              ▼       │  └── (recovery, account held)            │     │
//!       │    applied         failed ───┼──────────── retry ───────────────────────┘     │
//!       │       ▲                      │                                                │
//!       │       └── resolve --applied ─┴── resolve --skip ──▶ skipped                   │
//!       ├── first pass ──▶ invalid, skipped (unchanged)                                 │
//!       └── set aside: waits behind a row in doubt, or rests ───────────────────────────┘
//!                      (pending ── resolve --applied of the same update elsewhere ──▶ skipped)
//! ```
//!
//! **Order of writing.** An intent is committed before its request leaves (WAL, `synchronous=FULL`), an outcome
//! after the reply was read. A row found `sending` by a process that holds the account was cut off between the
//! two, and is in doubt.
//! **Locking.** SQLite's own locks keep writers apart; that one account is worked on by one process is the
//! account file's business. Never open and close the journal file otherwise while it is in use: closing any
//! descriptor of it drops all of this process's POSIX locks.
//! **Failure.** Every error here is [`Error::Machine`]: nothing more is sent. A failed commit is never retried.
//! **Size.** About 20 bytes a settled row; see `src/README.md` for figures.

pub mod account;
pub mod archive;
pub mod changed;
pub mod fingerprint;
pub mod invocations;
pub mod later;
pub mod minutes;
mod opening;
pub mod postgres;
#[cfg(test)]
mod properties;
pub mod prune;
pub mod reader;
pub mod runs;
pub mod schema;
pub mod settle;
pub mod spent;
pub mod spools;
pub mod state;
#[cfg(test)]
pub(crate) mod tests;
pub mod transitions;
pub mod twins;
pub mod unchanged;
pub mod writer;

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::folders;
use schema::Standing;

/// How long to wait for another account's process that commits to the same file.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    conn: Connection,
    path: PathBuf,
    uuid: String,
    /// The invocation that this connection has begun, of the run that it works on.
    invocation: Option<u64>,
}

impl Journal {
    /// Opens the journal, creating it with mode 0600 if it is not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        folders::require_place(folders::parent(path), "--journal")?;
        folders::make(folders::parent(path))?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_new) => folders::sync(folders::parent(path))?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::file("create the journal", path, &error)),
        }
        Self::open_existing(path)
    }

    /// Opens the journal only if it is there: for the commands that read.
    pub fn open_if_there(path: &Path) -> Result<Option<Self>, Error> {
        match fs::symlink_metadata(path) {
            Ok(_) => Self::open_existing(path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read the journal", path, &error)),
        }
    }

    fn open_existing(path: &Path) -> Result<Self, Error> {
        require_file(path)?;
        let failed = |error: rusqlite::Error| explain(path, "open", &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(path, flags).map_err(failed)?;
        conn.busy_timeout(BUSY_MAX).map_err(failed)?;
        tidies_up(&conn, false).map_err(failed)?;
        match schema::standing(&conn).map_err(failed)? {
            Standing::New | Standing::Known => {}
            Standing::Newer(version) => {
                return Err(Error::Machine(format!(
                    "the journal {} is of a newer deskload (schema {version}, this one knows {}); use that version",
                    path.display(),
                    schema::VERSION
                )));
            }
            Standing::Foreign => {
                return Err(Error::Machine(format!(
                    "{} is a database, but not a journal of deskload; name another file with --journal",
                    path.display()
                )));
            }
        }
        // Only now is it known to be a journal, and not somebody's file that was named by mistake.
        make_private(path)?;
        if !use_wal(&conn).map_err(failed)? {
            return Err(Error::Machine(format!(
                "the file system of the journal {} does not allow a write-ahead log, as some network file systems \
                 do not; name a journal on a local disk with --journal",
                path.display()
            )));
        }
        // FULL: a commit has reached the disk before its request leaves. This is the promise.
        conn.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        conn.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        schema::migrate(&mut conn, &uuid::Uuid::new_v4().to_string()).map_err(failed)?;
        let uuid = conn.query_row("SELECT uuid FROM journal", [], |row| row.get(0)).map_err(failed)?;
        Ok(Self { conn, path: path.to_owned(), uuid, invocation: None })
    }

    /// A second connection, for reading beside the one that writes.
    pub fn open_again(&self) -> Result<Self, Error> {
        Self::open_existing(&self.path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its identity, which a copy shares and a new file does not.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The folder of the spools, beside the journal.
    #[must_use]
    pub fn spool_folder(&self) -> PathBuf {
        spool_folder(&self.path)
    }

    /// Closes it with a last checkpoint, so that the next start finds one clean file. One that is dropped instead
    /// leaves the disk as it is: after a commit has failed, whatever is written on top of it may be written on sand.
    pub fn close(self) -> Result<(), Error> {
        let path = self.path;
        tidies_up(&self.conn, true).map_err(|error| explain(&path, "close", &error))?;
        self.conn.close().map_err(|(_, error)| explain(&path, "close", &error))
    }

    /// What SQLite said, as a sentence with the path in it.
    fn explain(&self, what: &str) -> impl Fn(rusqlite::Error) -> Error + use<> {
        let path = self.path.clone();
        let what = what.to_owned();
        move |error| explain(&path, &what, &error)
    }
}

/// The folder of the spools of the journal at `journal`.
#[must_use]
pub fn spool_folder(journal: &Path) -> PathBuf {
    let mut name = journal.file_name().unwrap_or_default().to_owned();
    name.push(".spool");
    journal.with_file_name(name)
}

/// The files that the journal at `journal` consists of; its companions come and go.
fn files(journal: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|ending| {
        let mut name = OsString::from(journal);
        name.push(ending);
        name.into()
    })
}

/// A link could lead the journal, and the rows' data with it, to a place that others can read. Looks without
/// changing anything: what was named may be no journal at all.
fn require_file(path: &Path) -> Result<(), Error> {
    let kind = fs::symlink_metadata(path)
        .map_err(|error| Error::file("read the journal", path, &error))?
        .file_type();
    if kind.is_symlink() {
        return Err(Error::Machine(format!(
            "the journal {} is a symbolic link, which could lead it astray; name the file itself with --journal",
            path.display()
        )));
    }
    if !kind.is_file() {
        return Err(Error::Usage(format!(
            "{} is no file, so it cannot be a journal; name a file with --journal",
            path.display()
        )));
    }
    Ok(())
}

/// An older umask, or a person, may have left it readable to others. Companion files take their mode from it, but
/// those that a killed process left have their own.
fn make_private(path: &Path) -> Result<(), Error> {
    for name in files(path) {
        match fs::set_permissions(&name, fs::Permissions::from_mode(0o600)) {
            Err(error) if name == path || error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("set the mode of the journal", &name, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether closing the last connection copies the write-ahead log into the file.
fn tidies_up(conn: &Connection, does: bool) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !does).map(|_now| ())
}

/// Whether the write-ahead log is in use now. Where it cannot be, SQLite says no error but another mode.
fn use_wal(conn: &Connection) -> rusqlite::Result<bool> {
    let mut change = conn.prepare("PRAGMA journal_mode = WAL")?;
    let mut answer = change.query([])?;
    let mut mode = String::new();
    // To its end: the change is committed, or fails, after its answer.
    while let Some(row) = answer.next()? {
        mode = row.get(0)?;
    }
    Ok(mode.eq_ignore_ascii_case("wal"))
}

fn explain(path: &Path, what: &str, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; make room, then give the same command again",
        Some(ErrorCode::ReadOnly) => "it cannot be written; check the file system and the file's mode",
        Some(ErrorCode::NotADatabase) => {
            "it is no journal, or so damaged that it cannot be told for one, and has been left as it is; name another \
             with --journal, or restore a copy"
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            "the file is damaged, and has been left as it is; put a copy of it aside, then restore one or name another with --journal"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds it; try again when that one has ended"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "the disk reported an error; look at the system's log before going on"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "check who owns the file and its folder, and their modes, or name another with --journal"
        }
        _ => "give the same command again; if it stays, report this message",
    };
    // What SQLite said, without the numbers and names of its own.
    let said = match error {
        rusqlite::Error::SqliteFailure(_, Some(said)) => said.clone(),
        other => other.to_string(),
    };
    Error::Machine(format!("failed to {what} the journal {}: {said} ({hint})", path.display()))
}
