//! What the environment says of the hub, by the variables that `huggingface_hub` reads. `docs/hub.md` lists them all, those
//! that mean nothing here with the reason; a test holds the page against the two lists below.
//!
//! An empty variable is one that is not set.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::endpoint::Endpoint;
use super::limits::{ANSWER, STALL};
use super::proxies::{self, Proxies};
use crate::seconds::Seconds;

const HUB: &str = "https://huggingface.co";
/// Of a path such as `$HOME/models`: it is replaced once, as a shell would.
const VARIABLE_MAX: usize = 64;

/// Every variable that is read, here or in `proxies`.
pub const VARIABLES: [&str; 23] = [
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_DISABLE_PROGRESS_BARS",
    "HF_HUB_DISABLE_SYMLINKS",
    "HF_HUB_USER_AGENT_ORIGIN",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// Where the hub and its cache are, and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://huggingface.co`, or a mirror.
    pub endpoint: Endpoint,
    /// The folder with `models--OWNER--NAME`.
    pub cache: PathBuf,
    /// Where the token is, if there is one.
    pub token: TokenPlace,
    /// The variable that says that nobody is asked.
    pub offline: Option<&'static str>,
    /// How long the hub may take to say what a file is.
    pub answer: Duration,
    /// How long nothing may come while a file is fetched.
    pub stall: Duration,
    /// Whether progress is shown.
    pub bars: bool,
    /// Whether snapshots link to blobs; else they hold copies or hard links.
    pub symlinks: bool,
    /// The proxies of the environment.
    pub proxies: Proxies,
    /// Certificates to trust instead of the web's: the variable and its file.
    pub certificates: Option<(&'static str, PathBuf)>,
    /// The program on whose behalf is asked, as the user agent names it.
    pub origin: Option<String>,
}

/// Where the token is. It is sent to the endpoint and to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// None is sent.
    Nowhere,
    Variable(&'static str, String),
    /// Left by `hf auth login`, if it is there.
    File(PathBuf),
}

/// A token never gets into a log.
impl fmt::Debug for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("no token"),
            Self::Variable(name, _) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why the variables cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum SettingsError {
    #[error("this system names no home folder for its user, so there is no place for the hub's cache")]
    NoHome,
    #[error("{0}: {1}")]
    Value(String, String),
}

/// The settings by the variables that `get` gives and the home folder of the user.
pub fn read(get: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Result<Settings, SettingsError> {
    let reader = Reader { get: &get, home };
    let root = reader.root();
    let cache = reader.path("HF_HUB_CACHE").or_else(|| reader.path("HUGGINGFACE_HUB_CACHE"));
    let cache = cache.or_else(|| root.as_ref().map(|root| root.join("hub"))).ok_or(SettingsError::NoHome)?;
    Ok(Settings {
        endpoint: reader.endpoint()?,
        cache,
        token: reader.token(root),
        offline: reader.offline(),
        answer: reader.seconds("HF_HUB_ETAG_TIMEOUT")?.unwrap_or(ANSWER),
        stall: reader.seconds("HF_HUB_DOWNLOAD_TIMEOUT")?.unwrap_or(STALL),
        bars: !reader.is_true("HF_HUB_DISABLE_PROGRESS_BARS"),
        symlinks: !reader.is_true("HF_HUB_DISABLE_SYMLINKS"),
        proxies: proxies::read(|name| reader.text(name)),
        certificates: ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
            .into_iter()
            .find_map(|name| Some((name, reader.path(name)?))),
        origin: reader.origin()?,
    })
}

struct Reader<'a, G> {
    get: &'a G,
    home: Option<&'a Path>,
}

impl<G: Fn(&str) -> Option<OsString>> Reader<'_, G> {
    fn raw(&self, name: &str) -> Option<OsString> {
        (self.get)(name).filter(|value| !value.is_empty())
    }

    /// What is no UTF-8 is nothing that is meant here.
    fn text(&self, name: &str) -> Option<String> {
        let text = self.raw(name)?.into_string().ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| truth(&value))
    }

    /// The first of the two that is set decides.
    fn offline(&self) -> Option<&'static str> {
        let named = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].map(|name| (name, self.text(name)));
        let (name, value) = named.into_iter().find_map(|(name, value)| Some((name, value?)))?;
        truth(&value).then_some(name)
    }

    fn endpoint(&self) -> Result<Endpoint, SettingsError> {
        let text = self.text("HF_ENDPOINT");
        Endpoint::read(text.as_deref().unwrap_or(HUB)).map_err(|reason| wrong("HF_ENDPOINT", reason))
    }

    /// It goes into a header of one line.
    fn origin(&self) -> Result<Option<String>, SettingsError> {
        const NAME: &str = "HF_HUB_USER_AGENT_ORIGIN";
        match self.text(NAME) {
            Some(text) if text.chars().any(char::is_control) => {
                Err(wrong(NAME, "it holds a character that steers a terminal or ends a line"))
            }
            text => Ok(text),
        }
    }

    /// As there, zero stands for what is usual.
    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, SettingsError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let seconds: Seconds =
            text.parse().map_err(|_| wrong(name, format!("`{text}` is no whole number of seconds")))?;
        Ok(Some(seconds.duration()).filter(|duration| !duration.is_zero()))
    }

    /// `~` is the home folder, `$NAME` and `${NAME}` are what they stand for.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.raw(name)?;
        let Some(text) = value.to_str() else { return Some(value.into()) };
        let text = self.expand(text);
        match (text.strip_prefix('~'), self.home) {
            (Some(""), Some(home)) => Some(home.to_path_buf()),
            (Some(rest), Some(home)) if rest.starts_with('/') => Some(home.join(rest.trim_start_matches('/'))),
            _ => Some(text.into()),
        }
    }

    /// A variable that is not set stays as it is written.
    fn expand(&self, text: &str) -> String {
        let (mut done, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            done.push_str(before);
            let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let bare = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, left) = braced.unwrap_or_else(|| after.split_at(bare));
            let plain = (1..=VARIABLE_MAX).contains(&name.len());
            match (self.get)(name).filter(|_| plain).and_then(|value| value.into_string().ok()) {
                Some(value) => {
                    done.push_str(&value);
                    rest = left;
                }
                None => {
                    done.push('$');
                    rest = after;
                }
            }
        }
        done + rest
    }

    /// What the hub's programs keep, beside the cache itself.
    fn root(&self) -> Option<PathBuf> {
        self.path("HF_HOME").or_else(|| {
            let caches = self.path("XDG_CACHE_HOME").or_else(|| Some(self.home?.join(".cache")))?;
            Some(caches.join("huggingface"))
        })
    }

    fn token(&self, root: Option<PathBuf>) -> TokenPlace {
        if self.is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return TokenPlace::Nowhere;
        }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Some(token) = self.text(name) {
                return TokenPlace::Variable(name, token);
            }
        }
        let file = self.path("HF_TOKEN_PATH").or_else(|| root.map(|root| root.join("token")));
        file.map_or(TokenPlace::Nowhere, TokenPlace::File)
    }
}

