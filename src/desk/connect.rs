//! How a connection to the desk is made, and what it proves when none comes about.
//!
//! All of this is before a request's first byte, so whatever goes wrong here was not sent; only a certificate that is
//! not valid is more, because it stays so. Names, addresses and both families of them are hyper-util's, TLS is
//! rustls's, and so is what it trusts: the system's authorities, and those that a person named. Through a proxy
//! (`CONNECT`) TLS is with the desk itself, so that the proxy sees neither token nor ticket.
//!
//! Never: the environment's proxies, HTTP/2, TLS without a look at the certificate, plain http to anywhere but the route
//! that was made for it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HeaderValue;
use hyper::rt::{Read, Write};
use hyper::service::Service;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::service::TowerToHyperService;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;
use tokio::time::timeout;
use url::Url;

use super::verdict::Trouble;

/// A head beyond this is no answer, and what a connection holds of an answer at once.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A peer that has gone without a word is noticed after 15 s and four looks, or once it has acknowledged nothing
/// for 30 s.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Sends requests on a connection, one after the other.
pub(super) type Sender = SendRequest<Full<Bytes>>;

type AnyError = Box<dyn StdError + Send + Sync>;

/// A proxy that was asked for, with the user and the password that its address may hold.
pub struct Proxy {
    address: Uri,
    credentials: Option<HeaderValue>,
}

impl Proxy {
    /// Reads `http://user:password@proxy.example.com:3128`, or https; without a scheme it is http.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let anywhere = Uri::from_static("https://desk.invalid/");
        let found = Matcher::builder().all(String::from(url)).build().intercept(&anywhere)?;
        Some(Self { address: found.uri().clone(), credentials: found.basic_auth().cloned() })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Makes connections to one desk.
pub(super) struct Connector {
    route: Route,
    desk: Uri,
    timeout: Duration,
}

/// What lies between here and the desk.
enum Route {
    /// Nothing: it is on this machine.
    Plain(TowerToHyperService<HttpConnector>),
    Tls(TowerToHyperService<HttpsConnector<HttpConnector>>),
    /// TLS with the desk, inside a tunnel, inside TLS with the proxy if its address says https.
    Proxied(Box<TowerToHyperService<HttpsConnector<Tunnel<HttpsConnector<HttpConnector>>>>>),
}

impl Connector {
    /// Gets the authorities; connects to nothing yet. Plain http goes to loopback alone and needs none; asking for the
    /// system's would fail on a machine that has none.
    pub(super) fn new(
        desk: Uri,
        timeout: Duration,
        proxy: Option<Proxy>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
        let route = if desk.scheme_str() == Some("http") {
            Route::Plain(TowerToHyperService::new(tcp))
        } else {
            tcp.enforce_http(false);
            let tls = tls(authorities)?;
            match proxy {
                None => Route::Tls(over(tcp, tls)),
                Some(Proxy { address, credentials }) => {
                    let mut tunnel = Tunnel::new(address, HttpsConnector::from((tcp, tls.clone())));
                    if let Some(credentials) = credentials {
                        tunnel = tunnel.with_auth(credentials);
                    }
                    Route::Proxied(Box::new(over(tunnel, tls)))
                }
            }
        };
        Ok(Self { route, desk, timeout })
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> Result<Sender, Trouble> {
        let connecting = async {
            match &self.route {
                Route::Plain(connector) => open(connector, &self.desk).await,
                Route::Tls(connector) => open(connector, &self.desk).await,
                Route::Proxied(connector) => open(&**connector, &self.desk).await,
            }
        };
        match timeout(self.timeout, connecting).await {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(error)) => Err(match certificate_trouble(&*error) {
                Some(why) => Trouble::Certificate(why),
                None => Trouble::NotConnected(innermost(&*error)),
            }),
            Err(_) => Err(Trouble::NotConnected("no connection within the connect timeout".to_owned())),
        }
    }
}

fn over<C>(connector: C, tls: ClientConfig) -> TowerToHyperService<HttpsConnector<C>> {
    let mut connector = HttpsConnector::from((connector, tls));
    connector.enforce_https();
    TowerToHyperService::new(connector)
}

fn tls(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))?;
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = vec!["http/1.1".into()];
    Ok(tls)
}

/// The connection works in a task of its own: it notices at once when the desk closes it, or says what nobody asked
/// for, and ends.
async fn open<C>(connector: &C, desk: &Uri) -> Result<Sender, AnyError>
where
    C: Service<Uri>,
    C::Response: Read + Write + Unpin + Send + 'static,
    C::Error: Into<AnyError>,
{
    let stream = connector.call(desk.clone()).await.map_err(Into::into)?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(stream).await?;
    tokio::spawn(connection);
    // Until then it looks as one that is closed.
    sender.ready().await?;
    Ok(sender)
}

/// A certificate that is not valid stays so; a handshake that breaks off may pass.
fn certificate_trouble(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = Some(error);
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

/// The last cause, which says what happened; the outer ones say where.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_http_or_https_and_keeps_its_password_to_itself() {
        let proxy = Proxy::parse("https://o%40ps:hunter%3A2@proxy.example.com:3128/x").unwrap();
        assert_eq!(proxy.address, "https://proxy.example.com:3128/");
        // printf 'o@ps:hunter:2' | base64
        assert_eq!(proxy.credentials.as_ref().unwrap().as_bytes(), b"Basic b0BwczpodW50ZXI6Mg==");
        assert!(!format!("{proxy:?}").contains("hunter"));
        let bare = Proxy::parse("localhost:3128").unwrap();
        assert_eq!(bare.address, "http://localhost:3128/");
        assert!(bare.credentials.is_none());
        assert_eq!(Proxy::parse("http://[::1]:3128").unwrap().address, "http://[::1]:3128/");
        for wrong in ["", "socks5://proxy:1080", "http://u:p@[bad", "ftp://proxy", "http://"] {
            assert!(Proxy::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
