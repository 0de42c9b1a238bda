//! Where the database is and how it is reached, as it was typed, and without its password wherever it is shown.
//!
//! Rows are personal data, so the way to another machine is encrypted and the server's certificate is checked, whatever
//! the URL says; a socket of this machine and its loopback are the exception. Nothing here connects.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};

/// How URLs of a journal on PostgreSQL begin.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// A server that has gone without a word is noticed so, where an answer may take long: as with the desk's connections.
const KEEPALIVE: Duration = Duration::from_secs(15);
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// What a URL may name that libpq knows and the client does not.
const ROOT_CERTIFICATE: &str = "sslrootcert";

/// A database that holds a journal.
#[derive(Clone)]
pub struct Place {
    config: tokio_postgres::Config,
    root_certificate: Option<PathBuf>,
}

impl Place {
    /// Whether `--journal` names a database rather than a file.
    #[must_use]
    pub fn is_meant(typed: &str) -> bool {
        SCHEMES.iter().any(|scheme| typed.starts_with(scheme))
    }

    /// Reads a URL such as `postgres://user@host/database`. The error is a fragment without the URL, which may hold a
    /// password.
    pub fn parse(typed: &str) -> Result<Self, String> {
        let (url, root_certificate) = take_root_certificate(typed);
        let mut config: tokio_postgres::Config = url
            .parse()
            .map_err(|_| "is no address of a database; write postgres://USER@HOST/DATABASE".to_owned())?;
        if config.get_hosts().is_empty() {
            return Err(
                "names no host; write postgres://USER@HOST/DATABASE, or ?host=/run/postgresql for a socket"
                    .to_owned(),
            );
        }
        let is_near = config.get_hosts().iter().all(is_near);
        match config.get_ssl_mode() {
            SslMode::Require => {}
            _ if is_near && root_certificate.is_none() => {
                config.ssl_mode(SslMode::Disable);
            }
            SslMode::Disable => {
                return Err(
                    "would send rows, which are personal data, unencrypted to another machine; take sslmode=disable out"
                        .to_owned(),
                );
            }
            _ => {
                config.ssl_mode(SslMode::Require);
            }
        }
        config.application_name("deskload").connect_timeout(super::session::CALL_MAX);
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).tcp_user_timeout(UNACKNOWLEDGED_MAX);
        Ok(Self { config, root_certificate })
    }

    /// The same, with a user and a password that stand elsewhere, unless the URL has its own.
    #[must_use]
    pub fn with_credentials(
        mut self,
        user: Option<&str>,
        password: impl FnOnce(&Self) -> Option<String>,
    ) -> Self {
        if let Some(user) = user.filter(|_| self.config.get_user().is_none()) {
            self.config.user(user);
        }
        if self.config.get_password().is_none()
            && let Some(password) = password(&self)
        {
            self.config.password(password);
        }
        self
    }

    /// What a line of a password file is compared with: host, port, database, user.
    #[must_use]
    pub fn names(&self) -> [String; 4] {
        let user = self.config.get_user().unwrap_or_default();
        let database = self.config.get_dbname().unwrap_or(user);
        let host = self.config.get_hosts().first().map(host_name).unwrap_or_default();
        [host, self.port().to_string(), database.to_owned(), user.to_owned()]
    }

    fn port(&self) -> u16 {
        self.config.get_ports().first().copied().unwrap_or(5432)
    }

    pub(super) const fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    pub(super) const fn root_certificate(&self) -> Option<&PathBuf> {
        self.root_certificate.as_ref()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [host, port, database, _] = self.names();
        if host.starts_with('/') {
            write!(f, "postgres:///{database}?host={host}")
        } else {
            write!(f, "postgres://{host}:{port}/{database}")
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// A word of a command line; if it is, or holds, the URL of a database, without the password.
#[must_use]
pub fn without_password(word: &str) -> String {
    let Some((before, url)) = word
        .split_once("://")
        .filter(|(scheme, _)| scheme.ends_with("postgres") || scheme.ends_with("postgresql"))
    else {
        return word.to_owned();
    };
    let (authority, rest) = url.find(['/', '?']).map_or((url, ""), |at| url.split_at(at));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    let is_open = |pair: &&str| !pair.starts_with("password=");
    let rest = match rest.split_once('?') {
        Some((path, query)) => {
            let kept: Vec<&str> = query.split('&').filter(is_open).collect();
            format!("{path}?{}", kept.join("&"))
        }
        None => rest.to_owned(),
    };
    format!("{before}://{authority}{rest}")
}

/// The URL without the one option that is ours to read, and its value.
fn take_root_certificate(typed: &str) -> (String, Option<PathBuf>) {
    let Some((base, query)) = typed.split_once('?') else { return (typed.to_owned(), None) };
    let (ours, others): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|pair| pair.split('=').next() == Some(ROOT_CERTIFICATE));
    let value = ours.first().and_then(|pair| url::Url::parse(&format!("x:/?{pair}")).ok());
    let path = value.and_then(|url| url.query_pairs().next().map(|(_, value)| PathBuf::from(&*value)));
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    (url, path)
}

fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

/// The password for a place, out of the text of a password file (`host:port:database:user:password`, `*` for any, a
/// backslash before a colon or a backslash that belongs to a name).
#[must_use]
pub fn password_of(file: &str, place: &Place) -> Option<String> {
    let names = place.names();
    file.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut cells = cells(line).into_iter();
        let fits = names.iter().all(|name| {
            cells.next().is_some_and(|cell| {
                cell == "*" || cell == *name || (cell == "localhost" && name.starts_with('/'))
            })
        });
        cells.next().filter(|_| fits)
    })
}

fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut escaped) = (Vec::new(), String::new(), false);
    for char in line.chars() {
        match char {
            _ if escaped => {
                cell.push(char);
                escaped = false;
            }
            '\\' => escaped = true,
            ':' if cells.len() < 4 => cells.push(std::mem::take(&mut cell)),
            char => cell.push(char),
        }
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_without_its_password() {
        let place =
            Place::parse("postgres://ops:hunter2@db.example:6432/desk?sslrootcert=%2Fetc%2Fca.pem").unwrap();
        assert_eq!(place.to_string(), "postgres://db.example:6432/desk");
        assert!(!format!("{place:?}").contains("hunter2"));
        assert_eq!(place.root_certificate(), Some(&PathBuf::from("/etc/ca.pem")));
        for wrong in ["postgres://ops:hunter2@", "postgres://ops:hunter2@h/db?nonsense=1"] {
            assert!(!Place::parse(wrong).unwrap_err().contains("hunter2"));
        }
    }

    #[test]
    fn the_way_to_another_machine_is_encrypted() {
        let mode = |url| Place::parse(url).map(|place| place.config().get_ssl_mode());
        assert_eq!(mode("postgres://u@db.example/d"), Ok(SslMode::Require));
        assert_eq!(mode("postgres://u@10.0.0.9/d?sslmode=prefer"), Ok(SslMode::Require));
        assert!(mode("postgres://u@db.example/d?sslmode=disable").unwrap_err().contains("personal data"));
        assert_eq!(mode("postgres://u@127.0.0.1/d"), Ok(SslMode::Disable));
        assert_eq!(mode("postgres:///d?host=/run/postgresql"), Ok(SslMode::Disable));
        assert_eq!(mode("postgres://u@localhost/d?sslmode=require"), Ok(SslMode::Require));
    }

    #[test]
    fn a_password_is_found_as_libpq_finds_it() {
        let place = Place::parse("postgres://ops@db.example/desk").unwrap();
        let file = "# none\nother:*:*:*:no\ndb.example:5432:desk:ops:p\\:w:x\n*:*:*:*:last\n";
        assert_eq!(password_of(file, &place).as_deref(), Some("p:w:x"));
        let socket = Place::parse("postgres://ops@/desk?host=/run/postgresql").unwrap();
        assert_eq!(password_of("localhost:*:desk:ops:near", &socket).as_deref(), Some("near"));
        assert_eq!(password_of("db:1:2:3:no", &place), None);
    }
}
