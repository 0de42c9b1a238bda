//! Where files are: the state folder, the journal, the reports.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::Error;

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

/// The journal that was named, or the usual one.
pub fn journal_path(typed: Option<&Path>) -> Result<PathBuf, Error> {
    match typed {
        Some(path) => Ok(path.to_owned()),
        None => Ok(state_folder()?.join("journal.sqlite3")),
    }
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
