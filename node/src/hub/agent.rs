//! Connections: their limits, their proxy, and whose certificates are believed.

use std::sync::Arc;

use potluck_trainer::files;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};
use url::Url;

use super::limits::{CERTIFICATES_MAX, CONNECT};
use super::proxies::NoProxy;
use super::settings::SettingsError;
use super::{HubError, Settings};

/// Within the settings' times, through their proxies, trusting their certificates.
pub fn new(settings: &Settings) -> Result<Agent, HubError> {
    let mut name = concat!("potluck/", env!("CARGO_PKG_VERSION")).to_owned();
    if let Some(origin) = &settings.origin {
        name.push_str(&format!("; origin/{origin}"));
    }
    let mut config = Agent::config_builder()
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_per_write(Some(settings.stall))
        // Redirects are followed by the client: each is looked at first, and the token stays with the hub.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        // Each request names its own, and how long it reads.
        .proxy(None)
        .user_agent(name);
    if let Some(trusted) = certificates(settings)? {
        config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(trusted))).build());
    }
    Ok(config.build().into())
}

/// The variable that names the proxy to an address, and the proxy.
pub fn proxy(settings: &Settings, url: &Url) -> Result<Option<(&'static str, Proxy)>, HubError> {
    settings.proxies.to(url).map_err(|NoProxy(name)| {
        let reason = "it names no proxy: http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT does";
        SettingsError::Value(name.to_owned(), reason.to_owned()).into()
    })
}

/// Those of the file that a variable names: all that are believed, as in the hub's own programs.
fn certificates(settings: &Settings) -> Result<Option<Vec<Certificate<'static>>>, HubError> {
    let Some((name, path)) = &settings.certificates else { return Ok(None) };
    let wrong = |reason: String| {
        HubError::Settings(SettingsError::Value((*name).to_owned(), format!("{}: {reason}", path.display())))
    };
    let pem = files::read(path, CERTIFICATES_MAX).map_err(|error| wrong(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(wrong("no certificate is in it".to_owned())) } else { Ok(Some(found)) }
}
