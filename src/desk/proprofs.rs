//! The wire format of ProProfs Help Desk's "update a ticket", over reqwest.
//!
//! One permit, one request: everything in reqwest that could make a second one, or send the token elsewhere, is
//! switched off here (redirects, its own retries, the environment's proxy, HTTP/2). One thing stays on, because reqwest
//! has no switch for it: hyper-util takes a request to another connection if the one that it was given to turned out to
//! be closed before the request's first byte was written. hyper gives a request back only while it is still queued, so
//! no desk has seen any of it; `tests/promises/faults/stale.rs` counts copies to prove it. The token is inside the body
//! of every request, so a body is never logged, and every text that comes back passes through
//! [`Token::redact`] before it leaves this module: after it was read, lest the reply become another one.

use std::error::Error as _;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, Method, Request, Response, Url};
use serde::{Serialize, Serializer, ser::SerializeSeq as _};

use super::throttle::WaitHeaders;
use super::verdict::{self, Body, Reply, Rules, Trouble, Verdict};
use super::{Answer, Desk};
use crate::error::Error;
use crate::journal::state::Permit;
use crate::secret::Token;
use crate::text;
use crate::ticket::{CustomField, CustomValue, Priority, TicketId, TicketUpdate};

/// The documented endpoint: case-sensitive, with the closing slash.
pub const URL: &str = "https://www.proprofsdesk.com/app/api/v1/update/ticket/";

/// The desk's answers have some sixty bytes; what is larger than this is no answer.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Desks close idle connections after some seconds, and a request on a connection that is just being closed is
/// in doubt; so an idle one is not used again after this long. Below one second, the least that servers are set to
/// and the time between two requests at the usual pace: with 2 s, 8 of 60 rows at 1/s were in doubt behind an nginx
/// that closes after 1 s, and a handshake a second costs nothing.
const IDLE_MAX: Duration = Duration::from_millis(700);

/// How the desk is reached.
#[derive(Debug)]
pub struct Connection {
    /// Where updates go.
    pub url: Url,
    /// The account.
    pub account_email: String,
    /// How long a whole attempt may take.
    pub timeout: Duration,
    /// How long connecting may take; below `timeout`, so that the two can be told apart.
    pub connect_timeout: Duration,
    /// Connections kept for reuse.
    pub connections: usize,
    /// A proxy, only if asked for.
    pub proxy: Option<reqwest::Proxy>,
    /// A certificate authority to trust besides the system's.
    pub authorities: Vec<reqwest::Certificate>,
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
    /// Of every request, so that none is put together anew.
    headers: HeaderMap,
    account_email: String,
    token: RwLock<Arc<Token>>,
    renew: Option<Renew>,
    timeout: Duration,
    rules: Rules,
    custom_fields_as_string: bool,
}

