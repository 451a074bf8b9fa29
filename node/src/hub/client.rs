//! The hub's read API: the commit and the files of a repository, where each file is, and its bytes from an offset.

use serde::Deserialize;
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body, Error};

use super::id::is_commit;
use super::limits::{ANSWER, CONNECT, LIST_MAX, REDIRECTS, SMALL_MAX, STALL, TOTAL_MAX};
use super::{HubError, HubId, Settings};

/// A repository at one commit.
pub struct Repository {
    pub commit: String,
    pub files: Vec<String>,
}

/// A file on the hub.
#[derive(Clone, Debug)]
pub struct Remote {
    pub name: String,
    pub url: String,
    /// A plain name: SHA-256 of large files, the git hash of small ones, or what a mirror made up.
    pub etag: String,
    pub size: u64,
}

pub struct Client {
    agent: Agent,
    endpoint: String,
    id: HubId,
    token: Option<String>,
}

/// An answer, and what the hub said of the file before it sent us elsewhere.
struct Answer {
    response: Response<Body>,
    etag: Option<String>,
    commit: Option<String>,
}

impl Client {
    pub fn new(settings: &Settings, id: &HubId) -> Result<Self, HubError> {
        let config = Agent::config_builder()
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(STALL))
            .timeout_per_write(Some(STALL))
            // Redirects are followed here: each is looked at first, and the token stays with the hub.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("potluck/", env!("CARGO_PKG_VERSION")))
            .build();
        let endpoint = settings.endpoint.clone();
        let speaks = endpoint.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
        if !speaks.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https"))) {
            return Err(HubError::Unreachable { endpoint, reason: "HF_ENDPOINT is no http address".to_owned() });
        }
        Ok(Self { agent: config.into(), endpoint, id: id.clone(), token: settings.token.clone() })
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
        let url = format!("{}/api/{}", self.endpoint, self.id.repo().api_url());
        let mut answer = self.get(&what, &url, None)?;
        let body = answer.response.body_mut().with_config().limit(LIST_MAX as u64).read_to_vec();
        let body = body.map_err(|error| self.failed(&error))?;
        let info: Info = serde_json::from_slice(&body).map_err(|error| HubError::answer(&what, error.to_string()))?;
        if !is_commit(&info.sha) {
            return Err(HubError::answer(&what, "it names no commit"));
        }
        Ok(Repository { commit: info.sha, files: info.siblings.into_iter().map(|file| file.rfilename).collect() })
    }

    /// Where a file is and how long: its first byte is asked for.
    pub fn remote(&self, commit: &str, name: &str) -> Result<Remote, HubError> {
        let wrong = |reason: &str| HubError::answer(name, reason);
        let url = format!("{}/{}/resolve/{commit}/{name}", self.endpoint, self.id.repository());
        let answer = self.get(name, &url, Some("bytes=0-0"))?;
        if answer.commit.as_deref() != Some(commit) {
            return Err(wrong("it is of another commit than the one that was asked for"));
        }
        let etag = answer.etag.filter(|etag| is_plain(etag)).ok_or_else(|| wrong("it has no usable etag"))?;
        let size = match range(&answer.response) {
            Some((0, size)) => size,
            // An empty file has no first byte; a server without ranges sends all.
            _ => length(&answer.response).ok_or_else(|| wrong("its length is not said"))?,
        };
        let max = if name.ends_with(".safetensors") { TOTAL_MAX } else { SMALL_MAX };
        if size > max {
            return Err(HubError::TooLarge { bytes: size, max });
        }
        Ok(Remote { name: name.to_owned(), url, etag, size })
    }

    /// The bytes of a file from `start` on, or from its beginning if the server knows no ranges: where they start.
    pub fn bytes(&self, remote: &Remote, start: u64) -> Result<(u64, Body), HubError> {
        let wrong = |reason: String| HubError::answer(&remote.name, reason);
        let answer = self.get(&remote.name, &remote.url, Some(&format!("bytes={start}-")))?;
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

    /// Follows redirects, a few, never from https to http, and tells only the hub our token.
    fn get(&self, what: &str, url: &str, range: Option<&str>) -> Result<Answer, HubError> {
        let (mut url, mut etag, mut commit) = (url.to_owned(), None, None);
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&url).header("accept-encoding", "identity");
            if let Some(range) = range {
                request = request.header("range", range);
            }
            if let Some(token) = self.token.as_ref().filter(|_| same_host(&url, &self.endpoint)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| self.failed(&error))?;
            let said = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            // The hub says it first; where it sends us may say something else of the same file.
            etag = etag.or_else(|| said("x-linked-etag").or_else(|| said("etag")).map(bare));
            commit = commit.or_else(|| said("x-repo-commit").map(str::to_owned));
            if !response.status().is_redirection() {
                self.check(what, &response)?;
                return Ok(Answer { response, etag, commit });
            }
            let place = said("location").ok_or_else(|| HubError::answer(what, "it sends us on to nowhere"))?;
            url = next(&url, place)
                .ok_or_else(|| HubError::answer(what, "it sends us on to a place that we do not go to"))?;
        }
        Err(HubError::answer(what, "it sends us on without end"))
    }

    fn check(&self, what: &str, response: &Response<Body>) -> Result<(), HubError> {
        let (what, status) = (what.to_owned(), response.status().as_u16());
        // To somebody without the right the hub says 401 of what is not there, of what is private, and of what has a gate.
        let code = response.headers().get("x-error-code").and_then(|value| value.to_str().ok());
        match (status, code) {
            (200 | 206, _) => Ok(()),
            (404 | 410, _) | (401 | 403, Some("RepoNotFound")) => Err(HubError::NotFound { what, status }),
            (401 | 403, _) => {
                let gate = format!("{}/{}", self.endpoint, self.id.repository());
                Err(HubError::Denied { what, status, gate })
            }
            _ => Err(HubError::Status { what, status }),
        }
    }

    fn failed(&self, error: &Error) -> HubError {
        HubError::Unreachable { endpoint: self.endpoint.clone(), reason: error.to_string() }
    }
}

