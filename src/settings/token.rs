//! The token: from the first place that has one, and how to get another.
//!
//! A flag, else the environment, else what systemd hands the service, else the profile. The token itself is never
//! a value of any of them but `DESKLOAD_TOKEN`; it goes from here into [`Token`], which does not print it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::cli::DeskArgs;
use crate::config::Profile;
use crate::desk::proprofs::Renew;
use crate::error::{Error, advice, explained, said};
use crate::secret::{NoToken, Token};

/// The variable that may hold the token. It is taken out of the environment of every child process.
pub const TOKEN_VARIABLE: &str = "DESKLOAD_TOKEN";

/// A flag must win over both of these; clap, which would let a variable of one flag win over the other flag, does
/// not know of them.
const TOKEN_FILE_VARIABLE: &str = "DESKLOAD_TOKEN_FILE";
const TOKEN_COMMAND_VARIABLE: &str = "DESKLOAD_TOKEN_COMMAND";

/// What systemd's `LoadCredential=` or `SetCredentialEncrypted=` is to call it.
const CREDENTIAL: &str = "deskload-token";

/// Where the token is.
#[derive(Debug)]
pub enum TokenPlace {
    /// In a file that only its owner can read.
    File(PathBuf),
    /// In the first line that a command prints.
    Command(OsString),
    /// In `DESKLOAD_TOKEN`.
    Variable(OsString),
    /// In a file that systemd made for the service, with rights of its own making.
    Credential(PathBuf),
}

/// The first place that has one, and what named it.
#[must_use]
pub fn token_place(args: &DeskArgs, profile: &Profile) -> Option<(TokenPlace, &'static str)> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let file = |path: &PathBuf| TokenPlace::File(path.clone());
    let command = |command: &String| TokenPlace::Command(command.into());
    let places = [
        (args.token_file.as_ref().map(file), "--token-file"),
        (args.token_command.as_ref().map(command), "--token-command"),
        (set(TOKEN_FILE_VARIABLE).map(|path| TokenPlace::File(path.into())), TOKEN_FILE_VARIABLE),
        (set(TOKEN_COMMAND_VARIABLE).map(TokenPlace::Command), TOKEN_COMMAND_VARIABLE),
        (set(TOKEN_VARIABLE).map(TokenPlace::Variable), TOKEN_VARIABLE),
        (credential().map(TokenPlace::Credential), "CREDENTIALS_DIRECTORY"),
        (profile.token_file.as_ref().map(file), "profile"),
        (profile.token_command.as_ref().map(command), "profile"),
    ];
    places.into_iter().find_map(|(place, named_by)| Some((place?, named_by)))
}

fn credential() -> Option<PathBuf> {
    let folder = env::var_os("CREDENTIALS_DIRECTORY").filter(|value| !value.is_empty())?;
    Some(PathBuf::from(folder).join(CREDENTIAL)).filter(|path| path.exists())
}

/// The token, and how to get another.
pub(super) fn find(args: &DeskArgs, profile: &Profile) -> Result<(Token, Option<Renew>), Error> {
    match token_place(args, profile).map(|(place, _)| place) {
        None => Err(missing()),
        Some(TokenPlace::File(path)) => {
            refuse_readable(&path)?;
            Ok((token_from_file(&path)?, None))
        }
        Some(TokenPlace::Credential(path)) => Ok((token_from_file(&path)?, None)),
        Some(TokenPlace::Command(command)) => {
            let token = token_from_command(&command)?;
            Ok((token, Some(Arc::new(move || token_from_command(&command)))))
        }
        Some(TokenPlace::Variable(text)) => {
            let text = text
                .into_string()
                .map_err(|_| Error::Usage(format!("{TOKEN_VARIABLE} is not text; set it anew")))?;
            let token = Token::new(text).map_err(|why| match why {
                NoToken::Blank => missing(),
                why @ NoToken::Control => Error::Usage(format!("{TOKEN_VARIABLE} cannot be used: {why}")),
            })?;
            Ok((token, None))
        }
    }
}

fn missing() -> Error {
    Error::Usage(format!(
        "the token is missing; put it into a file of mode 0600 and name that with --token-file, \
         or use --token-command, {TOKEN_VARIABLE}, or a profile's token_file"
    ))
}

fn wrong_file(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Usage(format!("the token file {}: {why}", path.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "; put the token into it, with mode 0600, or name another file",
        _ => advice(error),
    };
    wrong_file(path, format_args!("{}{advice}", said(error)))
}

fn refuse_readable(path: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(wrong_file(path, "it is a folder; name the file in it that holds the token"));
    }
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        return Err(wrong_file(path, format_args!("others can read it; run chmod 600 {}", path.display())));
    }
    Ok(())
}

fn token_from_file(path: &Path) -> Result<Token, Error> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong_file(path, "it is not text; put the token alone into it"))?;
    Token::new(text).map_err(|why| match why {
        NoToken::Blank => wrong_file(path, "it is empty; put the token into it"),
        why @ NoToken::Control => wrong_file(path, why),
    })
}

fn token_from_command(command: &OsStr) -> Result<Token, Error> {
    let wrong = |why: &str| Error::Usage(format!("--token-command {why}"));
    let output = Command::new("sh")
        .arg("-c")
        .arg(command)
        .env_remove(TOKEN_VARIABLE)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| wrong(&format!("could not be started: {}", explained(&error))))?;
    if !output.status.success() {
        return Err(wrong(&format!("failed ({}); give it by itself to see why", output.status)));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| wrong("printed something that is no text; it has to print the token alone"))?;
    let first = text.lines().next().unwrap_or_default().to_owned();
    Token::new(first).map_err(|why| match why {
        NoToken::Blank => wrong("printed nothing; its first line has to be the token"),
        NoToken::Control => {
            wrong("printed a control character, so it was not a token; its first line has to be the token")
        }
    })
}