impl ProProfs {
    /// Sets reqwest up; connects to nothing yet. `renew` is asked once if the desk refuses the token.
    pub fn new(connection: Connection, token: Token, renew: Option<Renew>) -> Result<Self, Error> {
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .referer(false)
            .connect_timeout(connection.connect_timeout)
            .timeout(connection.timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(connection.connections);
        if let Some(proxy) = connection.proxy {
            builder = builder.proxy(proxy);
        }
        // Plain http goes to loopback alone and needs no authorities; asking for the system's would fail on a
        // machine that has none.
        builder = match connection.url.scheme() {
            "http" => builder.tls_certs_only([]),
            _ => builder.tls_certs_merge(connection.authorities),
        };
        let client = builder.build().map_err(|error| {
            Error::Usage(format!("failed to set up the connection to the desk: {}", innermost(&error)))
        })?;
        Ok(Self {
            client,
            url: connection.url,
            headers: headers(),
            account_email: connection.account_email,
            token: RwLock::new(Arc::new(token)),
            renew,
            timeout: connection.timeout,
            rules: connection.rules,
            custom_fields_as_string: connection.custom_fields_as_string,
        })
    }

    fn token(&self) -> Arc<Token> {
        // A lock is poisoned only by a panic while writing, and the write below is one assignment.
        Arc::clone(&self.token.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    async fn call(&self, body: Vec<u8>) -> Result<Reply, Trouble> {
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = Some(body.into());
        let response = self.client.execute(request).await.map_err(|error| trouble(&error))?;
        Ok(Reply {
            status: response.status().as_u16(),
            wait: wait_headers(response.headers()),
            body: read_body(response).await,
        })
    }
}

/// What every request has, the User-Agent among it.
fn headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    let agent = HeaderValue::from_static(concat!("deskload/", env!("CARGO_PKG_VERSION")));
    HeaderMap::from_iter([(ACCEPT, json.clone()), (CONTENT_TYPE, json), (USER_AGENT, agent)])
}

impl Desk for ProProfs {
    async fn send(&self, permit: Permit, update: &TicketUpdate) -> Answer {
        let token = self.token();
        let common = Common {
            account_email: &self.account_email,
            custom_fields_as_string: self.custom_fields_as_string,
        };
        let body = match render(common, token.expose(), update) {
            Ok(body) => Ok(body),
            Err(why) => Err(Trouble::NotConnected(why)),
        };
        let began = Instant::now();
        let (row, attempt) = (permit.row(), permit.attempt());
        let sent = permit.send();
        let came = match body {
            // reqwest's own timeout covers this; the outer one is a second rope, should a body drip for ever.
            Ok(body) => {
                tokio::time::timeout(self.timeout * 2, self.call(body)).await.unwrap_or(Err(Trouble::Timeout))
            }
            Err(trouble) => Err(trouble),
        };
        let verdict = verdict::read(&came, update.ticket(), &self.rules, SystemTime::now())
            .tidied(|said| tidy(&token, said));
        let latency = began.elapsed();
        log(row, attempt, update.ticket(), &verdict, latency);
        Answer { sent, verdict, latency }
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

/// The body of a request, as the vendor's page shows it.
#[derive(Serialize)]
struct RequestBody<'a> {
    account_email: &'a str,
    token: &'a str,
    /// A JSON number, as the page says; the reply has it as a string.
    ticket_id: u64,
    /// The page leaves this name blank; `email` is what the create page calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staff: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbox: Option<&'a str>,
    /// Both tables of the vendor call it a String; the create page sends an array, and so do we.
    #[serde(skip_serializing_if = "CustomFields::is_empty")]
    custom_fields: CustomFields<'a>,
}

#[derive(Clone, Copy)]
struct CustomFields<'a> {
    fields: &'a [CustomField],
    as_string: bool,
}

impl CustomFields<'_> {
    fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Serialize for CustomFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.as_string {
            return array(self.fields, serializer);
        }
        let inner = CustomFields { as_string: false, ..*self };
        let text = serde_json::to_string(&inner).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

fn array<S: Serializer>(fields: &[CustomField], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Element<'a, T> {
        id: &'a str,
        value: T,
    }
    let mut array = serializer.serialize_seq(Some(fields.len()))?;
    for field in fields {
        match &field.value {
            CustomValue::Text(value) => array.serialize_element(&Element { id: &field.id, value })?,
            CustomValue::Json(value) => array.serialize_element(&Element { id: &field.id, value })?,
        }
    }
    array.end()
}

/// What all requests have in common, but for the token.
#[derive(Clone, Copy)]
pub struct Common<'a> {
    /// The account.
    pub account_email: &'a str,
    /// See [`Connection::custom_fields_as_string`].
    pub custom_fields_as_string: bool,
}