/// An etag without its marks.
fn bare(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// Safe as a file's name. // I13
fn is_plain(etag: &str) -> bool {
    (1..=128).contains(&etag.len()) && etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
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

fn same_host(url: &str, endpoint: &str) -> bool {
    let site = |text: &str| {
        let uri = text.parse::<Uri>().ok()?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.to_string()))
    };
    site(url).is_some() && site(url) == site(endpoint)
}

/// Where a redirect leads: a whole address, or a path on the same host.
fn next(url: &str, place: &str) -> Option<String> {
    let from: Uri = url.parse().ok()?;
    if place.starts_with('/') && !place.starts_with("//") {
        return Some(format!("{}://{}{place}", from.scheme_str()?, from.authority()?));
    }
    let to: Uri = place.parse().ok()?;
    match (from.scheme_str()?, to.scheme_str()?) {
        ("http", "http") | (_, "https") if to.host().is_some() => Some(place.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_http_and_never_down_from_https() {
        let from = "https://hub.example/a/b/resolve/c/x";
        assert_eq!(next(from, "/d?e").as_deref(), Some("https://hub.example/d?e"));
        assert_eq!(next(from, "https://cdn.example/d").as_deref(), Some("https://cdn.example/d"));
        for wrong in ["http://cdn.example/d", "//cdn.example/d", "file:///etc/passwd", "x", ""] {
            assert_eq!(next(from, wrong), None, "{wrong}");
        }
        assert_eq!(next("http://127.0.0.1:1/x", "http://127.0.0.1:2/y").as_deref(), Some("http://127.0.0.1:2/y"));
    }

    #[test]
    fn the_token_goes_to_the_hub_alone() {
        let endpoint = "https://hub.example";
        assert!(same_host("https://hub.example/a", endpoint));
        for other in ["http://hub.example/a", "https://hub.example:8443/a", "https://hub.example.evil/a", "x"] {
            assert!(!same_host(other, endpoint), "{other}");
        }
    }

    #[test]
    fn an_etag_is_a_plain_name_or_is_not_used() {
        assert_eq!(bare("W/\"abc\""), "abc");
        assert!(is_plain(&"a".repeat(64)) && is_plain("a-1"));
        for wrong in ["", "../x", "a/b", "a.part", "a\\b", &"a".repeat(129)] {
            assert!(!is_plain(wrong), "{wrong}");
        }
    }
}
