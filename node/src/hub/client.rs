//! The hub's read API: the commit and the files of a repository, where each file is, and its bytes from an offset.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};
use url::Url;

use super::answer::{Again, Fault, Question, judge, page_error};
use super::endpoint::Privacy;
use super::id::is_commit;
use super::limits::{ASKED_MAX, BODY, LIST_MAX, REDIRECTS, SMALL_MAX, TOTAL_MAX};
use super::token::{self, Token};
use super::{HubError, HubId, Settings, Talk, agent, page, retry};

/// A repository at one commit.
pub struct Repository {
    /// The commit that the revision is now.
    pub commit: String,
    /// The names of its files.
    pub files: Vec<String>,
}

/// A file on the hub.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its path in the repository.
    pub name: String,
    /// Where it is fetched, after all redirects.
    pub url: String,
    /// A plain name: SHA-256 of large files, the git hash of small ones, or what a mirror made up.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Asks the hub about one revision of one repository.
pub struct Client<'a> {
    agent: Agent,
    settings: &'a Settings,
    id: &'a HubId,
    token: Option<Token>,
    talk: &'a Talk,
}

/// How long is waited for an answer.
#[derive(Clone, Copy)]
struct Patience {
    head: Duration,
    /// All of its body; of a file there is no telling.
    body: Option<Duration>,
}

impl Patience {
    fn answer(head: Duration) -> Self {
        Self { head, body: Some(BODY) }
    }

    fn file(head: Duration) -> Self {
        Self { head, body: None }
    }
}

/// An answer, and what the hub said of the file before it sent us elsewhere.
struct Answer {
    response: Response<Body>,
    said: Said,
}

#[derive(Default)]
struct Said {
    etag: Option<String>,
    commit: Option<String>,
    size: Option<u64>,
}

impl Said {
    /// The hub says it first; where it sends us may say something else of the same file.
    fn hear(&mut self, headers: &HeaderMap) {
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        self.etag = self.etag.take().or_else(|| said("x-linked-etag").or_else(|| said("etag")).map(bare));
        self.commit = self.commit.take().or_else(|| said("x-repo-commit").map(str::to_owned));
        self.size = self.size.or_else(|| said("x-linked-size")?.parse().ok());
    }
}

impl<'a> Client<'a> {
    /// Reads the token, if there is one. Nothing is asked yet.
    pub fn new(settings: &'a Settings, id: &'a HubId, talk: &'a Talk) -> Result<Self, HubError> {
        let token = token::read(&settings.token, talk)?.filter(|token| may_send(token, settings, talk));
        Ok(Self { agent: agent::new(settings)?, settings, id, token, talk })
    }

    /// What is asked about.
    pub fn id(&self) -> &HubId {
        self.id
    }

