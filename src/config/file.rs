//! The configuration file: where it is, and its text as tables whose values know their line.

use std::env;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, advice, said};
use crate::text::{clean_whole, closest};

/// Where the file is looked for, if it is not named: never in the current folder.
#[must_use]
pub fn places() -> Vec<PathBuf> {
    usual_place().into_iter().chain([PathBuf::from("/etc/deskload/config.toml")]).collect()
}

/// A person's own file; `None` without a home folder.
#[must_use]
pub fn usual_place() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME")
        .or_else(|| env::home_dir().map(|home| home.join(".config")))
        .map(|folder| folder.join("deskload").join("config.toml"))
}

/// A configuration file's text, and where it came from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    text: String,
}

impl Source {
    pub(super) fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Reads the file that was named, or the first that is there; `None` if none is.
    pub(super) fn find(named: Option<&Path>) -> Result<Option<Self>, Error> {
        let wrong = |path: &Path, error: std::io::Error| {
            let advice = match error.kind() {
                ErrorKind::NotFound => "; name another with --config, or let deskload init write one",
                ErrorKind::InvalidData => "; save it as UTF-8",
                _ => advice(&error),
            };
            Error::Usage(format!(
                "failed to read the configuration {}: {}{advice}",
                path.display(),
                said(&error)
            ))
        };
        if let Some(path) = named {
            let text = std::fs::read_to_string(path).map_err(|error| wrong(path, error))?;
            return Ok(Some(Self { path: path.to_owned(), text }));
        }
        for path in places() {
            match std::fs::read_to_string(&path) {
                Ok(text) => return Ok(Some(Self { path, text })),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(wrong(&path, error)),
            }
        }
        Ok(None)
    }

    pub(super) fn tables(&self) -> Result<DeTable<'_>, Error> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let line = self.line(error.span().map_or(0, |span| span.start));
            // The message alone: the whole error quotes the line, in which somebody may have put a token.
            let said = clean_whole(error.message());
            Error::Usage(format!("{}, line {line}: {said}; correct that line", self.path.display()))
        })?;
        Ok(table.into_inner())
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        let before = self.text.as_bytes().iter().take(byte);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    /// What is wrong at a byte. Keys and values may be quoted in it: TOML can write escapes into both.
    pub(super) fn wrong(&self, byte: usize, what: impl std::fmt::Display) -> Error {
        let what = clean_whole(&what.to_string());
        Error::Usage(format!("{}, line {}: {what}", self.path.display(), self.line(byte)))
    }

    /// What is wrong with a key that nobody knows.
    pub(super) fn unknown<'a>(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        known: impl Iterator<Item = &'a str>,
    ) -> Error {
        let name = key.get_ref();
        let mut known: Vec<&str> = known.collect();
        known.sort_unstable();
        let advice = closest(name, known.iter().copied()).map_or_else(
            || format!("known are {}", known.join(", ")),
            |close| format!("did you mean {close}?"),
        );
        self.wrong(key.span().start, format_args!("{name} is not a setting; {advice}"))
    }

    /// A value that has to be a text.
    pub(super) fn text(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, Error> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            _ => Err(self.wrong(value.span().start, format_args!("{key} has to be a text in quotes"))),
        }
    }

    /// A value that has to be true or false.
    pub(super) fn flag(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<bool, Error> {
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.wrong(value.span().start, format_args!("{key} has to be true or false"))),
        }
    }

    /// A path that counts from the folder of the configuration file, unless it is absolute.
    pub(super) fn path_beside(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<PathBuf, Error> {
        let text = self.text(key, value)?;
        Ok(match (text.strip_prefix("~/"), env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.path.parent().unwrap_or(Path::new("")).join(text),
        })
    }

    /// A path, which has to be absolute: the file is read from whatever folder deskload is started in.
    pub(super) fn path(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<PathBuf, Error> {
        let text = self.text(key, value)?;
        let path = match (text.strip_prefix("~/"), env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        if path.is_absolute() {
            return Ok(path);
        }
        Err(self.wrong(
            value.span().start,
            format_args!("{key} has to begin with / or ~/, because deskload may be started in any folder"),
        ))
    }
}
