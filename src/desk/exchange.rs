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
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connect::{Connector, innermost};
use super::pool::{Line, Pool};
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
        let mut body = Bytes::from(body);
        loop {
            let (mut line, is_used) = match self.pool.take(Instant::now()) {
                Some(line) => (line, true),
                // In a box, because it is rare and large.
                None => (Line::new(Box::pin(self.connector.connect(until)).await?), false),
            };
            let request = self.request(body, std::mem::take(&mut line.headers));
            // A block of its own, so that what may come back is not kept while the reply's body is read.
            let response = {
                let sent = tokio::select! {
                    biased;
                    sent = line.sender.try_send_request(request) => sent,
                    () = deadline.as_mut() => return Err(Trouble::Timeout),
                };
                match sent {
                    Ok(response) => response,
                    Err(mut error) => {
                        let Some(unsent) = error.take_message() else {
                            return Err(Trouble::Broken(innermost(error.error())));
                        };
                        match unsent.into_body().into_inner() {
                            Some(whole) if is_used => body = whole,
                            _ => return Err(Trouble::NotConnected(innermost(error.error()))),
                        }
                        continue;
                    }
                }
            };
            let (head, incoming) = response.into_parts();
            let (status, wait) = (head.status.as_u16(), wait_headers(&head.headers));
            line.headers = head.headers;
            let body = read(incoming, deadline).await;
            if matches!(body, Body::Whole(_)) {
                self.pool.put(line, Instant::now());
            }
            return Ok(Reply { status, wait, body });
        }
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

    /// What a desk here saw of one connection, behind the request that it answered.
    struct Rest {
        connection: u8,
        bytes: Vec<u8>,
    }

    fn read_request(stream: &mut TcpStream) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while !bytes.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..count]);
        }
    }

    /// Answers the first request of each connection. When it is told to, it says that no more will come (FIN), tells
    /// that this is done, and reads on to the end.
    fn desk() -> (Uri, mpsc::Sender<()>, mpsc::Receiver<()>, mpsc::Receiver<Rest>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/update/", listener.local_addr().unwrap()).parse().unwrap();
        let (close, told) = mpsc::channel();
        let (closed, is_closed) = mpsc::channel();
        let (rest, rests) = mpsc::channel();
        std::thread::spawn(move || {
            for connection in 1.. {
                let Ok((mut stream, _)) = listener.accept() else { return };
                read_request(&mut stream);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                if told.recv().is_err() {
                    return;
                }
                stream.shutdown(Shutdown::Write).unwrap();
                closed.send(()).unwrap();
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                if rest.send(Rest { connection, bytes }).is_err() {
                    return;
                }
            }
        });
        (address, close, is_closed, rests)
    }

    fn client(address: &Uri) -> Client {
        let connector = Connector::new(address.clone(), Duration::from_secs(5), None, Vec::new()).unwrap();
        Client::new(connector, address, Duration::from_secs(20), 1).unwrap()
    }

    fn alone(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a_request_that_was_provably_not_written_goes_to_another_connection_once() {
        let (address, close, is_closed, rests) = desk();
        alone(async {
            let client = client(&address);
            client.post(b"{1}".to_vec(), Instant::now()).await.unwrap();
            close.send(()).unwrap();
            is_closed.recv().unwrap();
            // The runtime looks at its sockets, and comes back here before the connection's own task has its turn: what is
            // queued now is queued on a connection that is about to find out that it is closed.
            tokio::task::yield_now().await;
            let line = client.pool.take(Instant::now()).unwrap();
            assert!(line.sender.is_ready(), "nobody has noticed yet");
            client.pool.put(line, Instant::now());
            let reply = client.post(b"{2}".to_vec(), Instant::now()).await.unwrap();
            assert_eq!(reply.status, 200);
            drop(client);
        });
        let first = rests.recv().unwrap();
        assert_eq!((first.connection, first.bytes.len()), (1, 0), "not a byte of it");
        close.send(()).unwrap();
        let second = rests.recv().unwrap();
        assert_eq!((second.connection, second.bytes.len()), (2, 0), "and once there");
    }

    #[test]
    fn a_request_that_may_have_been_written_goes_nowhere_else() {
        let (address, close, is_closed, rests) = desk();
        alone(async {
            let client = client(&address);
            client.post(b"{1}".to_vec(), Instant::now()).await.unwrap();
            close.send(()).unwrap();
            is_closed.recv().unwrap();
            // The runtime has not looked, so the request is written to a desk that has said its last word, and reads it.
            let lost = client.post(b"{2}".to_vec(), Instant::now()).await.unwrap_err();
            assert!(matches!(lost, Trouble::Broken(_)), "{lost:?}");
        });
        let first = rests.recv().unwrap();
        assert!(first.connection == 1 && first.bytes.ends_with(b"{2}"), "it arrived there");
        assert!(rests.try_recv().is_err());
    }
}
