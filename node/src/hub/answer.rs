//! What an answer of the hub means: a file, a gate, a refused token, a web page, a server in trouble.

use std::io::Read;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;

use super::limits::{REASON_MAX, SAID_MAX};
use super::{HubError, page, retry};

/// Why a request came to nothing, and whether to make it again.
pub struct Fault {
    /// What went wrong.
    pub error: HubError,
    /// Whether asking again may help.
    pub again: Again,
}

/// Whether and when a question is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Never,
    Soon,
    /// The server says when.
    After(Duration),
}

impl From<HubError> for Fault {
    fn from(error: HubError) -> Self {
        Self { error, again: Again::Never }
    }
}

/// Who asked for what.
pub struct Question<'a> {
    /// What is asked for, for people.
    pub what: &'a str,
    /// Who is asked.
    pub endpoint: &'a str,
    /// `OWNER/NAME`, and the revision.
    pub repository: &'a str,
    /// The revision that a person named.
    pub revision: &'a str,
    /// Where the token is from that went with it.
    pub token: Option<&'a str>,
    /// Whether the body of an error may be read: it comes within a bounded time. Of a file's transfer the headers must do.
    pub explains: bool,
}

/// Whether the answer is what was asked for.
pub fn judge(question: &Question, response: &mut Response<Body>) -> Result<(), Fault> {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let is_page = header("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html"));
    // 511: a network wants a log-in first.
    if status == 511 || (matches!(status, 200 | 206) && is_page) {
        let title = page::title(&beginning(question, response));
        return Err(page_error(question, title).into());
    }
    if matches!(status, 200 | 206) {
        return Ok(());
    }
    let code = header("x-error-code").map(str::to_owned);
    let asked = retry::retry_after(response.headers(), SystemTime::now());
    let said = server_message(question, response);
    if retry::is_passing(status) {
        let error = HubError::Status { what: question.what.to_owned(), status, said, wait: None };
        return Err(Fault { error, again: asked.map_or(Again::Soon, Again::After) });
    }
    Err(refusal(question, status, code.as_deref(), said).into())
}

/// A web page came instead of what was asked for.
pub fn page_error(question: &Question, title: Option<String>) -> HubError {
    HubError::Page { what: question.what.to_owned(), title, endpoint: question.endpoint.to_owned() }
}

/// To somebody without the right the hub says 401 of what is not there, of what is private, and of what has a gate; and to
/// somebody whose token it does not know, of everything.
fn refusal(question: &Question, status: u16, code: Option<&str>, said: Option<String>) -> HubError {
    let what = question.what.to_owned();
    match (status, code, question.token) {
        (404, Some("RevisionNotFound"), _) => {
            let what = format!("revision {} of {}", question.revision, question.repository);
            HubError::NotFound { what, status }
        }
        (404 | 410, _, _) | (401 | 403, Some("RepoNotFound"), _) => HubError::NotFound { what, status },
        (401, code, Some(from)) if code != Some("GatedRepo") => {
            let endpoint = question.endpoint.to_owned();
            HubError::Token { from: from.to_owned(), status, said, endpoint }
        }
        (401 | 403, code, token) => {
            let gate = format!("{}/{}", question.endpoint, question.repository);
            let gate = Some(gate).filter(|_| status == 401 || code == Some("GatedRepo"));
            HubError::Denied { what, status, said, gate, token: token.map(str::to_owned) }
        }
        _ => HubError::Status { what, status, said, wait: None },
    }
}

/// The reason that comes with an error: the hub's header, or the `error` of its JSON.
fn server_message(question: &Question, response: &mut Response<Body>) -> Option<String> {
    #[derive(Deserialize)]
    struct Reason {
        error: String,
    }
    let header = response.headers().get("x-error-message").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let said = header.map(|header| header.into_owned()).or_else(|| {
        let reason: Reason = serde_json::from_slice(&beginning(question, response)).ok()?;
        Some(reason.error)
    });
    said.map(|said| page::cut(&said, REASON_MAX)).filter(|said| !said.is_empty())
}

/// What comes of a body that nobody waits for.
fn beginning(question: &Question, response: &mut Response<Body>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if question.explains {
        let _broken = response.body_mut().as_reader().take(SAID_MAX).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&str, &str)], body: &str, token: Option<&str>) -> Result<(), (String, Again)> {
        let (what, endpoint, repository, revision) = ("x.json", "https://hub", "a/b", "main");
        let question = Question { what, endpoint, repository, revision, token, explains: true };
        let response =
            headers.iter().fold(Response::builder().status(status), |all, (name, value)| all.header(*name, *value));
        let mut response = response.body(Body::builder().data(body)).expect("an answer");
        judge(&question, &mut response).map_err(|fault| (fault.error.to_string(), fault.again))
    }

    /// What was said, and that it is not asked again.
    fn final_error(status: u16, headers: &[(&str, &str)], body: &str, token: Option<&str>) -> String {
        let (error, again) = judged(status, headers, body, token).expect_err("refused");
        assert_eq!(again, Again::Never, "{error}");
        error
    }

    #[test]
    fn files_and_lists_are_taken_and_pages_are_not() {
        for status in [200, 206] {
            assert_eq!(judged(status, &[("content-type", "application/json")], "{}", None), Ok(()));
        }
        let html = [("content-type", "text/html; charset=utf-8")];
        let page = final_error(200, &html, "<html><title>Hotel Wi-Fi</title></html>", None);
        assert!(page.contains("web page") && page.contains("Hotel Wi-Fi"), "{page}");
        assert!(final_error(511, &[], "", None).contains("web page"));
    }

    #[test]
    fn a_token_that_is_refused_is_named_by_its_place() {
        let invalid = [("x-error-message", "Invalid credentials in Authorization header")];
        let refused = final_error(401, &invalid, "", Some("HF_TOKEN"));
        assert!(refused.contains("the token of HF_TOKEN") && refused.contains("Invalid credentials"), "{refused}");
        assert!(!final_error(401, &invalid, "", None).contains("token of"));
        let gated = [("x-error-code", "GatedRepo")];
        assert!(!final_error(401, &gated, "", Some("HF_TOKEN")).contains("token of"));
    }

    #[test]
    fn what_the_server_says_is_shown_cleaned_and_cut() {
        let message = format!("you are\x1b[2J not {}", "in the list ".repeat(100));
        let body = serde_json::json!({ "error": message }).to_string();
        let said = final_error(403, &[], &body, None);
        assert!(said.contains("you are [2J not in the list") && said.len() < 500, "{said}");
        assert!(final_error(404, &[("x-error-code", "RevisionNotFound")], "", None).contains("revision main of a/b"));
        assert!(final_error(401, &[("x-error-code", "RepoNotFound")], "", Some("HF_TOKEN")).contains("has no"));
        assert!(final_error(418, &[], "not json", None).contains("status 418"));
    }

    #[test]
    fn what_passes_is_asked_again_when_the_server_says() {
        assert_eq!(judged(503, &[], "", None).map_err(|(_, again)| again), Err(Again::Soon));
        let after = judged(429, &[("retry-after", "7")], "", None).map_err(|(_, again)| again);
        assert_eq!(after, Err(Again::After(Duration::from_secs(7))));
    }
}