    /// Which commit the revision is, and what is in it.
    pub fn repository(&self) -> Result<Repository, HubError> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let what = self.id.to_string();
        let url = format!("{}/api/{}", self.settings.endpoint.address(), self.id.route());
        let body = self.until_answered(|| self.list(&what, &url, Patience::answer(self.settings.answer)))?;
        if page::is_web_page(&body) {
            return Err(page_error(&self.question(&what, None), page::title(&body)));
        }
        let info: Info = serde_json::from_slice(&body).map_err(|error| HubError::answer(&what, error.to_string()))?;
        if !is_commit(&info.sha) {
            return Err(HubError::answer(&what, "it names no commit"));
        }
        // Whoever names a commit means its files and no other ones.
        let pinned = self.id.revision().to_ascii_lowercase();
        if is_commit(&pinned) && info.sha != pinned {
            return Err(HubError::answer(&what, format!("it answers with another commit, {}", info.sha)));
        }
        Ok(Repository { commit: info.sha, files: info.siblings.into_iter().map(|file| file.rfilename).collect() })
    }

    /// A list of bounded length, in bounded time.
    fn list(&self, what: &str, url: &str, patience: Patience) -> Result<Vec<u8>, Fault> {
        let mut answer = self.once(what, url, None, patience)?;
        answer.response.body_mut().with_config().limit(LIST_MAX as u64).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                HubError::answer(what, format!("its list is longer than {LIST_MAX} bytes")).into()
            }
            error => self.connection_fault(&error, None),
        })
    }

    /// Where a file is and how long: its first byte is asked for.
    pub fn remote(&self, commit: &str, name: &str) -> Result<Remote, HubError> {
        let wrong = |reason: String| HubError::answer(name, reason);
        let url = format!("{}/{}/resolve/{commit}/{name}", self.settings.endpoint.address(), self.id.repository());
        let patience = Patience::answer(self.settings.answer);
        let Answer { response, said } = self.get(name, &url, Some("bytes=0-0"), patience)?;
        match said.commit.as_deref() {
            Some(is) if is == commit => {}
            Some(_) => return Err(wrong("it is of another commit than the one that was asked for".to_owned())),
            None => return Err(wrong("it does not say which commit the file is of (`x-repo-commit`)".to_owned())),
        }
        let etag = said.etag.ok_or_else(|| wrong("it says no etag".to_owned()))?;
        if !is_plain(&etag) {
            return Err(wrong(format!("it has no usable etag: \"{}\"", page::cut(&etag, 80))));
        }
        let size = match (response.status(), range(&response)) {
            (_, Some((0, size))) => Some(size),
            // Of one byte; how many there are in all is not said.
            (StatusCode::PARTIAL_CONTENT, _) => said.size,
            // An empty file has no first byte; a server without ranges sends all.
            _ => length(&response).or(said.size),
        };
        let size = size.ok_or_else(|| wrong("its length is not said".to_owned()))?;
        let max = if name.ends_with(".safetensors") { TOTAL_MAX } else { SMALL_MAX };
        if size > max {
            return Err(HubError::TooLarge { what: name.to_owned(), bytes: size, max });
        }
        Ok(Remote { name: name.to_owned(), url, etag, size })
    }

    /// The bytes of a file from `start` on, or from its beginning if the server knows no ranges: where they start.
    pub fn bytes(&self, remote: &Remote, start: u64) -> Result<(u64, Body), HubError> {
        let wrong = |reason: String| HubError::answer(&remote.name, reason);
        let get = |range: Option<&str>| self.get(&remote.name, &remote.url, range, Patience::file(self.settings.stall));
        let answer = match get(Some(&format!("bytes={start}-"))) {
            // A server that gives no rest of a file gives all of it.
            Err(HubError::Status { status: 416, .. }) => get(None)?,
            other => other?,
        };
        let from = match (answer.response.status(), range(&answer.response)) {
            (StatusCode::PARTIAL_CONTENT, Some((from, size))) if size == remote.size => from,
            (StatusCode::PARTIAL_CONTENT, _) => return Err(wrong("its length is another one now".to_owned())),
            _ => 0,
        };
        if from != 0 && from != start {
            return Err(wrong(format!("bytes from {start} on were asked for, bytes from {from} on come")));
        }
        Ok((from, answer.response.into_body()))
    }

    fn get(&self, what: &str, url: &str, range: Option<&str>, patience: Patience) -> Result<Answer, HubError> {
        self.until_answered(|| self.once(what, url, range, patience))
    }

    /// Makes a request again as long as its trouble may pass, a few times, and says so.
    fn until_answered<T>(&self, mut request: impl FnMut() -> Result<T, Fault>) -> Result<T, HubError> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.talk.go_on()?;
            let Fault { error, again } = match request() {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let wait = match (again, retry::pause(tries)) {
                (Again::Never, _) | (_, None) => return Err(error),
                (Again::After(asked), _) if asked > ASKED_MAX => return Err(asking(error, asked)),
                (Again::After(asked), Some(_)) => asked,
                (Again::Soon, Some(pause)) => pause,
            };
            self.talk.note(format!("{error}; trying again in {} s", wait.as_secs()));
            self.talk.wait(wait)?;
        }
    }

    /// Follows redirects, a few, never from https to http, and tells only the hub our token.
    fn once(&self, what: &str, url: &str, range: Option<&str>, patience: Patience) -> Result<Answer, Fault> {
        let no_place = || HubError::answer(what, "it sends us on to a place that we do not go to");
        let mut url: Url = url.parse().map_err(|_| no_place())?;
        let mut said = Said::default();
        for _ in 0..=REDIRECTS {
            let (via, proxy) = agent::proxy(self.settings, &url)?.unzip();
            let mut request = self.agent.get(url.as_str());
            // Whoever waits longer for the head of an answer than for bytes waits for it all the same.
            let reading = patience.head.max(self.settings.stall);
            let limits = request.config().timeout_recv_response(Some(patience.head)).timeout_per_read(Some(reading));
            request = limits.timeout_recv_body(patience.body).proxy(proxy).build();
            request = request.header("accept-encoding", "identity");
            if let Some(range) = range {
                request = request.header("range", range);
            }
            let token = self.token.as_ref().filter(|_| url.origin() == self.settings.endpoint.origin());
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {}", token.text));
            }
            tracing::debug!(host = url.host_str(), path = url.path(), range, "the hub is asked");
            let mut response = request.call().map_err(|error| self.connection_fault(&error, via))?;
            tracing::debug!(status = response.status().as_u16(), "the hub answers");
            said.hear(response.headers());
            if !response.status().is_redirection() {
                let question = Question { explains: patience.body.is_some(), ..self.question(what, token) };
                judge(&question, &mut response)?;
                return Ok(Answer { response, said });
            }
            let place = response.headers().get("location").and_then(|value| value.to_str().ok());
            let place = place.ok_or_else(|| HubError::answer(what, "it sends us on to nowhere"))?;
            url = next(&url, place).ok_or_else(no_place)?;
        }
        Err(HubError::answer(what, "it sends us on without end").into())
    }

    fn question<'q>(&'q self, what: &'q str, token: Option<&'q Token>) -> Question<'q> {
        Question {
            what,
            endpoint: self.settings.endpoint.public_url(),
            repository: self.id.repository(),
            revision: self.id.revision(),
            token: token.map(|token| token.from.as_str()),
            explains: true,
        }
    }

    /// Through the proxy that a variable names.
    fn connection_fault(&self, error: &ureq::Error, via: Option<&str>) -> Fault {
        let through = via.map_or_else(String::new, |via| format!(" (through the proxy of {via})"));
        let error_again = if retry::is_broken(error) { Again::Soon } else { Again::Never };
        let reason = format!("{error}{through}");
        let error = HubError::Unreachable { endpoint: self.settings.endpoint.public_url().to_owned(), reason };
        Fault { error, again: error_again }
    }
}

