//! Sockets and HTTP: reads a request whole, lets the desk settle it, and plays the reply.
//!
//! hyper writes the well-formed replies. For the others the service ends with an error that carries the bytes,
//! and the connection is taken back from hyper to write them. Nothing is decided here. A connection that breaks
//! is the client's affair; a desk that cannot write its log ends the server.

use std::convert::Infallible;
use std::error::Error as _;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::desk::{Arrival, Desk};
use super::faults::{Reply, Then};
use super::rules;
use crate::error::{Error, said};

/// The largest body that is read, in bytes; no update comes near it.
const BODY_MAX: usize = 1 << 20;

/// How long the server leaves a listener alone that gave an error, which is most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

type Payload = UnsyncBoxBody<Bytes, Infallible>;

pub(super) async fn serve(
    desk: Arc<Desk>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(|error| {
        Error::Machine(format!("failed to ask the sandbox's listener for its address: {}", said(&error)))
    })?;
    loopback_only(address)?;
    let (failed, mut failure) = mpsc::channel(1);
    let mut connections = JoinSet::new();
    let ended = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            Some(error) = failure.recv() => break Err(error),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(Arc::clone(&desk), stream, failed.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    };
    connections.shutdown().await;
    // A log that broke just before the word to stop must not be lost behind it.
    failure.try_recv().map_or(ended, Err)
}

fn loopback_only(address: SocketAddr) -> Result<(), Error> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(Error::Usage(format!("failed to serve on {address}: the sandbox is for loopback alone")))
}

/// One connection, to its end.
async fn converse(desk: Arc<Desk>, stream: TcpStream, failed: mpsc::Sender<Error>) {
    // Without it a reply may wait 40 ms for the client's ACK.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| -> Pin<Box<dyn Future<Output = _> + Send>> {
        Box::pin(answer(Arc::clone(&desk), request, failed.clone()))
    });
    // A client that goes away behind its request was heard: by default hyper forgets the request with the client.
    let mut connection =
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await
        && let Some(TakeBack { bytes, drip, then }) = error.source().and_then(|source| source.downcast_ref())
    {
        let stream = connection.into_parts().io.into_inner();
        // The client may be gone; then nobody is left to be told.
        let _ = play(stream, bytes, *drip, *then).await;
    }
}

/// hyper is to let go of the connection, for these bytes.
#[derive(Debug)]
struct TakeBack {
    bytes: Vec<u8>,
    drip: Duration,
    then: Then,
}

impl fmt::Display for TakeBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reply is no HTTP")
    }
}

impl std::error::Error for TakeBack {}

const SILENT_CLOSE: TakeBack = TakeBack { bytes: Vec::new(), drip: Duration::ZERO, then: Then::Close };

async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
    failed: mpsc::Sender<Error>,
) -> Result<Response<Payload>, TakeBack> {
    let (head, incoming) = request.into_parts();
    let settled = match rules::misdirected(&head.method, head.uri.path()) {
        Some(reply) => desk.receive(Arrival::Misdirected(reply)),
        None => match Limited::new(incoming, BODY_MAX).collect().await {
            Ok(body) => desk.receive(Arrival::Whole(&head.headers, &body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => desk.receive(Arrival::TooLarge),
            // It never arrived whole, so to this desk it never was.
            Err(_) => return Err(SILENT_CLOSE),
        },
    };
    let answer = match settled {
        Ok(answer) => answer,
        Err(error) => {
            // If the channel is full, the first error is already on its way.
            let _ = failed.try_send(error);
            return Err(SILENT_CLOSE);
        }
    };
    if !answer.wait.is_zero() {
        tokio::time::sleep(answer.wait).await;
    }
    match answer.reply {
        Reply::Raw { bytes, drip, then } => Err(TakeBack { bytes, drip, then }),
        reply => response(reply).ok_or(SILENT_CLOSE),
    }
}

/// Whether a scripted reply is one that the server can send.
pub(super) fn can_be_sent(reply: &Reply) -> bool {
    match reply {
        Reply::AsRuled | Reply::OtherTicket | Reply::Raw { .. } => true,
        // hyper takes a 1xx for an upgrade or a bug.
        Reply::Http { status, .. } if *status < 200 => false,
        reply => response(reply.clone()).is_some(),
    }
}

fn response(reply: Reply) -> Option<Response<Payload>> {
    match reply {
        Reply::Http { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Full::new(Bytes::from(body)).boxed_unsync()).ok()
        }
        Reply::Flood(spaces) => Response::builder()
            .header("content-type", "application/json")
            .body(flood(spaces).boxed_unsync())
            .ok(),
        Reply::AsRuled | Reply::OtherTicket | Reply::Raw { .. } => None,
    }
}

/// An empty JSON object after so many spaces, made while it is sent.
fn flood(spaces: u64) -> impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send {
    static SPACES: [u8; 1 << 16] = [b' '; 1 << 16];
    let chunk = SPACES.len() as u64;
    let whole = std::iter::repeat_n(
        Bytes::from_static(&SPACES),
        usize::try_from(spaces / chunk).unwrap_or(usize::MAX),
    );
    let rest = usize::try_from(spaces % chunk).ok().and_then(|rest| SPACES.get(..rest)).unwrap_or_default();
    let end = [Bytes::from_static(rest), Bytes::from_static(b"{}")];
    StreamBody::new(futures::stream::iter(whole.chain(end).map(|bytes| Ok(Frame::data(bytes)))))
}

async fn play(stream: TcpStream, bytes: &[u8], drip: Duration, then: Then) -> std::io::Result<()> {
    let at_once = if drip.is_zero() { bytes.len().max(1) } else { 1 };
    for chunk in bytes.chunks(at_once) {
        write_all(&stream, chunk).await?;
        tokio::time::sleep(drip).await;
    }
    match then {
        Then::Close => Ok(()),
        Then::Reset => stream.set_zero_linger(),
        Then::Hold => swallow(&stream).await,
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads and throws away until the client is gone.
async fn swallow(stream: &TcpStream) -> std::io::Result<()> {
    let mut waste = [0; 4_096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut waste) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_loopback_is_served() {
        for (address, served) in
            [("127.0.0.1:80", true), ("[::1]:80", true), ("0.0.0.0:80", false), ("192.0.2.1:80", false)]
        {
            assert_eq!(loopback_only(address.parse().unwrap()).is_ok(), served, "{address}");
        }
    }
}