/// Writes the body. The error holds no word of it.
fn render(common: Common<'_>, token: &str, update: &TicketUpdate) -> Result<Vec<u8>, String> {
    let Common { account_email, custom_fields_as_string } = common;
    let changes = update.changes();
    let body = RequestBody {
        account_email,
        token,
        ticket_id: update.ticket().get(),
        email: changes.email.as_deref(),
        name: changes.name.as_deref(),
        phone: changes.phone.as_deref(),
        subject: changes.subject.as_deref(),
        description: changes.description.as_deref(),
        staff: changes.staff.as_deref(),
        priority: changes.priority.map(Priority::as_str),
        inbox: changes.inbox.as_deref(),
        custom_fields: CustomFields { fields: &changes.custom_fields, as_string: custom_fields_as_string },
    };
    serde_json::to_vec(&body).map_err(|_| "the row could not be written as JSON".to_owned())
}

/// What stands for the token where a request is shown.
const HIDDEN_TOKEN: &str = "(hidden)";

/// The body that would be sent for an update, with something in the token's place: for people to look at.
pub fn sample(common: Common<'_>, update: &TicketUpdate) -> Result<String, String> {
    let body = render(common, HIDDEN_TOKEN, update)?;
    String::from_utf8(body).map_err(|_| "the row could not be written as JSON".to_owned())
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

async fn read_body(mut response: Response) -> Body {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > BODY_BYTES_MAX => return Body::TooLarge,
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Body::Whole(body),
            Err(error) => return Body::CutShort(trouble(&error)),
        }
    }
}

fn wait_headers(headers: &HeaderMap) -> WaitHeaders {
    const RATELIMIT_RETRY_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-retry-after");
    const RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
    let all = |name: HeaderName| {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
    };
    WaitHeaders {
        retry_after: all(RETRY_AFTER),
        ratelimit_retry_after: all(RATELIMIT_RETRY_AFTER),
        ratelimit_reset: all(RATELIMIT_RESET),
    }
}

/// What reqwest's error proves. `is_connect` alone proves that nothing was sent; `is_request` proves nothing.
fn trouble(error: &reqwest::Error) -> Trouble {
    if error.is_connect() || error.is_builder() {
        return match certificate_trouble(error) {
            Some(why) => Trouble::Certificate(why),
            None => Trouble::NotConnected(innermost(error)),
        };
    }
    if error.is_timeout() {
        return Trouble::Timeout;
    }
    Trouble::Broken(innermost(error))
}

/// A certificate that is not valid stays so; a handshake that breaks off may pass.
fn certificate_trouble(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = inner.downcast_ref() {
            return Some(inner.to_string());
        }
        // An I/O error hides what it wraps from `source`, and may wrap another one.
        cause = match inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    None
}

/// The last cause, which says what happened; the outer ones repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::Changes;

    fn common(account_email: &str) -> Common<'_> {
        Common { account_email, custom_fields_as_string: false }
    }

    #[test]
    fn the_body_is_the_one_of_the_vendors_page() {
        let changes =
            Changes { staff: Some("ST007-009".into()), priority: Some(Priority::High), ..Changes::default() };
        let update = TicketUpdate::new(TicketId::parse("1001").unwrap(), changes).unwrap();
        let body = render(common("john@proprofs.com"), "secret", &update).unwrap();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"account_email":"john@proprofs.com","token":"secret","ticket_id":1001,"staff":"ST007-009","priority":"high"}"#
        );
    }

    #[test]
    fn custom_fields_are_an_array_and_numbers_keep_their_digits() {
        let number = serde_json::value::RawValue::from_string("12345678901234567890.10".into()).unwrap();
        let changes = Changes {
            custom_fields: vec![
                CustomField { id: "CF007-07".into(), value: CustomValue::Text("Micro".into()) },
                CustomField { id: "CF007-08".into(), value: CustomValue::Json(number) },
            ],
            ..Changes::default()
        };
        let update = TicketUpdate::new(TicketId::parse("7").unwrap(), changes).unwrap();
        let body = String::from_utf8(render(common("a@example.com"), "t", &update).unwrap()).unwrap();
        assert!(body.ends_with(
            r#""custom_fields":[{"id":"CF007-07","value":"Micro"},{"id":"CF007-08","value":12345678901234567890.10}]}"#
        ));
    }
}
