//! The clients, each in a process of its own: `client reqwest|hyper|sending …`, which this program calls itself with.
//!
//! The bare loops keep nothing and check only that the reply is a success: what any client must do at the least.
//! They say on standard output how long the sending took and the CPU that it cost.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;

use crate::machine::{Cpu, Watch, own_cpu};
use crate::{Result, machine, rows, sending};

/// What a client came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) seconds: f64,
    pub(crate) cpu: Cpu,
}

/// Work shared by the tasks of a loop.
type Bodies = Arc<(AtomicUsize, Vec<Bytes>)>;

/// The client's side of [`start`].
pub(crate) fn main(words: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ran = match words {
        ["sending", url, input, place, concurrency, marked_max] => sending::drive(&sending::Order {
            place: Path::new(place),
            input: Path::new(input),
            url,
            concurrency: concurrency.parse()?,
            marked_max: marked_max.parse()?,
        })?,
        [kind, url, rows, concurrency] => {
            let (rows, concurrency): (u64, usize) = (rows.parse()?, concurrency.parse()?);
            let bodies = (1..=rows).map(|row| rows::body(row).into()).collect();
            let bodies = Arc::new((AtomicUsize::new(0), bodies));
            let (began, cpu) = (Instant::now(), own_cpu()?);
            match *kind {
                "reqwest" => runtime.block_on(with_reqwest(url, &bodies, concurrency))?,
                "hyper" => runtime.block_on(with_hyper(url, &bodies, concurrency))?,
                _ => return Err("no such client".into()),
            }
            Ran { seconds: began.elapsed().as_secs_f64(), cpu: own_cpu()?.since(cpu) }
        }
        _ => return Err("a client needs its words".into()),
    };
    println!("{} {} {}", ran.seconds, ran.cpu.user, ran.cpu.system);
    Ok(())
}

/// Runs a client to its end in a process of its own.
pub(crate) fn start(words: &[&str]) -> Result<Ran> {
    let out =
        Command::new(std::env::current_exe()?).arg("client").args(words).stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8(out.stdout)?;
    let figures: Vec<f64> = said.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    match figures[..] {
        [seconds, user, system] if out.status.success() => Ok(Ran { seconds, cpu: Cpu { user, system } }),
        _ => Err(format!("the client {} ended with {}", words.join(" "), out.status).into()),
    }
}

/// Does something, and watches the machine meanwhile.
pub(crate) fn watched<T>(desk: u32, work: impl FnOnce() -> Result<T>) -> Result<(T, machine::Others)> {
    let watch = Watch::begin(Some(desk))?;
    let done = work()?;
    Ok((done, watch.end()?))
}

fn next(bodies: &Bodies) -> Option<Bytes> {
    bodies.1.get(bodies.0.fetch_add(1, Relaxed)).cloned()
}

fn require_success(reply: &[u8]) -> Result<()> {
    if reply.starts_with(br#"{"status":"success""#) {
        return Ok(());
    }
    Err(format!("no success: {}", String::from_utf8_lossy(reply)).into())
}

async fn with_reqwest(url: &str, bodies: &Bodies, concurrency: usize) -> Result<()> {
    let url: reqwest::Url = url.parse()?;
    let client = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .tls_certs_only([])
        .pool_max_idle_per_host(concurrency)
        .build()?;
    let worker = || {
        let (client, url, bodies) = (client.clone(), url.clone(), Arc::clone(bodies));
        let work = async move {
            while let Some(body) = next(&bodies) {
                let request = client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body);
                let reply = request.send().await.map_err(|error| error.to_string())?;
                let reply = reply.bytes().await.map_err(|error| error.to_string())?;
                require_success(&reply).map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        };
        tokio::spawn(work)
    };
    for done in try_join_all((0..concurrency).map(|_| worker())).await? {
        done?;
    }
    Ok(())
}

async fn with_hyper(url: &str, bodies: &Bodies, concurrency: usize) -> Result<()> {
    let url: reqwest::Url = url.parse()?;
    let address = format!("{}:{}", url.host_str().ok_or("no host")?, url.port().ok_or("no port")?);
    let path = url.path().to_owned();
    let worker = || {
        let (address, path, bodies) = (address.clone(), path.clone(), Arc::clone(bodies));
        let work =
            async move { one_connection(&address, &path, &bodies).await.map_err(|error| error.to_string()) };
        tokio::spawn(work)
    };
    for done in try_join_all((0..concurrency).map(|_| worker())).await? {
        done?;
    }
    Ok(())
}

async fn one_connection(
    address: &str,
    path: &str,
    bodies: &Bodies,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    while let Some(body) = next(bodies) {
        let request = Request::post(path)
            .header(HOST, address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let reply = sender.send_request(request).await?;
        let reply = reply.into_body().collect().await?.to_bytes();
        require_success(&reply).map_err(|error| error.to_string())?;
        sender.ready().await?;
    }
    Ok(())
}
