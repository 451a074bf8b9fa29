//! Which proxy leads to a host, by the variables that every program of the hub reads. ureq reads them too, but takes one
//! proxy for every address and passes over one that it cannot read.

use ureq::Proxy;
use url::Url;

/// Each variable in the spelling that is asked for first.
const SCHEMES: [(&str, &str); 3] = [("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY"), ("", "ALL_PROXY")];

/// The proxies of the environment.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    named: Vec<Named>,
    /// Hosts to which none leads.
    direct: Vec<String>,
}

/// A proxy for addresses of a scheme, or of any.
#[derive(Clone)]
struct Named {
    scheme: &'static str,
    variable: &'static str,
    address: String,
}

/// An address may hold a password.
impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.variable)
    }
}

/// A variable that names no proxy.
#[derive(Debug, PartialEq, Eq)]
pub struct NoProxy(pub &'static str);

/// Small letters come first, as everywhere.
pub fn read(text: impl Fn(&str) -> Option<String>) -> Proxies {
    let either = |name: &str| text(&name.to_ascii_lowercase()).or_else(|| text(name));
    let named = SCHEMES.into_iter().filter_map(|(scheme, variable)| {
        let address = either(variable)?;
        // Of a host alone the scheme is left out.
        let address = if address.contains("://") { address } else { format!("http://{address}") };
        Some(Named { scheme, variable, address })
    });
    let direct = either("NO_PROXY").unwrap_or_default();
    let direct = direct.split(',').map(|host| host.trim().to_ascii_lowercase()).filter(|host| !host.is_empty());
    Proxies { named: named.collect(), direct: direct.collect() }
}

impl Proxies {
    /// The proxy that leads to an address, if one does, and the variable that names it.
    pub fn to(&self, url: &Url) -> Result<Option<(&'static str, Proxy)>, NoProxy> {
        if self.direct.iter().any(|entry| is_direct(entry, url)) {
            return Ok(None);
        }
        let fits = |scheme: &str| self.named.iter().find(|named| named.scheme == scheme);
        match fits(url.scheme()).or_else(|| fits("")) {
            Some(named) => match Proxy::new(&named.address) {
                Ok(proxy) => Ok(Some((named.variable, proxy))),
                Err(_) => Err(NoProxy(named.variable)),
            },
            None => Ok(None),
        }
    }
}

/// `*`, a host with all below it, `.domain` with all below it only, an address; each may have a port.
fn is_direct(entry: &str, url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let entry = entry.split_once("://").map_or(entry, |(_, entry)| entry);
    let (name, port) = match entry.rsplit_once(':') {
        // More colons are an IPv6 address, unless it stands in brackets.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse::<u16>().ok()),
        _ => (entry, None),
    };
    if port.is_some_and(|port| url.port_or_known_default() != Some(port)) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(domain) => below(domain),
        None => name == "*" || name == host || below(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(variables: &[(&str, &str)], url: &str) -> Result<Option<String>, NoProxy> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let found = read(find).to(&url.parse().expect("an address"))?;
        Ok(found.map(|(variable, proxy)| format!("{variable} {}:{}", proxy.host(), proxy.port())))
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_have_one() {
        let variables =
            [("HTTPS_PROXY", "http://s:1"), ("https_proxy", "http://small:2"), ("ALL_PROXY", "socks5h://any:3")];
        assert_eq!(to(&variables, "https://hub/x"), Ok(Some("HTTPS_PROXY small:2".to_owned())));
        assert_eq!(to(&variables, "http://hub/x"), Ok(Some("ALL_PROXY any:3".to_owned())));
        assert_eq!(to(&[("HTTP_PROXY", "plain:8080")], "http://hub/x"), Ok(Some("HTTP_PROXY plain:8080".to_owned())));
        assert_eq!(to(&[("HTTP_PROXY", "plain:8080")], "https://hub/x"), Ok(None));
        assert_eq!(to(&[("ALL_PROXY", "ftp://x")], "https://hub/x"), Err(NoProxy("ALL_PROXY")));
    }

    #[test]
    fn some_hosts_are_asked_without_one() {
        let direct = |list: &str, url: &str| {
            to(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", list)], url).expect("a proxy").is_none()
        };
        for (list, url) in [
            ("*", "https://hub.example/"),
            ("other, HUB.example", "https://hub.example/"),
            ("example", "https://hub.example/"),
            (".example", "https://hub.example/"),
            ("hub.example:8443", "https://hub.example:8443/"),
            ("127.0.0.1", "http://127.0.0.1:1/"),
            ("::1", "http://[::1]:1/"),
            ("[::1]:1", "http://[::1]:1/"),
            ("http://hub.example", "http://hub.example/"),
        ] {
            assert!(direct(list, url), "{list} {url}");
        }
        for (list, url) in [
            ("ub.example", "https://hub.example/"),
            (".hub.example", "https://hub.example/"),
            ("hub.example:8443", "https://hub.example/"),
            ("127.0.0.1", "http://127.0.0.2:1/"),
            ("", "https://hub.example/"),
        ] {
            assert!(!direct(list, url), "{list} {url}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let proxies = read(|name| (name == "ALL_PROXY").then(|| "http://me:secret@p:1".to_owned()));
        assert!(!format!("{proxies:?}").contains("secret"));
    }
}
