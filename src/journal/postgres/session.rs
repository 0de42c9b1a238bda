//! A connection to the database, one statement at a time.
//!
//! Every statement is sent with its types and leaves nothing prepared behind, and nothing is kept in the session, so
//! that a pooler may give each transaction another one. No statement is waited for longer than [`CALL_MAX`], unless it
//! takes the longer the more rows there are: a way that swallows bytes is the same as one that is broken. What failed is
//! told apart as far as the caller must know: whether another try may help.

use std::fmt::Write as _;
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use super::place::Place;
use super::tls::Tls;
use crate::error::Error;

/// How long to wait for the database's answer.
pub(super) const CALL_MAX: Duration = Duration::from_secs(10);

/// The same, where it takes the longer the more rows there are.
const LONG_MAX: Duration = Duration::from_mins(10);

/// While such an answer is awaited: between two looks whether somebody wants to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Names of statements that other programs may have left behind in a pooler's connection.
const NAMES_MAX: u32 = 1_000;

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
        // To its very end, which comes after the commit.
        self.call(CALL_MAX, async |client| client.query_typed(sql, values).await)
    }

    /// The same, of one that takes the longer the more rows there are.
    pub(super) fn query_long(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        self.call(LONG_MAX, async |client| client.query_typed(sql, values).await)
    }

    /// Statements without values, or several at once.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.call(LONG_MAX, async |client| client.batch_execute(sql).await).map_err(Failure::into_error)
    }

    /// Several statements in one transaction. Whatever goes wrong, the connection is given up with it.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Each of them is to see what was committed before it, whatever the database's default is.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        self.call(CALL_MAX, async |client| client.batch_execute(begin).await).map_err(Failure::into_error)?;
        let Some(client) = self.client.take() else {
            return Err(unreachable(&self.place, "the connection was closed"));
        };
        let transaction = Transaction { runtime: &self.runtime, place: &self.place, client };
        let done = work(&transaction)?;
        transaction.wait(CALL_MAX, transaction.client.batch_execute("COMMIT"))?;
        self.client = Some(transaction.client);
        Ok(done)
    }

    /// Has something asked, of a connection that is made if there is none.
    fn call<T>(
        &mut self,
        longest: Duration,
        ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failure> {
        let (place, tls) = (&self.place, &self.tls);
        let known = self.client.take().filter(|client| !client.is_closed());
        let calling = async {
            let client = match known {
                Some(client) => client,
                None => connect(place, tls).await?,
            };
            let answer = ask(&client).await;
            Ok((client, answer))
        };
        // Given up with its connection: an answer that comes after all belongs to nobody.
        let (client, answer) = wait(&self.runtime, place, longest, calling)?;
        let answer = answer.map_err(|error| read(place, &error));
        if !matches!(answer, Err(Failure::Lost(_))) {
            self.client = Some(client);
        }
        answer
    }
}

/// One transaction, on a connection that is never another one.
pub(super) struct Transaction<'a> {
    runtime: &'a Runtime,
    place: &'a Place,
    client: Client,
}

impl Transaction<'_> {
    /// The rows that a statement gives.
    pub(super) fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        self.wait(CALL_MAX, self.client.query_typed(sql, values))
    }

    /// The same, of one that takes the longer the more rows there are. `look` is called now and then, and its error ends
    /// the waiting.
    pub(super) fn query_long(
        &self,
        sql: &str,
        values: &[Value<'_>],
        look: &dyn Fn() -> Result<(), Error>,
    ) -> Result<Vec<Row>, Error> {
        let asking = async {
            let mut asking = std::pin::pin!(self.client.query_typed(sql, values));
            loop {
                match tokio::time::timeout(LOOK_EVERY, &mut asking).await {
                    Ok(answer) => return answer.map(Ok),
                    Err(_) => {
                        if let Err(error) = look() {
                            return Ok(Err(error));
                        }
                    }
                }
            }
        };
        self.wait(LONG_MAX, asking)?
    }

    /// Statements without values.
    pub(super) fn run(&self, sql: &str) -> Result<(), Error> {
        self.wait(LONG_MAX, self.client.batch_execute(sql))
    }

    /// Begins `COPY … FROM STDIN (FORMAT binary)`, with the columns' types.
    ///
    /// The client prepares it under a name, which is as long as this transaction's: it is closed when the rows have been
    /// sent. Another program may have left a statement of that name in a pooler's connection; then the next name is taken.
    pub(super) fn copy(&self, sql: &str, types: &[Type]) -> Result<Copy<'_>, Error> {
        let mut names = 1..NAMES_MAX;
        let beginning = async {
            let statement = loop {
                self.client.batch_execute("SAVEPOINT before").await?;
                match self.client.prepare(sql).await {
                    Err(error)
                        if error.code() == Some(&SqlState::DUPLICATE_PSTATEMENT)
                            && names.next().is_some() =>
                    {
                        self.client.batch_execute("ROLLBACK TO before").await?;
                    }
                    prepared => break prepared?,
                }
            };
            self.client.copy_in(&statement).await
        };
        let sink = self.wait(CALL_MAX, beginning)?;
        Ok(Copy { within: self, writer: Box::pin(BinaryCopyInWriter::new(sink, types)) })
    }

    fn wait<T>(
        &self,
        longest: Duration,
        asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        wait(self.runtime, self.place, longest, asking).map_err(Failure::into_error)
    }
}

/// Rows on their way into a table. Unless it is finished, none of them arrives.
pub(super) struct Copy<'a> {
    within: &'a Transaction<'a>,
    writer: Pin<Box<BinaryCopyInWriter>>,
}

impl Copy<'_> {
    /// One more row.
    pub(super) fn write(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), Error> {
        self.within.wait(CALL_MAX, self.writer.as_mut().write(values))
    }

    /// That was the last one.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.within.wait(LONG_MAX, self.writer.as_mut().finish()).map(drop)
    }
}

/// The type that a column of JSON has on its way there, where it is its text behind the number of that form.
pub(super) const JSON_ON_ITS_WAY: Type = Type::BYTEA;

/// JSON on its way into such a column.
pub(super) fn json_on_its_way(text: &str) -> Vec<u8> {
    [&[1], text.as_bytes()].concat()
}

fn wait<T>(
    runtime: &Runtime,
    place: &Place,
    longest: Duration,
    asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match runtime.block_on(async { tokio::time::timeout(longest, asking).await }) {
        Ok(answer) => answer.map_err(|error| read(place, &error)),
        Err(_) => Err(Failure::Lost(unreachable(place, "it did not answer in time"))),
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
