//! A connection to the database, one statement at a time.
//!
//! Every statement is sent with its types and leaves nothing prepared behind, and nothing is kept in the session, so
//! that a pooler may give each of them another one. No statement is waited for longer than [`CALL_MAX`]: a way that
//! swallows bytes is the same as one that is broken. What failed is told apart as far as the caller must know:
//! whether another try may help.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use super::place::Place;
use super::tls::Tls;
use crate::error::Error;

/// How long to wait for the database's answer.
pub(super) const CALL_MAX: Duration = Duration::from_secs(10);

/// A value and its type.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// Why a statement was not answered.
#[derive(Debug)]
pub(super) enum Failure {
    /// The way to the database is broken, or it is not there; whether the statement took effect is not known.
    Lost(Error),
    /// It took no effect because of another one at the same time, and may be given again at once.
    Conflict(Error),
    /// Another try will not help.
    Final(Error),
}

impl Failure {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Lost(error) | Self::Conflict(error) | Self::Final(error) => error,
        }
    }
}

/// A connection, made when it is needed.
pub(super) struct Session {
    runtime: Runtime,
    place: Place,
    tls: Tls,
    client: Option<Client>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Session").field(&self.place).finish()
    }
}

impl Session {
    /// Sets up a connection, and makes none yet.
    pub(super) fn new(place: &Place) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Machine(format!("failed to start the network: {error}")))?;
        let tls = Tls::trusting(place.root_certificate().map(std::path::PathBuf::as_path))?;
        Ok(Self { runtime, place: place.clone(), tls, client: None })
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// The rows that a statement gives; it has been committed once they are here.
    pub(super) fn query(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        let Self { runtime, place, tls, client } = self;
        let answer = runtime.block_on(async {
            let calling = async {
                if client.as_ref().is_none_or(Client::is_closed) {
                    *client = Some(connect(place, tls).await?);
                }
                match client {
                    // To its very end, which comes after the commit.
                    Some(client) => client.query_typed(sql, values).await,
                    None => Ok(Vec::new()),
                }
            };
            tokio::time::timeout(CALL_MAX, calling).await
        });
        let failure = match answer {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => read(place, &error),
            Err(_) => Failure::Lost(late(place)),
        };
        if matches!(failure, Failure::Lost(_)) {
            // An answer that comes after all belongs to nobody.
            self.client = None;
        }
        Err(failure)
    }

    /// Several statements in one transaction, which `work` gives one after the other.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut dyn FnMut(&str, &[Value<'_>]) -> Result<Vec<Row>, Error>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Whatever the server or the role takes for granted: what is looked up under a lock must be as it is then.
        self.run("BEGIN ISOLATION LEVEL READ COMMITTED")?;
        let done = work(&mut |sql, values| self.query(sql, values).map_err(Failure::into_error));
        // Whatever goes wrong, the connection is given up with the transaction.
        match done.and_then(|done| self.run("COMMIT").map(|()| done)) {
            Ok(done) => Ok(done),
            Err(error) => {
                self.client = None;
                Err(error)
            }
        }
    }

    /// Statements without values, or several at once.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), Error> {
        let Self { runtime, place, tls, client } = self;
        let done = runtime.block_on(async {
            let calling = async {
                if client.as_ref().is_none_or(Client::is_closed) {
                    *client = Some(connect(place, tls).await?);
                }
                match client {
                    Some(client) => client.batch_execute(sql).await,
                    None => Ok(()),
                }
            };
            tokio::time::timeout(CALL_MAX, calling).await
        });
        match done {
            Ok(done) => done.map_err(|error| read(place, &error).into_error()),
            Err(_) => Err(late(place)),
        }
    }
}

async fn connect(place: &Place, tls: &Tls) -> Result<Client, tokio_postgres::Error> {
    let config = place.config();
    if config.get_ssl_mode() == tokio_postgres::config::SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await?;
        // It ends with its client, or breaks; the next statement finds out.
        tokio::spawn(async { drop(connection.await) });
        return Ok(client);
    }
    let (client, connection) = config.connect(tls.clone()).await?;
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}

fn unreachable(place: &Place, why: &str) -> Error {
    Error::Machine(format!("failed to reach the journal {place}: {why}; nothing more was sent"))
}

fn late(place: &Place) -> Error {
    unreachable(place, "it did not answer in time")
}

fn read(place: &Place, error: &tokio_postgres::Error) -> Failure {
    let Some(db) = error.as_db_error() else {
        return Failure::Lost(unreachable(place, &whole(error)));
    };
    let code = db.code();
    let said = crate::text::clean(db.message());
    let refused = || Error::Machine(format!("the journal {place} refused: {said}"));
    if [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED].contains(&code) {
        return Failure::Conflict(refused());
    }
    if code.code().starts_with("28") {
        return Failure::Final(Error::Usage(format!(
            "the journal {place} refused the user: {said}; check the user and the password (PGPASSFILE)"
        )));
    }
    if [&SqlState::INVALID_SCHEMA_NAME, &SqlState::UNDEFINED_TABLE, &SqlState::UNDEFINED_FUNCTION]
        .contains(&code)
    {
        return Failure::Final(Error::Usage(format!(
            "the database {place} holds no journal that this deskload knows; make one with deskload journal init"
        )));
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Failure::Final(Error::Usage(format!(
            "the journal {place} refused: {said}; the guide lists what the role needs"
        )));
    }
    // The last two: it took longer than an administrator lets a statement wait.
    let is_away = ["08", "53", "57", "55P03", "25P04"].iter().any(|class| code.code().starts_with(class));
    // A standby says so: another server may be the one to ask in a moment.
    let is_standby =
        [&SqlState::READ_ONLY_SQL_TRANSACTION, &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE].contains(&code);
    if is_away || is_standby { Failure::Lost(refused()) } else { Failure::Final(refused()) }
}

/// An error and what it came from.
fn whole(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    crate::text::clean(&text)
}
