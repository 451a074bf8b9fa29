//! The address of the hub, or of a mirror. It may hold a password, which goes to that server and is shown to nobody.

use std::fmt;

use url::{Host, Origin, Url};

use super::proxies::{NoProxy, Proxies};

/// An http address without a slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    shown: String,
}

/// Who can read what is sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Nobody: it is encrypted, or does not leave this machine.
    Private,
    /// The proxy that this variable names, and whoever is on the way to it.
    Proxied(&'static str),
    /// Whoever is on the way.
    Readable,
}

impl Endpoint {
    /// Why a text is none does not quote it: of what cannot be read it is not known where a password stands.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        const NONE: &str = "it is no address of a hub: https://HOST is, or http://HOST:PORT";
        let speaks = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        // Paths are put at its end.
        let ends = |url: &Url| url.query().is_none() && url.fragment().is_none();
        let url = text.parse::<Url>().ok().filter(|url| speaks(url) && ends(url)).ok_or(NONE)?;
        let mut plain = url.clone();
        plain.set_username("").and_then(|()| plain.set_password(None)).map_err(|()| NONE)?;
        Ok(Self { url, shown: plain.as_str().trim_end_matches('/').to_owned() })
    }

    /// What is asked, with the password.
    pub fn address(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// What people see.
    pub fn public_url(&self) -> &str {
        &self.shown
    }

    /// Whether somebody between here and there can read what is sent. What goes to this machine itself does not leave it,
    /// unless a proxy is asked to bring it there.
    pub fn privacy(&self, proxies: &Proxies) -> Privacy {
        let here = match self.url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        // Through a proxy too, what is encrypted is so from here to there.
        match (self.url.scheme(), here, proxies.to(&self.url)) {
            ("https", ..) | (_, true, Ok(None)) => Privacy::Private,
            (_, true, Ok(Some((variable, _))) | Err(NoProxy(variable))) => Privacy::Proxied(variable),
            (_, false, _) => Privacy::Readable,
        }
    }

    /// Scheme, host and port: whoever is to hear the token.
    pub fn origin(&self) -> Origin {
        self.url.origin()
    }
}

/// A password never gets into a log.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::proxies;

    #[test]
    fn an_endpoint_is_an_http_address() {
        for (text, is) in [
            ("https://huggingface.co", "https://huggingface.co"),
            ("https://mirror.example//", "https://mirror.example"),
            ("http://127.0.0.1:8080/hf/", "http://127.0.0.1:8080/hf"),
        ] {
            let endpoint = Endpoint::read(text).expect("an address");
            assert_eq!((endpoint.address(), endpoint.public_url()), (is, is));
        }
        for wrong in
            ["huggingface.co", "hub.example:443", "ftp://hub.example", "https://", "https://hub.example?a=b", ""]
        {
            assert!(Endpoint::read(wrong).is_err(), "{wrong}");
        }
    }

    fn privacy(text: &str, variables: &[(&str, &str)]) -> Privacy {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Endpoint::read(text).expect("an address").privacy(&proxies::read(find))
    }

    #[test]
    fn what_goes_over_http_to_another_machine_can_be_read_on_the_way() {
        for (text, is) in [
            ("https://hub.example", Privacy::Private),
            ("http://127.0.0.1:8080", Privacy::Private),
            ("http://[::1]:8080/hf", Privacy::Private),
            ("http://localhost", Privacy::Private),
            ("http://hub.example", Privacy::Readable),
            ("http://192.168.1.7:8080", Privacy::Readable),
            ("http://localhost.example", Privacy::Readable),
        ] {
            assert_eq!(privacy(text, &[]), is, "{text}");
        }
    }

    #[test]
    fn what_goes_to_this_machine_by_way_of_a_proxy_leaves_it() {
        for here in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost"] {
            let proxied = Privacy::Proxied("ALL_PROXY");
            assert_eq!(privacy(here, &[("ALL_PROXY", "http://p.example:1")]), proxied, "{here}");
            assert_eq!(privacy(here, &[("ALL_PROXY", "what is no proxy")]), proxied, "{here}");
            assert_eq!(privacy(here, &[("HTTPS_PROXY", "http://p.example:1")]), Privacy::Private, "{here}");
            let direct = [("ALL_PROXY", "http://p.example:1"), ("NO_PROXY", "127.0.0.1,::1,localhost")];
            assert_eq!(privacy(here, &direct), Privacy::Private, "{here}");
        }
        assert_eq!(privacy("https://hub.example", &[("ALL_PROXY", "http://p.example:1")]), Privacy::Private);
    }

    #[test]
    fn a_password_is_sent_and_not_shown() {
        let endpoint = Endpoint::read("https://me:secret@mirror.example/hf/").expect("an address");
        assert_eq!(endpoint.address(), "https://me:secret@mirror.example/hf");
        assert_eq!(endpoint.public_url(), "https://mirror.example/hf");
        assert_eq!(format!("{endpoint:?}"), endpoint.public_url());
        assert!(Endpoint::read("me:secret@mirror").is_err_and(|reason| !reason.contains("secret")));
    }
}
