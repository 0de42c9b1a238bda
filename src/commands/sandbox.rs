//! `deskload sandbox`: a local desk to try things on, until Ctrl-C.

use crate::cli::SandboxArgs;
use crate::commands::print;
use crate::error::Error;
use crate::sandbox::options::{parse_latency, parse_probability, parse_rate};
use crate::sandbox::{self, Options};
use crate::shutdown::Shutdown;
use crate::voice::say;

/// Runs it. The first line on standard output is the address, for scripts.
pub fn run(args: &SandboxArgs) -> Result<(), Error> {
    let options = options(args)?;
    let shutdown = Shutdown::listen()?;
    shutdown.begin_sending();
    let token = options.token.clone();
    let counts = sandbox::run_until(options, shutdown.token(), |url| {
        print(&format!("{url}\n"));
        say(&format!("any --account-email, token {token}; Ctrl-C ends it"));
    })?;
    say(&format!(
        "{} requests, {} applied, {} throttled, {} left without an answer",
        counts.requests, counts.applied, counts.throttled, counts.dropped
    ));
    Ok(())
}

fn options(args: &SandboxArgs) -> Result<Options, Error> {
    let flag = |name: &'static str| move |why: String| Error::Usage(format!("--{name} {why}"));
    let rate = args.rate.as_deref().map(parse_rate).transpose().map_err(flag("rate"))?;
    let fail = args.fail.as_deref().map(parse_probability).transpose().map_err(flag("fail"))?;
    let drop = args.drop.as_deref().map(parse_probability).transpose().map_err(flag("drop"))?;
    let latency = args.latency.as_deref().map(parse_latency).transpose().map_err(flag("latency"))?;
    let usual = Options::default();
    Ok(Options {
        port: args.port,
        rate,
        fail: fail.unwrap_or(usual.fail),
        drop: drop.unwrap_or(usual.drop),
        latency: latency.unwrap_or(usual.latency),
        seed: args.seed,
        log: args.log.clone(),
        ..usual
    })
}
