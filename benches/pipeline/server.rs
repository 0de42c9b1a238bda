//! The least desk that keeps count: it says success to whatever names a ticket, and notes which.
//!
//! A process of its own on one thread, so that it takes as little of the two cores as it can. It judges nothing: that is
//! what the sandbox is for. Nobody but loopback reaches it. It ends with its standard input, so that it
//! outlives nobody.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{Result, number};

/// Tickets above this are not told apart; it bounds the table.
const TICKETS_MAX: usize = 100_000_000;

/// Times of arrival are kept of so many.
const TIMES_MAX: usize = 10_000;

/// What arrived since the last time that somebody asked.
#[derive(Debug, Default)]
struct Taken {
    requests: u64,
    distinct: u64,
    bytes: u64,
    seen: Vec<u8>,
    times_us: Vec<u64>,
}

/// `serve [LATENCY_MS] [REFUSE_EVERY]`: prints its address and serves until its standard input ends.
pub(crate) fn main(words: &[&str]) -> Result<()> {
    let latency = Duration::from_millis(number(words, 0, 0)?);
    let refuse_every: u64 = number(words, 1, 0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (open, mut ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(open);
    });
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("http://{}/app/api/v1/update/ticket/", listener.local_addr()?);
        std::io::stdout().flush()?;
        let taken = Arc::new(Mutex::new(Taken::default()));
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                _ = &mut ended => return Ok(()),
            };
            stream.set_nodelay(true)?;
            let taken = Arc::clone(&taken);
            let service = hyper::service::service_fn(move |request| {
                answer(request, Arc::clone(&taken), latency, refuse_every)
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(hyper_util::rt::TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    })
}

async fn answer(
    request: Request<Incoming>,
    taken: Arc<Mutex<Taken>>,
    latency: Duration,
    refuse_every: u64,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET {
        let taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
        return Ok(Response::new(Full::from(taken.told())));
    }
    // What is cut short names no ticket, and counts as nothing.
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Some(ticket) = ticket_in(&body) else {
        return Ok(reply(r#"{"status":"error","description":"no ticket_id"}"#.to_owned()));
    };
    taken.lock().unwrap_or_else(PoisonError::into_inner).take(ticket, body.len());
    if latency > Duration::ZERO {
        tokio::time::sleep(latency).await;
    }
    if refuse_every > 0 && ticket.is_multiple_of(refuse_every) {
        return Ok(reply(r#"{"status":"error","description":"Ticket not found"}"#.to_owned()));
    }
    Ok(reply(format!(r#"{{"status":"success","ticket_id":"{ticket:05}"}}"#)))
}

fn reply(body: String) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::from(body));
    let json = hyper::header::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    reply
}

/// The number behind the key, wherever it stands, in quotes or not.
fn ticket_in(body: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"ticket_id\":";
    let at = body.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let digits = body.get(at..)?.iter().skip_while(|byte| matches!(byte, b' ' | b'"'));
    let digits: String =
        digits.take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
    digits.parse().ok()
}

impl Taken {
    fn take(&mut self, ticket: u64, bytes: usize) {
        self.requests += 1;
        self.bytes += bytes as u64;
        if self.times_us.len() < TIMES_MAX {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.times_us.push(u64::try_from(now.as_micros()).unwrap_or_default());
        }
        let Some(at) = usize::try_from(ticket).ok().filter(|at| *at < TICKETS_MAX) else { return };
        if self.seen.len() <= at {
            self.seen.resize(at + 1, 0);
        }
        if let Some(seen) = self.seen.get_mut(at) {
            self.distinct += u64::from(*seen == 0);
            *seen = seen.saturating_add(1);
        }
    }

    fn told(&self) -> String {
        let times: Vec<String> = self.times_us.iter().map(u64::to_string).collect();
        format!("{} {} {}\n{}", self.requests, self.distinct, self.bytes, times.join(" "))
    }
}

/// A desk that was started, and ends when this is dropped.
pub(crate) struct Desk {
    child: Child,
    /// Where updates go.
    pub(crate) url: String,
}

/// What a desk says of the requests since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) distinct: u64,
    pub(crate) bytes: u64,
    /// When the first of them arrived, microseconds of UNIX time.
    pub(crate) times_us: Vec<u64>,
}

impl Desk {
    pub(crate) fn start(latency_ms: u64, refuse_every: u64) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &latency_ms.to_string(), &refuse_every.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut url)?;
        Ok(Self { child, url: url.trim().to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What arrived since the last time.
    pub(crate) fn taken(&self) -> Result<Count> {
        let address = self.url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let mut stream = TcpStream::connect(address.ok_or("no address in the URL")?)?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("the desk's answer has no body")?;
        let (counts, times) = body.split_once('\n').ok_or("the desk's answer has no lines")?;
        let read = |text: &str| -> Result<Vec<u64>> {
            Ok(text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
        };
        let [requests, distinct, bytes] = read(counts)?[..] else { return Err("not three counts".into()) };
        Ok(Count { requests, distinct, bytes, times_us: read(times)? })
    }

    /// As [`Desk::taken`]; an error unless each of so many rows arrived exactly once.
    pub(crate) fn each_once(&self, rows: u64, who: &str) -> Result<Count> {
        let count = self.taken()?;
        if (count.requests, count.distinct) != (rows, rows) {
            let Count { requests, distinct, .. } = count;
            return Err(
                format!("{who}: {rows} rows became {requests} requests for {distinct} tickets").into()
            );
        }
        Ok(count)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
