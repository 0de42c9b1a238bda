//! Where files are: the state folder, the journal, the reports.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{env, fmt};

use crate::error::Error;
use crate::journal::postgres::Place;
use crate::journal::postgres::place::password_of;

/// Where journals and account files are.
pub fn state_folder() -> Result<PathBuf, Error> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd makes this one for the service, which often may write nowhere else.
    if let Some(folder) = systemd_state() {
        return Ok(folder);
    }
    set("XDG_STATE_HOME")
        .or_else(|| env::home_dir().map(|home| home.join(".local/state")))
        .map(|folder| folder.join("deskload"))
        .ok_or_else(|| {
            Error::Usage("there is no home folder to keep the journal in; set XDG_STATE_HOME".to_owned())
        })
}

/// The journal's file that was named, or the usual one.
fn journal_path(typed: Option<&Path>) -> Result<PathBuf, Error> {
    match typed {
        Some(path) => Ok(path.to_owned()),
        None => Ok(state_folder()?.join("journal.sqlite3")),
    }
}

/// Which journal.
#[derive(Clone, Debug)]
pub enum JournalPlace {
    /// A file of this machine.
    File(PathBuf),
    /// A database that several machines share.
    Database(Box<Place>),
}

impl fmt::Display for JournalPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Database(place) => place.fmt(f),
        }
    }
}

/// The journal that was named, or the usual one.
pub fn journal_place(typed: Option<&Path>) -> Result<JournalPlace, Error> {
    match typed.and_then(Path::to_str).filter(|typed| Place::is_meant(typed)) {
        Some(url) => database(url).map(Box::new).map(JournalPlace::Database),
        None => journal_path(typed).map(JournalPlace::File),
    }
}

/// A database by its URL; user and password may stand where PostgreSQL's own programs look for them, too.
fn database(url: &str) -> Result<Place, Error> {
    let place = Place::parse(url).map_err(|why| Error::Usage(format!("--journal {why}")))?;
    let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let file = env::var_os("PGPASSFILE")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".pgpass")))
        .filter(|path| path.exists());
    let passwords = match &file {
        Some(path) => {
            if std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0) {
                let path = path.display();
                return Err(Error::Usage(format!(
                    "others can read the password file {path}; run chmod 600 {path}"
                )));
            }
            std::fs::read_to_string(path)
                .map_err(|error| Error::file("read the password file", path, &error))?
        }
        None => String::new(),
    };
    Ok(place.with_credentials(text("PGUSER").as_deref(), |place| {
        text("PGPASSWORD").or_else(|| password_of(&passwords, place))
    }))
}

/// The report folder that was named, or the usual one.
#[must_use]
pub fn report_dir(typed: Option<&Path>) -> PathBuf {
    match (typed, systemd_state()) {
        (Some(path), _) => path.to_owned(),
        (None, Some(state)) => state.join("reports"),
        (None, None) => PathBuf::from("deskload-reports"),
    }
}

/// The first of the folders that systemd made for the service; it separates several by colons.
fn systemd_state() -> Option<PathBuf> {
    let folders = env::var_os("STATE_DIRECTORY")?;
    env::split_paths(&folders).next().filter(|folder| !folder.as_os_str().is_empty())
}
