//! One request, and the reply to it.
//!
//! A call of [`Client::post`] is a permit spent: the desk sees the request once, or not at all. A request goes to another
//! connection in one case alone: when hyper hands it back, which it does only while it is still queued, so that not a
//! byte of it was written (`tests/promises/faults/stale.rs` counts copies to prove it). After the first byte may have
//! left, whatever goes wrong is [`Trouble::Timeout`] or [`Trouble::Broken`]. Redirects are not followed, bodies not
//! unpacked.

use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response, Uri};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connect::{Connector, Sender, innermost};
use super::pool::Pool;
use super::throttle::WaitHeaders;
use super::verdict::{Body, Reply, Trouble};

/// The desk's answers have some sixty bytes; what is larger than this is no answer.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Sends bodies to one address.
pub(super) struct Client {
    connector: Connector,
    pool: Pool,
    /// Path and query, as they stand in a request.
    target: Uri,
    /// Of every request, so that none is put together anew.
    headers: HeaderMap,
    timeout: Duration,
}

/// Why a request has no reply yet.
enum Lost {
    /// Not a byte of it was written; here it is.
    Unsent(Box<Request<Full<Bytes>>>, hyper::Error),
    Trouble(Trouble),
}

impl Client {
    /// For an address with a host, and a whole attempt that takes so long at most; with so many connections kept.
    pub(super) fn new(
        connector: Connector,
        address: &Uri,
        timeout: Duration,
        connections: usize,
    ) -> Option<Self> {
        let host = HeaderValue::from_str(address.authority()?.as_str()).ok()?;
        let json = HeaderValue::from_static("application/json");
        let agent = HeaderValue::from_static(concat!("deskload/", env!("CARGO_PKG_VERSION")));
        let headers = [(ACCEPT, json.clone()), (CONTENT_TYPE, json), (USER_AGENT, agent), (HOST, host)];
        Some(Self {
            connector,
            pool: Pool::new(connections),
            target: address.path_and_query()?.clone().into(),
            headers: HeaderMap::from_iter(headers),
            timeout,
        })
    }

    /// Sends a body, and reads what comes back.
    pub(super) async fn post(&self, body: Vec<u8>, began: Instant) -> Result<Reply, Trouble> {
        let until = began + self.timeout;
        let mut deadline = std::pin::pin!(sleep_until(until));
        let mut request = self.request(body);
        loop {
            let (mut sender, is_used) = match self.pool.take(Instant::now()) {
                Some(sender) => (sender, true),
                // In a box, because it is rare and large.
                None => (Box::pin(self.connector.connect(until)).await?, false),
            };
            match send(&mut sender, request, deadline.as_mut()).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = read(body, deadline).await;
                    if matches!(body, Body::Whole(_)) {
                        self.pool.put(sender, Instant::now());
                    }
                    return Ok(Reply {
                        status: head.status.as_u16(),
                        wait: wait_headers(&head.headers),
                        body,
                    });
                }
                Err(Lost::Unsent(unsent, _)) if is_used => request = *unsent,
                Err(Lost::Unsent(_, error)) => return Err(Trouble::NotConnected(innermost(&error))),
                Err(Lost::Trouble(trouble)) => return Err(trouble),
            }
        }
    }

    fn request(&self, body: Vec<u8>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

async fn send(
    sender: &mut Sender,
    request: Request<Full<Bytes>>,
    deadline: Pin<&mut Sleep>,
) -> Result<Response<Incoming>, Lost> {
    tokio::select! {
        biased;
        sent = sender.try_send_request(request) => sent.map_err(|mut error| match error.take_message() {
            Some(unsent) => Lost::Unsent(Box::new(unsent), error.into_error()),
            None => Lost::Trouble(Trouble::Broken(innermost(error.error()))),
        }),
        () = deadline => Err(Lost::Trouble(Trouble::Timeout)),
    }
}

async fn read(mut incoming: Incoming, mut deadline: Pin<&mut Sleep>) -> Body {
    let mut body = Vec::new();
    // Asked first, because the length is mostly known, and with its last byte the answer is complete.
    while !incoming.is_end_stream() {
        let frame = tokio::select! {
            biased;
            frame = incoming.frame() => frame,
            () = deadline.as_mut() => return Body::CutShort(Trouble::Timeout),
        };
        match frame {
            None => break,
            Some(Err(error)) => return Body::CutShort(Trouble::Broken(innermost(&error))),
            Some(Ok(frame)) => {
                // What is no data is a trailer, which means nothing here.
                let Some(chunk) = frame.data_ref() else { continue };
                if body.len() + chunk.len() > BODY_BYTES_MAX {
                    return Body::TooLarge;
                }
                body.extend_from_slice(chunk);
            }
        }
    }
    Body::Whole(body)
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
