//! What was named as the input: a file, a pipe, standard input.
//!
//! This opens and reads; what the bytes mean is [`crate::input`]'s business. A signal ends the reading.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, explained};
use crate::input::spool::{Nature, Taken};
use crate::settings::InputSettings;
use crate::shutdown::Shutdown;
use crate::spooled;

/// Where the bytes come from.
pub(super) enum Source {
    /// Standard input: it can be read once.
    Stdin,
    /// A regular file, with the path that names it whatever the current folder.
    File { path: PathBuf, bytes: u64 },
    /// A pipe or a device with a name: it can be read once, too.
    Stream(PathBuf),
}

impl Source {
    /// Looks what was named.
    pub(super) fn find(typed: &Path) -> Result<Self, Error> {
        if typed.as_os_str() == "-" {
            return Ok(Self::Stdin);
        }
        let wrong = |error: io::Error| unreadable(typed, &error);
        let metadata = std::fs::metadata(typed).map_err(wrong)?;
        if metadata.is_dir() {
            return Err(Error::Usage(format!(
                "the input {} is a folder; name a CSV, JSONL or .xlsx file",
                typed.display()
            )));
        }
        let path = std::path::absolute(typed).map_err(wrong)?;
        Ok(if metadata.is_file() { Self::File { path, bytes: metadata.len() } } else { Self::Stream(path) })
    }

    /// Its path, where it has one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdin => None,
            Self::File { path, .. } | Self::Stream(path) => Some(path),
        }
    }

    /// Copies it into `folder` as [`InputSettings::take`] does, where there is room for it.
    pub(super) fn take(
        &self,
        input: &InputSettings,
        folder: &Path,
        shutdown: &Shutdown,
    ) -> Result<Taken, Error> {
        if let Self::File { bytes, .. } = self {
            spooled::check_space(folder, *bytes)?;
        }
        input.take(&mut self.open(shutdown)?, self.path(), folder)
    }

    /// Its text, to be looked at and not to be kept: of a plain file the file itself, else a copy in `folder`.
    pub(super) fn text(
        &self,
        input: &InputSettings,
        folder: &Path,
        shutdown: &Shutdown,
    ) -> Result<Text, Error> {
        if let Self::File { path, .. } = self
            && let Some(nature) = input.plain(&mut self.open(shutdown)?, path)?
        {
            return Ok(Text { path: path.clone(), nature, _copy: None });
        }
        let Taken { file, nature, .. } = self.take(input, folder, shutdown)?;
        Ok(Text { path: file.path().to_owned(), nature, _copy: Some(file) })
    }

    /// Opens it; reading ends with an error once somebody asked to stop.
    pub(super) fn open<'a>(&self, shutdown: &'a Shutdown) -> Result<Box<dyn Read + 'a>, Error> {
        match self.path() {
            None => Ok(Box::new(Watched(io::stdin().lock(), shutdown))),
            Some(path) => {
                let file = File::open(path).map_err(|error| unreadable(path, &error))?;
                Ok(Box::new(Watched(file, shutdown)))
            }
        }
    }
}

/// An input as UTF-8 text.
pub(super) struct Text {
    /// Where it is to be read.
    pub(super) path: PathBuf,
    pub(super) nature: Nature,
    /// Is removed when dropped.
    _copy: Option<NamedTempFile>,
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Usage(format!("failed to read the input {}: {}", path.display(), explained(error)))
}

/// A reader that a signal ends.
struct Watched<'a, R>(R, &'a Shutdown);

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.check().map_err(io::Error::other)?;
        self.0.read(buffer)
    }
}

/// Puts the file's name before what is wrong in it.
pub(super) fn locate(error: Error, source: &Source) -> Error {
    match error {
        Error::Input(why) => match source.path() {
            Some(path) => Error::Input(format!("{}: {why}", path.display())),
            None => Error::Input(format!("standard input: {why}")),
        },
        other => other,
    }
}
