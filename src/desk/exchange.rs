//! One request, and the reply to it.
//!
//! A call of `Client::post` is a permit spent: the desk sees the request once, or not at all. It leaves on the
//! connection that it is given, or on none: where hyper hands it back, which it does only while it is still queued, not a
//! byte of it was written (`tests/promises/faults/stale.rs` counts copies to prove it), and the row goes again with another
//! permit. After the first byte may have left, whatever goes wrong is [`Trouble::Timeout`] or [`Trouble::Broken`].
//! Redirects are not followed, bodies not unpacked.

use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Line;
use super::connect::{Connector, Sender, innermost};
use super::throttle::WaitHeaders;
use super::verdict::{Body, Reply, Trouble};

/// The desk's answers have some sixty bytes; what is larger than this is no answer.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Sends bodies to one address.
pub(super) struct Client {
    connector: Connector,
    /// Path and query, as they stand in a request.
    target: Uri,
    /// Of every request, so that none is put together anew.
    headers: HeaderMap,
    timeout: Duration,
}

/// A connection to the desk, and a map of headers that has served it.
pub struct HttpLine {
    sender: Sender,
    /// Whatever is in it means nothing; its memory is used again.
    headers: HeaderMap,
    /// A request has left on it.
    is_used: bool,
}

impl Line for HttpLine {
    fn is_open(&self) -> bool {
        self.sender.is_ready()
    }
}

impl std::fmt::Debug for HttpLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpLine").field("is_used", &self.is_used).finish_non_exhaustive()
    }
}

