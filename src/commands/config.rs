//! `deskload config show` and `config path`: what the settings are, and where each comes from.

use std::path::{Path, PathBuf};

use crate::cli::{ConfigPathArgs, ShowArgs};
use crate::commands::print;
use crate::config::{self, Layered, Origin};
use crate::desk::proprofs;
use crate::error::Error;
use crate::journal::postgres::place::without_password;
use crate::pace::Rate;
use crate::settings::{TokenPlace, journal_place, report_dir, token_place};
use crate::table;
use crate::text::clean;

/// Settings whose values may hold a password, and are not shown.
const HIDDEN: [&str; 2] = ["proxy", "on_finish"];

/// `config show`: every setting as it would count for a `run` with the same flags.
pub fn show(args: &ShowArgs, layered: &Layered) -> Result<(), Error> {
    // Each with its value and where that comes from.
    let mut told: Vec<[String; 3]> = Vec::new();
    if let Ok(path) = found(args.send.config.config.as_deref()) {
        told.push(["config".to_owned(), clean(&path.to_string_lossy()), String::new()]);
    }
    for name in config::setting_names() {
        let (values, origin) = layered.setting(&name);
        let shown = match values.join(", ") {
            text if text.is_empty() => unsaid(&name)?,
            _ if HIDDEN.contains(&name.as_str()) => "(hidden)".to_owned(),
            text => clean(&without_password(&text)),
        };
        let origin = from(&origin, &name);
        told.push([name, shown, origin]);
    }
    let (token, origin) = token(args, layered);
    told.push(["token".to_owned(), token, origin.to_owned()]);
    for (name, value) in layered.profile.rules_as_text() {
        told.push([name.to_owned(), clean(&value), "profile".to_owned()]);
    }
    print(&shown(&told));
    Ok(())
}

/// As a table, or, where that is too wide for the terminal, each origin behind its value.
fn shown(told: &[[String; 3]]) -> String {
    let width = table::width(&console::Term::stdout());
    let mut table = table::plain(None);
    table.add_rows(told);
    table::if_it_fits(table, width, |width| {
        let both = told.iter().map(|[name, value, origin]| match origin.as_str() {
            "" => (name.as_str(), value.clone()),
            _ => (name.as_str(), format!("{value} ({origin})")),
        });
        table::labelled(&both.collect::<Vec<_>>(), Some(width))
    })
}

/// What counts where nobody says anything and the default depends on something.
fn unsaid(name: &str) -> Result<String, Error> {
    Ok(match name {
        "url" => proprofs::URL.to_owned(),
        "format" => "by the file's ending".to_owned(),
        "rate" => format!("{}, a guess; unlimited for a desk on this machine", Rate::GUESS),
        "journal" => journal_place(None)?.to_string(),
        "report_dir" => report_dir(None).display().to_string(),
        _ => "–".to_owned(),
    })
}

fn from(origin: &Origin, name: &str) -> String {
    match origin {
        Origin::Flag => format!("--{}", name.replace('_', "-")),
        Origin::Variable => format!("DESKLOAD_{}", name.to_uppercase()),
        // The folder would make every line too long for a terminal; the file's whole path is the first row.
        Origin::Profile(place) => place.rsplit('/').next().unwrap_or(place).to_owned(),
        Origin::Default => "default".to_owned(),
    }
}

/// Where the token is, and never the token; the command may hold a password, so neither is that shown.
fn token(args: &ShowArgs, layered: &Layered) -> (String, &'static str) {
    let file = |path: &std::path::Path| format!("in {}", path.display());
    match token_place(&args.send.desk, &layered.profile) {
        None => ("missing".to_owned(), "default"),
        Some((TokenPlace::File(path) | TokenPlace::Credential(path), origin)) => (file(&path), origin),
        Some((TokenPlace::Command(_), origin)) => ("from a command".to_owned(), origin),
        Some((TokenPlace::Variable(_), origin)) => ("set".to_owned(), origin),
    }
}

/// `config path`: the file that counts, or where one would be looked for.
pub fn path(args: &ConfigPathArgs) -> Result<(), Error> {
    print(&format!("{}\n", found(args.config.as_deref())?.display()));
    Ok(())
}

fn found(named: Option<&Path>) -> Result<PathBuf, Error> {
    let places = named.map_or_else(config::places, |named| vec![named.to_owned()]);
    let looked: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
    places.into_iter().find(|path| path.exists()).ok_or_else(|| {
        Error::Usage(format!(
            "there is no configuration file; looked for {}; deskload init writes one",
            looked.join(" and ")
        ))
    })
}
