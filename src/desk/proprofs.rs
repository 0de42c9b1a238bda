//! ProProfs Help Desk's "update a ticket".
//!
//! One permit, one request: how it is kept is in `exchange`. The token is inside the body of every request, so a
//! body is never logged, and every text that comes back passes through [`Token::redact`] before it leaves this module:
//! after it was read, lest the reply become another one.

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use hyper::Uri;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use url::Url;

use super::body::{Common, render};
use super::connect::{Connector, Proxy};
use super::exchange::{Client, HttpLine};
use super::verdict::{self, Rules, Trouble, Verdict};
use super::{Answer, Desk};
use crate::error::Error;
use crate::journal::state::Permit;
use crate::secret::Token;
use crate::text;
use crate::ticket::{TicketId, TicketUpdate};

/// The documented endpoint: case-sensitive, with the closing slash.
pub const URL: &str = "https://www.proprofsdesk.com/app/api/v1/update/ticket/";

/// How the desk is reached.
#[derive(Debug)]
pub struct Connection {
    /// Where updates go.
    pub url: Url,
    /// The account.
    pub account_email: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// A proxy, only if asked for.
    pub proxy: Option<Proxy>,
    /// A certificate authority to trust besides the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What the vendor leaves open.
    pub rules: Rules,
    /// Whether the array of custom fields is sent as a string that holds it: both tables of the vendor say String.
    pub custom_fields_as_string: bool,
}

/// How a new token is got.
pub type Renew = Arc<dyn Fn() -> Result<Token, Error> + Send + Sync>;

/// The documented endpoint.
pub struct ProProfs {
    client: Client,
    url: Url,
    account_email: String,
    token: RwLock<Arc<Token>>,
    renew: Option<Renew>,
    rules: Rules,
    custom_fields_as_string: bool,
}

impl ProProfs {
    /// Makes ready; connects to nothing yet. `renew` is asked once if the desk refuses the token.
    pub fn new(connection: Connection, token: Token, renew: Option<Renew>) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Usage(format!("failed to set up the connection to the desk: {why}"));
        let Connection { url, account_email, timeout, connect_timeout, .. } = connection;
        let address: Uri =
            url.as_str().parse().map_err(|_| wrong("its address cannot be used; give --url"))?;
        let connector =
            Connector::new(address.clone(), connect_timeout, connection.proxy, connection.authorities)
                .map_err(|error| wrong(&error.to_string()))?;
        let client = Client::new(connector, &address, timeout)
            .ok_or_else(|| wrong("its address names no host; give --url"))?;
        Ok(Self {
            client,
            url,
            account_email,
            token: RwLock::new(Arc::new(token)),
            renew,
            rules: connection.rules,
            custom_fields_as_string: connection.custom_fields_as_string,
        })
    }

    fn token(&self) -> Arc<Token> {
        // A lock is poisoned only by a panic while writing, and the write below is one assignment.
        Arc::clone(&self.token.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Desk for ProProfs {
    type Line = HttpLine;

    async fn connect(&self) -> Result<HttpLine, Verdict> {
        let began = Instant::now();
        self.client.connect().await.map_err(|trouble| {
            let token = self.token();
            let verdict = verdict::no_connection(&trouble).tidied(|said| tidy(&token, said));
            tracing::debug!(verdict = verdict.as_str(), latency = ?began.elapsed(), "connect");
            verdict
        })
    }

    async fn send(&self, permit: Permit, line: HttpLine, update: &TicketUpdate) -> Answer<HttpLine> {
        let token = self.token();
        let common = Common {
            account_email: &self.account_email,
            custom_fields_as_string: self.custom_fields_as_string,
        };
        let body = render(common, token.expose(), update);
        let began = Instant::now();
        let (row, attempt) = (permit.row(), permit.attempt());
        let sent = permit.send();
        let (came, line) = match body {
            Ok(body) => self.client.post(line, body, began).await,
            Err(why) => (Err(Trouble::NotConnected(why)), None),
        };
        let verdict = verdict::read(&came, update.ticket(), &self.rules, SystemTime::now())
            .tidied(|said| tidy(&token, said));
        let latency = began.elapsed();
        log(row, attempt, update.ticket(), &verdict, latency);
        // Only this proves that the reply belonged to its request: see the head of `pool`.
        let line = line.filter(|_| verdict == Verdict::Applied);
        Answer { sent, verdict, latency, line }
    }

    async fn renew_credentials(&self) -> Result<bool, Error> {
        let Some(renew) = &self.renew else { return Ok(false) };
        // It runs a command, which may take its time: off the network's thread.
        let renew = Arc::clone(renew);
        let token = tokio::task::spawn_blocking(move || renew())
            .await
            .map_err(|_| Error::Machine("asking for a new token ended in a bug".to_owned()))??;
        *self.token.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(token);
        Ok(true)
    }
}

impl std::fmt::Debug for ProProfs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProProfs").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// One line a request: numbers and our own words, nothing of what was sent or came back.
fn log(row: u64, attempt: u32, ticket: TicketId, verdict: &Verdict, latency: Duration) {
    let status = verdict.note().and_then(|note| note.http_status);
    let verdict_word = verdict.as_str();
    tracing::debug!(row, %ticket, attempt, verdict = verdict_word, status, ?latency, "request");
    if let Verdict::Throttled(wait, _) = verdict {
        tracing::info!(row, status, ?wait, "the desk asks for a pause");
    }
}

/// Somebody else's words, fit to be shown: one harmless line without the token.
#[must_use]
pub fn tidy(token: &Token, said: &str) -> String {
    // Once more, because marks without a width may have stood inside the token, and are gone now.
    token.redact(&text::clean(&token.redact(said)))
}
