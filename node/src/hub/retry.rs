//! When a request is made again: the answers and the broken connections at which `huggingface_hub` does so too, and how long
//! is waited before.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;
use ureq::{Error, Timeout};

use super::limits::{RETRIES, WAIT_FIRST, WAIT_MAX};
use crate::seconds::Seconds;

/// Too many requests, and servers in trouble: later it may be otherwise.
pub fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// A connection that was there and is gone, or a server that says nothing. An address at which nobody listens is no such
/// thing: a person who has written a wrong one learns it at once.
pub fn is_broken(error: &Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof};
    match error {
        Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | TimedOut | UnexpectedEof
        ),
        // It was never there; or all its time was used.
        Error::Timeout(Timeout::Resolve | Timeout::Connect | Timeout::RecvBody) => false,
        // The server hung up within its answer.
        Error::Protocol(_) | Error::Timeout(_) | Error::BodyStalled => true,
        _ => false,
    }
}

/// How long the server asks us to wait: `Retry-After` in seconds or as a date; of the hub's own bound on requests, the
/// seconds in which it begins anew (`RateLimit: "api";r=0;t=55`).
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let bound = said("ratelimit").filter(|bound| bound.split(';').any(|part| part.trim() == "r=0"));
    let anew = bound.and_then(|bound| bound.split(';').find_map(|part| seconds(part.trim().strip_prefix("t=")?)));
    anew.or_else(|| {
        let after = said("retry-after")?;
        seconds(after).or_else(|| {
            let date = httpdate::parse_http_date(after).ok()?;
            // One in the past: at once.
            Some(date.duration_since(now).unwrap_or_default())
        })
    })
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse::<Seconds>().ok().map(Seconds::duration)
}

/// How long to wait before the try after `tries`; nothing if there is none.
pub fn pause(tries: usize) -> Option<Duration> {
    (tries <= RETRIES).then(|| WAIT_FIRST.saturating_mul(1 << (tries - 1).min(8)).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Option<u64> {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| drop(map.insert(*name, value.parse().expect("a header"))));
        // 1994-11-06, 08:49:07 GMT.
        retry_after(&map, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_747)).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_server_says_how_long_to_wait_in_three_ways() {
        assert_eq!(of(&[("retry-after", "7")]), Some(7));
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(30));
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")]), Some(0));
        assert_eq!(of(&[("ratelimit", "\"api\";r=0;t=55"), ("retry-after", "7")]), Some(55));
        assert_eq!(of(&[("ratelimit", "\"api\";r=3;t=55"), ("retry-after", "7")]), Some(7));
        for nothing in ["", "soon", "-1", "1.5"] {
            assert_eq!(of(&[("retry-after", nothing)]), None, "{nothing}");
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("retry-after", "99999999999999999999")]), None);
    }

    #[test]
    fn tries_end_and_waits_grow_to_a_bound() {
        let pauses: Vec<u64> = (1..).map_while(pause).map(|wait| wait.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 8]);
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        assert!([408, 429, 500, 502, 503, 504].into_iter().all(is_passing));
        assert!(![200, 307, 401, 403, 404, 416, 501, 511].into_iter().any(is_passing));
        let io = |kind: ErrorKind| is_broken(&Error::Io(kind.into()));
        assert!(io(ErrorKind::ConnectionReset) && io(ErrorKind::UnexpectedEof));
        assert!(!io(ErrorKind::ConnectionRefused) && !is_broken(&Error::HostNotFound));
    }
}
