//! `deskload` itself, as a person would start it, with a home of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use crate::Result;
use crate::machine::{self, Spent, cpu_of_children};
use crate::rows::{ACCOUNT_EMAIL, TOKEN};

/// As many requests under way at once.
pub(crate) const CONCURRENCY: usize = 64;

/// Where one deskload keeps what it knows.
pub(crate) struct Home {
    folder: PathBuf,
}

impl Home {
    /// Makes the folder.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    /// The journal's path.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join("journal.sqlite3")
    }

    /// What it has on disk under the journal's name, the spools among it.
    pub(crate) fn size_of(&self, ending: &str) -> u64 {
        let path = self.folder.join(format!("journal.sqlite3{ending}"));
        std::fs::metadata(path).map_or(0, |found| found.len())
    }

    /// A command that sends, with its file or run.
    pub(crate) fn send(&self, url: &str, words: &[&str], of: Option<&Path>) -> Result<(ExitStatus, Spent)> {
        let mut command = self.command(words.iter().copied());
        command.args(of).args(["--url", url, "--account-email", ACCOUNT_EMAIL]);
        command.args(["--concurrency", &CONCURRENCY.to_string(), "--progress", "none"]);
        command.arg("--report-dir").arg(self.folder.join("reports"));
        self.run(command)
    }

    /// A command that reads.
    pub(crate) fn read(&self, words: &[&str], of: Option<&Path>) -> Result<(ExitStatus, Spent)> {
        let mut command = self.command(words.iter().copied());
        command.args(of);
        self.run(command)
    }

    /// An error unless the exit code is one of these; it has what the program said.
    pub(crate) fn require(&self, status: ExitStatus, codes: &[i32], what: &str) -> Result<()> {
        match status.code() {
            Some(code) if codes.contains(&code) => Ok(()),
            _ => {
                let said = std::fs::read_to_string(self.said()).unwrap_or_default();
                Err(format!("{what} ended with {status}:\n{said}").into())
            }
        }
    }

    fn said(&self) -> PathBuf {
        self.folder.join("said.txt")
    }

    fn run(&self, mut command: Command) -> Result<(ExitStatus, Spent)> {
        command.stderr(File::create(self.said())?);
        let (before, began) = (cpu_of_children()?, Instant::now());
        machine::wait(command.spawn()?, began, before)
    }

    fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskload"));
        command.args(words.into_iter().map(OsStr::new)).arg("-q");
        command.current_dir(&self.folder);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("DESKLOAD_")) {
                command.env_remove(name);
            }
        }
        command.env("DESKLOAD_TOKEN", TOKEN).env("DESKLOAD_JOURNAL", self.journal());
        for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME", "HOME"] {
            command.env(name, &self.folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}