/// A token that anybody on the way could read is not sent; what is public needs none.
fn may_send(token: &Token, settings: &Settings, talk: &Talk) -> bool {
    let (hub, from) = (settings.endpoint.public_url(), &token.from);
    match settings.endpoint.privacy(&settings.proxies) {
        Privacy::Private => return true,
        Privacy::Proxied(variable) => talk.note(format!(
            "the token of {from} is not sent: the proxy of {variable}, on the way to {hub}, could read it; name the host in \
             NO_PROXY"
        )),
        Privacy::Readable => talk.note(format!(
            "the token of {from} is not sent: anybody on the way to {hub} could read it; name an https address with HF_ENDPOINT"
        )),
    }
    false
}

fn asking(error: HubError, asked: Duration) -> HubError {
    match error {
        HubError::Status { what, status, said, .. } => HubError::Status { what, status, said, wait: Some(asked) },
        other => other,
    }
}

/// An etag without its marks.
fn bare(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// Safe as a file's name. // I13
fn is_plain(etag: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&etag.len()) && etag.bytes().all(plain)
}

/// Start and length of the whole from `bytes A-B/C`.
fn range(response: &Response<Body>) -> Option<(u64, u64)> {
    let text = response.headers().get("content-range")?.to_str().ok()?;
    let (span, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((span.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

fn length(response: &Response<Body>) -> Option<u64> {
    response.headers().get("content-length")?.to_str().ok()?.parse().ok()
}

/// Where a redirect leads: a whole address, or a path from where we are. Never down from https.
fn next(url: &Url, place: &str) -> Option<Url> {
    let to = url.join(place).ok().filter(|to| !place.is_empty() && to.has_host())?;
    matches!((url.scheme(), to.scheme()), ("http", "http") | (_, "https")).then_some(to)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::Path;
    use std::time::Instant;

    use super::*;
    use crate::hub::read_settings;
    use crate::hub::talk::tests::recorded;

    fn url(text: &str) -> Url {
        text.parse().expect("an address")
    }

    #[test]
    fn redirects_lead_to_http_and_never_down_from_https() {
        let from = url("https://hub.example/a/b/resolve/c/x");
        for (place, to) in [
            ("/d?e", "https://hub.example/d?e"),
            ("https://cdn.example/d", "https://cdn.example/d"),
            ("//cdn.example/d", "https://cdn.example/d"),
            ("y", "https://hub.example/a/b/resolve/c/y"),
            ("../again/x?sig=a%2Fb", "https://hub.example/a/b/resolve/again/x?sig=a%2Fb"),
        ] {
            assert_eq!(next(&from, place), Some(url(to)), "{place}");
        }
        for wrong in ["http://cdn.example/d", "file:///etc/passwd", "data:,x", "http://[", ""] {
            assert_eq!(next(&from, wrong), None, "{wrong}");
        }
        let (one, other) = ("http://127.0.0.1:1/x", "http://127.0.0.1:2/y");
        assert_eq!(next(&url(one), other), Some(url(other)));
    }

    /// The address of a server that answers with that status and half of a body, and then stands still.
    fn half(status: u16) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("our client");
            let head =
                format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n{{ ");
            stream.write_all(head.as_bytes()).expect("taken");
            // Until the other side has had enough.
            drop(stream.read_to_end(&mut Vec::new()));
        });
        format!("http://{address}/")
    }

    #[test]
    fn no_list_and_no_error_is_waited_for_without_end() {
        let settings = read_settings(|_| None, Some(Path::new("/home/me"))).expect("nothing is set");
        let (talk, _) = recorded();
        let id: HubId = "a/b".parse().expect("an id");
        let client = Client {
            agent: agent::new(&settings).expect("one"),
            settings: &settings,
            id: &id,
            token: None,
            talk: &talk,
        };
        let begun = Instant::now();
        let brief = |body| Patience { head: settings.answer, body };
        let listed =
            client.list("x", &half(200), brief(Some(Duration::from_millis(100)))).expect_err("it does not come");
        assert!(
            matches!(&listed.error, HubError::Unreachable { reason, .. } if reason.contains("body")),
            "{}",
            listed.error
        );
        assert_eq!(listed.again, Again::Never, "its time was used");
        // What an error says is left out; of a file's transfer it is not read.
        for body in [Some(Duration::from_millis(100)), None] {
            let refused = client.once("x", &half(403), None, brief(body)).err().expect("refused");
            assert!(matches!(refused.error, HubError::Denied { status: 403, said: None, .. }), "{}", refused.error);
        }
        assert!(begun.elapsed() < settings.stall, "no read came to its own end");
    }

    #[test]
    fn a_token_is_never_sent_over_http_to_another_machine_or_through_a_proxy() {
        for (endpoint, proxy, sent) in [
            ("http://hub.example", None, false),
            ("https://hub.example", None, true),
            ("http://127.0.0.1:9", None, true),
            ("http://127.0.0.1:9", Some("http://proxy.example:3128"), false),
            ("https://hub.example", Some("http://proxy.example:3128"), true),
        ] {
            let value = |name: &str| match name {
                "HF_ENDPOINT" => Some(endpoint.into()),
                "HF_TOKEN" => Some("hf_secret".into()),
                "ALL_PROXY" => proxy.map(Into::into),
                _ => None,
            };
            let settings = read_settings(value, Some(Path::new("/home/me"))).expect("good settings");
            let (talk, told) = recorded();
            let id: HubId = "a/b".parse().expect("an id");
            let client = Client::new(&settings, &id, &talk).expect("a client");
            assert_eq!(client.token.is_some(), sent, "{endpoint} {proxy:?}");
            drop(client);
            let told = told.take();
            assert_eq!(told.is_empty(), sent, "{endpoint}: {told:?}");
            assert!(!format!("{told:?}").contains("hf_secret"));
        }
    }

    #[test]
    fn the_token_goes_to_the_hub_alone() {
        let hub = url("https://hub.example").origin();
        assert_eq!(url("https://hub.example:443/a").origin(), hub);
        for other in ["http://hub.example/a", "https://hub.example:8443/a", "https://hub.example.evil/a"] {
            assert_ne!(url(other).origin(), hub, "{other}");
        }
    }

    #[test]
    fn an_etag_is_a_plain_name_or_is_not_used() {
        assert_eq!(bare("W/\"abc\""), "abc");
        assert!(is_plain(&"a".repeat(64)) && is_plain("own-a_1"));
        for wrong in ["", "../x", "a/b", "a.part", "a\\b", &"a".repeat(129)] {
            assert!(!is_plain(wrong), "{wrong}");
        }
    }
}
