//! Which desk, and how it is reached: address, account, proxy, certificates.
//!
//! The address decides where the token goes, so it is refused rather than mended; nothing is sent from here.

use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

use super::Known;
use crate::cli::{DeskArgs, SendArgs};
use crate::config::Profile;
use crate::desk::connect::Proxy;
use crate::desk::proprofs::{self, Connection};
use crate::error::{Error, explained};

pub(super) fn url(args: &DeskArgs, known: Known<'_>) -> Result<Url, Error> {
    let text = args.url.as_deref().or(known.0.map(|desk| desk.url.as_str())).unwrap_or(proprofs::URL);
    let wrong = |why: &str| Error::Usage(format!("--url {text:?} {why}"));
    let url = Url::parse(text)
        .map_err(|_| wrong("is no address; give all of it, such as https://desk.example.com/update/"))?;
    if !url.username().is_empty() || url.password().is_some() {
        // Without the address itself: it holds a secret.
        return Err(Error::Usage("--url must not hold a user name or password; remove it".to_owned()));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => {
            Err(wrong("would send the token unencrypted; use https (plain http is for this machine alone)"))
        }
        _ => Err(wrong("is not an https address; give one that begins with https://")),
    }
}

/// Whether the desk is on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        // An IPv6 address stands in brackets here.
        Some(host) => {
            host.eq_ignore_ascii_case("localhost")
                || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        None => false,
    }
}

pub(super) fn account_email(args: &DeskArgs, known: Known<'_>) -> Result<String, Error> {
    args.account_email
        .clone()
        .or_else(|| known.0.map(|desk| desk.account_email.clone()))
        .map(|email| email.trim().to_owned())
        .filter(|email| !email.is_empty())
        .ok_or_else(|| {
            Error::Usage(
                "the account's e-mail is missing; give it with --account-email or DESKLOAD_ACCOUNT_EMAIL"
                    .to_owned(),
            )
        })
}

/// How the desk is reached.
pub(super) fn connection(
    args: &SendArgs,
    url: Url,
    account_email: String,
    profile: &Profile,
) -> Result<Connection, Error> {
    let SendArgs { desk, pace, .. } = args;
    let proxy = desk.proxy.as_deref().map(|proxy| proxy_for(&url, proxy)).transpose()?;
    Ok(Connection {
        url,
        account_email,
        timeout: pace.timeout,
        // Who wants to wait less than that for an answer does not want to wait so long for a connection either.
        connect_timeout: pace.connect_timeout.min(pace.timeout.mul_f64(0.8)),
        proxy,
        authorities: desk.ca_file.as_deref().map(authorities).transpose()?.unwrap_or_default(),
        rules: profile.rules.clone(),
        custom_fields_as_string: profile.custom_fields_as_string,
    })
}

fn proxy_for(url: &Url, proxy: &str) -> Result<Proxy, Error> {
    // Without the proxy's address: it may hold a password.
    if url.scheme() != "https" {
        return Err(Error::Usage(
            "--proxy would be handed the token unencrypted, because the desk's address is plain http; leave out \
             --proxy (or DESKLOAD_PROXY), or use https"
                .to_owned(),
        ));
    }
    Proxy::parse(proxy).ok_or_else(|| {
        Error::Usage("--proxy is no address of a proxy, such as http://proxy.example.com:3128".to_owned())
    })
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |why: String| Error::Usage(format!("--ca-file {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| wrong(explained(&error)))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| {
        wrong("it is not a certificate in PEM form; name the authority's .pem file".to_owned())
    })?;
    if found.is_empty() {
        Err(wrong("there is no certificate in it; name the authority's .pem file".to_owned()))
    } else {
        Ok(found)
    }
}
