//! A desk of bytes: a listener on loopback that plays a script on each connection.
//!
//! The sandbox answers requests; this is for what happens to connections, and for whoever must not be called at
//! all. It counts the connections and keeps each complete copy of a request that reached it: a copy is complete
//! once the last byte of its body is here, whether or not an answer follows. It judges nothing.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use deskload::sandbox::PATH;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request, complete.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The connection that it came on, counted from 1.
    pub(crate) connection: u64,
    pub(crate) head: String,
    pub(crate) ticket: u64,
}

#[derive(Default)]
struct Ledger {
    connections: AtomicU64,
    requests: Mutex<Vec<Request>>,
}

/// A listener and its script. It stops listening when it is dropped.
pub(crate) struct Peer {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Peer {
    /// Plays this on each connection, in a thread for each; the connection is closed at its end.
    pub(crate) fn start(script: impl Fn(Visit) + Send + Sync + 'static) -> Self {
        Self::listen(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), script)
    }

    /// The same, on a listener that is there already.
    pub(crate) fn listen(listener: TcpListener, script: impl Fn(Visit) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (ledger, stop) = (Arc::<Ledger>::default(), Arc::<AtomicBool>::default());
        let (theirs, until, script) = (Arc::clone(&ledger), Arc::clone(&stop), Arc::new(script));
        let listening = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                let connection = theirs.connections.fetch_add(1, Ordering::SeqCst) + 1;
                stream.set_nodelay(true).unwrap();
                let visit = Visit { line: Line::Plain(stream), connection, ledger: Arc::clone(&theirs) };
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(visit));
            }
        });
        Self { address, ledger, stop, listening: Some(listening) }
    }

    /// Somebody who must not be called: what comes is counted and closed.
    pub(crate) fn nobody() -> Self {
        Self::start(drop)
    }

    /// The endpoint's address here.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// The same behind TLS.
    pub(crate) fn https_url(&self) -> String {
        format!("https://{}{PATH}", self.address)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> u64 {
        self.ledger.connections.load(Ordering::SeqCst)
    }

    /// The complete requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.ledger.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many complete copies there are of what was to be said to this ticket.
    pub(crate) fn copies(&self, ticket: u64) -> usize {
        self.requests().iter().filter(|request| request.ticket == ticket).count()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The listener notices at its next visitor. A script that is still at work ends with its client.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

/// One connection, in the hands of a script.
pub(crate) struct Visit {
    line: Line,
    /// Counted from 1.
    pub(crate) connection: u64,
    ledger: Arc<Ledger>,
}

enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Visit {
    /// The next request, once it is complete. `None`: the client has left.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            if let Some(whole) = split(&bytes) {
                break whole;
            }
            self.more(&mut bytes)?;
        };
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let ticket = body["ticket_id"].as_u64().unwrap();
        let request = Request { connection: self.connection, head, ticket };
        self.ledger.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        Some(request)
    }

    /// Reads the head of a request and as much of its body as came with it.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            self.more(&mut bytes)?;
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn more(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let read = match &mut self.line {
                Line::Plain(stream) => stream.read(&mut buffer),
                Line::Tls(stream) => stream.read(&mut buffer),
            };
            match read {
                Ok(0) => return None,
                Ok(count) => {
                    bytes.extend_from_slice(&buffer[..count]);
                    return Some(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits until something has come, and leaves it where it is. `false`: the client has left.
    pub(crate) fn await_bytes(&self) -> bool {
        self.plain().peek(&mut [0]).is_ok_and(|count| count > 0)
    }

    /// Writes this. `false`: the client has left.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match &mut self.line {
            Line::Plain(stream) => stream.write_all(bytes.as_ref()),
            Line::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        }
        .is_ok()
    }

    /// Answers each request with the documented success until the client leaves.
    pub(crate) fn serve(mut self) {
        while let Some(request) = self.request() {
            self.say(success(request.ticket));
        }
    }

    /// Closes in the hard way (RST).
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(self.plain(), Some(Duration::ZERO)).unwrap();
    }

    /// The socket below.
    pub(crate) fn plain(&self) -> &TcpStream {
        match &self.line {
            Line::Plain(stream) => stream,
            Line::Tls(stream) => stream.get_ref(),
        }
    }

    /// The same connection once TLS is agreed, with this certificate of `fixtures/tls`. `None`: it was not.
    pub(crate) fn tls(self, certificate: &str) -> Option<Self> {
        let Self { line, connection, ledger } = self;
        let Line::Plain(mut stream) = line else { panic!("TLS inside TLS") };
        let mut session = ServerConnection::new(Arc::new(config(certificate))).unwrap();
        session.complete_io(&mut stream).ok()?;
        Some(Self { line: Line::Tls(Box::new(StreamOwned::new(session, stream))), connection, ledger })
    }
}

/// The documented success.
pub(crate) fn success(ticket: u64) -> String {
    reply(200, &format!(r#"{{"status":"success","ticket_id":"{ticket:05}"}}"#))
}

/// A response with this status, these bytes as its body, and its length.
pub(crate) fn reply(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The same response, saying that its connection ends with it.
pub(crate) fn last(response: &str) -> String {
    response.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1)
}

/// A file of `fixtures/tls`.
pub(crate) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

fn config(certificate: &str) -> ServerConfig {
    let read = |name: &str| fs::read(tls_file(name)).unwrap();
    let chain = CertificateDer::from_pem_slice(&read(&format!("{certificate}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("desk.key")).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap()
}

/// Head and body, once both are complete. Only a content-length can say how long a body is here.
fn split(bytes: &[u8]) -> Option<(String, String)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
    let body = bytes.get(end..end + length)?;
    assert_eq!(bytes.len(), end + length, "a request on top of another");
    Some((head, String::from_utf8_lossy(body).into_owned()))
}
