//! How long a person is ready to wait. The one way from a number that somebody typed to a [`Duration`]: adding it to any
//! moment never overflows.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whole seconds, at most [`Seconds::MAX`]: more is taken for that, because nobody waits longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(value_type = u64)]
#[serde(from = "u64", into = "u64")]
pub struct Seconds(u64);

impl Seconds {
    /// A hundred years.
    pub const MAX: Self = Self(100 * 365 * 24 * 3600);

    /// As a duration, whose sum with any moment exists.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl From<u64> for Seconds {
    fn from(seconds: u64) -> Self {
        Self(seconds.min(Self::MAX.0))
    }
}

impl From<Seconds> for u64 {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl FromStr for Seconds {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<u64>().map(Self::from)
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_can_be_added_to_any_moment() {
        for text in ["18446744073709551615", "9223372036854775807", "3153600001"] {
            let seconds: Seconds = text.parse().expect("a number");
            assert_eq!(seconds, Seconds::MAX, "{text}");
            assert_eq!(serde_json::from_str::<Seconds>(text).expect("a number"), Seconds::MAX);
            let (now, wait) = (std::time::Instant::now(), seconds.duration());
            assert!(now.checked_add(wait * 4).is_some() && tokio::time::Instant::now().checked_add(wait * 4).is_some());
            assert!(std::time::SystemTime::now().checked_add(wait).is_some());
        }
        assert_eq!("7".parse::<Seconds>().expect("a number").duration(), Duration::from_secs(7));
        assert!(
            "-1".parse::<Seconds>().is_err() && "1e3".parse::<Seconds>().is_err() && "".parse::<Seconds>().is_err()
        );
        assert!(serde_json::from_str::<Seconds>("-1").is_err());
    }
}