impl Client {
    /// For an address with a host, and an answer that takes so long at most.
    pub(super) fn new(connector: Connector, address: &Uri, timeout: Duration) -> Option<Self> {
        let host = HeaderValue::from_str(address.authority()?.as_str()).ok()?;
        let json = HeaderValue::from_static("application/json");
        let agent = HeaderValue::from_static(concat!("deskload/", env!("CARGO_PKG_VERSION")));
        let headers = [(ACCEPT, json.clone()), (CONTENT_TYPE, json), (USER_AGENT, agent), (HOST, host)];
        Some(Self {
            connector,
            target: address.path_and_query()?.clone().into(),
            headers: HeaderMap::from_iter(headers),
            timeout,
        })
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> Result<HttpLine, Trouble> {
        let sender = self.connector.connect().await?;
        Ok(HttpLine { sender, headers: HeaderMap::new(), is_used: false })
    }

    /// Sends a body, and reads what comes back; the connection comes back with a whole reply.
    pub(super) async fn post(
        &self,
        mut line: HttpLine,
        body: Vec<u8>,
        began: Instant,
    ) -> (Result<Reply, Trouble>, Option<HttpLine>) {
        let mut deadline = std::pin::pin!(sleep_until(began + self.timeout));
        let request = self.request(body.into(), std::mem::take(&mut line.headers));
        let was_used = std::mem::replace(&mut line.is_used, true);
        // A block of its own, so that what may come back is not kept while the reply's body is read.
        let response = {
            let sent = tokio::select! {
                biased;
                sent = line.sender.try_send_request(request) => sent,
                () = deadline.as_mut() => return (Err(Trouble::Timeout), None),
            };
            match sent {
                Ok(response) => response,
                Err(mut error) => {
                    let is_unsent = error.take_message().is_some();
                    let why = innermost(error.error());
                    let trouble = match (is_unsent, was_used) {
                        (false, _) => Trouble::Broken(why),
                        (true, true) => Trouble::Unused(why),
                        // It has never carried anything: as good as none.
                        (true, false) => Trouble::NotConnected(why),
                    };
                    return (Err(trouble), None);
                }
            }
        };
        let (head, incoming) = response.into_parts();
        let (status, wait) = (head.status.as_u16(), wait_headers(&head.headers));
        line.headers = head.headers;
        let body = read(incoming, deadline).await;
        let line = matches!(body, Body::Whole(_)).then_some(line);
        (Ok(Reply { status, wait, body }), line)
    }

    /// The headers are put into a map that has served before.
    fn request(&self, body: Bytes, mut headers: HeaderMap) -> Request<Full<Bytes>> {
        headers.clear();
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = headers;
        request
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

/// In one pass, because a reply has few headers and hardly ever one of these.
fn wait_headers(headers: &HeaderMap) -> WaitHeaders {
    let mut wait = WaitHeaders::default();
    for (name, value) in headers {
        let said = match name.as_str() {
            "retry-after" => &mut wait.retry_after,
            "x-ratelimit-retry-after" => &mut wait.ratelimit_retry_after,
            "x-ratelimit-reset" => &mut wait.ratelimit_reset,
            _ => continue,
        };
        said.extend(value.to_str().ok().map(str::to_owned));
    }
    wait
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::mpsc;

    use super::*;

    fn read_request(stream: &mut TcpStream) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while !bytes.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..count]);
        }
    }

    const SUCCESS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    /// What a desk here does behind the answer to the first request of its connection, when it is told to.
    #[derive(Clone, Copy)]
    enum Then {
        /// It says that no more will come (FIN).
        Closes,
        /// It says what nobody asked for.
        Strays,
    }

    /// A desk of one connection. It tells when that is done, and what it has read to the end of it.
    fn desk(then: Then) -> (Uri, mpsc::Sender<()>, mpsc::Receiver<()>, mpsc::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/update/", listener.local_addr().unwrap()).parse().unwrap();
        let (go_on, told) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let (rest, rests) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_request(&mut stream);
            stream.write_all(SUCCESS).unwrap();
            told.recv().unwrap();
            match then {
                Then::Closes => stream.shutdown(Shutdown::Write).unwrap(),
                Then::Strays => stream.write_all(SUCCESS).unwrap(),
            }
            done.send(()).unwrap();
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            rest.send(bytes).unwrap();
        });
        (address, go_on, is_done, rests)
    }

    fn client(address: &Uri) -> Client {
        let connector = Connector::new(address.clone(), Duration::from_secs(5), None, Vec::new()).unwrap();
        Client::new(connector, address, Duration::from_secs(20)).unwrap()
    }

    fn alone(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    /// The first request of a connection, and then what the desk does.
    async fn meet(client: &Client, go_on: &mpsc::Sender<()>, is_done: &mpsc::Receiver<()>) -> HttpLine {
        let line = client.connect().await.unwrap();
        let (reply, line) = client.post(line, b"{1}".to_vec(), Instant::now()).await;
        assert_eq!(reply.unwrap().status, 200);
        go_on.send(()).unwrap();
        is_done.recv().unwrap();
        line.unwrap()
    }

    #[test]
    fn a_request_that_was_provably_not_written_is_given_back() {
        for then in [Then::Closes, Then::Strays] {
            let (address, go_on, is_done, rests) = desk(then);
            alone(async {
                let client = client(&address);
                let line = meet(&client, &go_on, &is_done).await;
                // The runtime looks at its sockets, and comes back here before the connection's own task has its turn:
                // what is queued now is queued on a connection that is about to find out.
                tokio::task::yield_now().await;
                assert!(line.is_open(), "nobody has noticed yet");
                let (lost, line) = client.post(line, b"{2}".to_vec(), Instant::now()).await;
                assert!(matches!(lost, Err(Trouble::Unused(_))), "{lost:?}");
                assert!(line.is_none(), "and the connection is gone");
            });
            assert!(rests.recv().unwrap().is_empty(), "not a byte of it");
        }
    }

    #[test]
    fn a_request_that_may_have_been_written_is_not_given_back() {
        let (address, go_on, is_done, rests) = desk(Then::Closes);
        alone(async {
            let client = client(&address);
            let line = meet(&client, &go_on, &is_done).await;
            // The runtime has not looked, so the request is written to a desk that has said its last word, and reads it.
            let (lost, _) = client.post(line, b"{2}".to_vec(), Instant::now()).await;
            assert!(matches!(lost, Err(Trouble::Broken(_))), "{lost:?}");
        });
        assert!(rests.recv().unwrap().ends_with(b"{2}"), "it arrived there");
    }
}