fn wrong(name: &str, reason: impl Into<String>) -> SettingsError {
    SettingsError::Value(name.to_owned(), reason.into())
}

fn truth(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].iter().any(|truth| value.eq_ignore_ascii_case(truth))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        read(find, Some(Path::new("/home/me")))
    }

    fn read_with(variables: &[(&str, &str)]) -> Settings {
        with(variables).unwrap_or_else(|error| panic!("{variables:?}: {error}"))
    }

    #[test]
    fn without_variables_it_is_the_hub_and_its_usual_cache() {
        for empty in [&[][..], &[("HF_ENDPOINT", ""), ("HF_HOME", ""), ("HF_TOKEN", " \n"), ("HF_HUB_OFFLINE", "")]] {
            let settings = read_with(empty);
            assert_eq!(settings.endpoint.address(), "https://huggingface.co");
            assert_eq!(settings.cache, Path::new("/home/me/.cache/huggingface/hub"));
            assert_eq!(settings.token, TokenPlace::File("/home/me/.cache/huggingface/token".into()));
            assert_eq!((settings.offline, settings.answer, settings.stall), (None, ANSWER, STALL));
            assert!(settings.bars && settings.symlinks && settings.certificates.is_none() && settings.origin.is_none());
        }
        assert_eq!(read(|_| None, None).err(), Some(SettingsError::NoHome));
    }

    #[test]
    fn an_endpoint_that_is_none_is_named_and_not_quoted() {
        for text in ["huggingface.co", "me:secret@mirror.example", "ftp://me:secret@mirror.example"] {
            let error = with(&[("HF_ENDPOINT", text)]).expect_err(text).to_string();
            assert!(error.starts_with("HF_ENDPOINT: ") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn no_secret_is_in_the_debug_form() {
        let all = [("HF_ENDPOINT", "https://me:secret@mirror.example"), ("HF_TOKEN", "hf_secret")];
        let shown = format!("{:?}", read_with(&all));
        assert!(shown.contains("https://mirror.example") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_the_program_calls_itself_stays_in_one_line() {
        for text in ["a\r\nHost: b", "a\tb", "a\u{7f}b", "a\0b"] {
            let error = with(&[("HF_HUB_USER_AGENT_ORIGIN", text)]).expect_err(text).to_string();
            assert!(error.starts_with("HF_HUB_USER_AGENT_ORIGIN: "), "{error}");
        }
        assert_eq!(read_with(&[("HF_HUB_USER_AGENT_ORIGIN", "a partner\n")]).origin.as_deref(), Some("a partner"));
    }

    #[test]
    fn the_cache_is_named_by_the_nearest_variable() {
        let rows = [
            ("XDG_CACHE_HOME", "/x", "/x/huggingface/hub"),
            ("HF_HOME", "/h", "/h/hub"),
            ("HUGGINGFACE_HUB_CACHE", "/old", "/old"),
            ("HF_HUB_CACHE", "/c", "/c"),
        ];
        // Each one weighs more than those before it.
        for count in 1..=rows.len() {
            let variables: Vec<_> = rows[..count].iter().map(|(name, value, _)| (*name, *value)).collect();
            assert_eq!(read_with(&variables).cache, Path::new(rows[count - 1].2), "{variables:?}");
        }
    }

    #[test]
    fn paths_are_written_as_in_a_shell() {
        let rows = [
            ("~/m", "/home/me/m"),
            ("~", "/home/me"),
            ("$DISK/m", "/disk/m"),
            ("${DISK}s/$DISK", "/disks//disk"),
            ("/a/$NONE/b", "/a/$NONE/b"),
            ("/a/$", "/a/$"),
            ("/a~b", "/a~b"),
            ("~you/m", "~you/m"),
            ("/${DISK", "/${DISK"),
        ];
        for (written, meant) in rows {
            let settings = read_with(&[("HF_HUB_CACHE", written), ("DISK", "/disk")]);
            assert_eq!(settings.cache, Path::new(meant), "{written}");
        }
    }

    #[test]
    fn a_token_comes_from_a_variable_a_file_or_nowhere() {
        let variable = |name, token: &str| TokenPlace::Variable(name, token.to_owned());
        let rows: [(&[(&str, &str)], TokenPlace); 5] = [
            (&[("HF_TOKEN", " hf_a\r\n"), ("HUGGING_FACE_HUB_TOKEN", "hf_b")], variable("HF_TOKEN", "hf_a")),
            (&[("HUGGING_FACE_HUB_TOKEN", "hf_b")], variable("HUGGING_FACE_HUB_TOKEN", "hf_b")),
            (&[("HF_TOKEN_PATH", "~/t"), ("HF_HOME", "/h")], TokenPlace::File("/home/me/t".into())),
            // The cache alone is elsewhere: the token is not.
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")], TokenPlace::File("/h/token".into())),
            (&[("HF_TOKEN", "hf_a"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], TokenPlace::Nowhere),
        ];
        for (variables, token) in rows {
            assert_eq!(read_with(variables).token, token, "{variables:?}");
        }
    }

    #[test]
    fn offline_is_what_the_first_variable_says() {
        let rows: [(&[(&str, &str)], _); 5] = [
            (&[("HF_HUB_OFFLINE", "1")], Some("HF_HUB_OFFLINE")),
            (&[("HF_HUB_OFFLINE", "true")], Some("HF_HUB_OFFLINE")),
            (&[("TRANSFORMERS_OFFLINE", "yes")], Some("TRANSFORMERS_OFFLINE")),
            (&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")], None),
            (&[("HF_HUB_OFFLINE", "2")], None),
        ];
        for (variables, offline) in rows {
            assert_eq!(read_with(variables).offline, offline, "{variables:?}");
        }
    }

    #[test]
    fn times_are_whole_seconds_and_a_wrong_one_is_named() {
        let settings = read_with(&[("HF_HUB_ETAG_TIMEOUT", "3"), ("HF_HUB_DOWNLOAD_TIMEOUT", "0")]);
        assert_eq!((settings.answer, settings.stall), (Duration::from_secs(3), STALL));
        let error = with(&[("HF_HUB_DOWNLOAD_TIMEOUT", "1.5")]).expect_err("no whole number");
        assert_eq!(error.to_string(), "HF_HUB_DOWNLOAD_TIMEOUT: `1.5` is no whole number of seconds");
    }

    #[test]
    fn the_others_do_what_they_are_called() {
        let settings = read_with(&[
            ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
            ("HF_HUB_DISABLE_SYMLINKS", "on"),
            ("HF_HUB_USER_AGENT_ORIGIN", "a-partner"),
            ("CURL_CA_BUNDLE", "/curl.pem"),
            ("REQUESTS_CA_BUNDLE", "/requests.pem"),
        ]);
        assert!(!settings.bars && !settings.symlinks);
        assert_eq!(settings.origin.as_deref(), Some("a-partner"));
        assert_eq!(settings.certificates, Some(("REQUESTS_CA_BUNDLE", "/requests.pem".into())));
        let first = [("SSL_CERT_FILE", "/ssl.pem"), ("REQUESTS_CA_BUNDLE", "/requests.pem")];
        assert_eq!(read_with(&first).certificates, Some(("SSL_CERT_FILE", "/ssl.pem".into())));
    }

    /// The variables of a table's rows, with what the second cell says of them.
    fn page() -> Vec<(String, bool)> {
        let page = include_str!("../../../docs/hub.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        rows.flat_map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let (names, meaning) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let not = meaning.starts_with("not: ");
            names.split('`').skip(1).step_by(2).map(|name| (name.to_owned(), not)).collect::<Vec<_>>()
        })
        .collect()
    }

    /// The reader, its list and the page name the same variables.
    #[test]
    fn the_page_lists_what_is_read_and_what_is_not() {
        let asked = RefCell::new(BTreeSet::new());
        let ask = |name: &str| {
            asked.borrow_mut().insert(name.to_ascii_uppercase());
            None
        };
        read(ask, Some(Path::new("/home/me"))).expect("nothing is set");
        let list: BTreeSet<String> = VARIABLES.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(asked.into_inner(), list, "what is asked for is what the list says");
        let page = page();
        let read: BTreeSet<String> = page.iter().filter(|(_, not)| !not).map(|(name, _)| name.clone()).collect();
        assert_eq!(read, list, "docs/hub.md says what each does");
        let names: BTreeSet<&String> = page.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), page.len(), "each has one row");
        // Those of `huggingface_hub` 2.4 that mean something where files are fetched.
        for known in ["HF_HUB_DISABLE_XET", "HF_HUB_ENABLE_HF_TRANSFER", "HF_DEBUG", "HF_HUB_DISABLE_TELEMETRY"] {
            assert!(page.contains(&(known.to_owned(), true)), "{known}: not, and why");
        }
    }
}
