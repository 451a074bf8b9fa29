//! How adapters are merged, with the settings of each method.

use potluck_protocol::limits::RANK_MAX;
use serde::{Deserialize, Serialize};

/// How several adapters become one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Method {
    /// The weighted sum of the products `B A`, without error: stacked, of the ranks together.
    Sum,
    /// The adapter of a smaller rank that is nearest to that sum (Eckart and Young 1936).
    Refit {
        /// Of the result; the largest among the inputs if not said.
        rank: Option<usize>,
    },
    /// Trim, elect sign, disjoint mean (Yadav et al. 2023, arXiv 2306.01708), then the nearest adapter of a rank.
    Ties {
        /// Of the result; the largest among the inputs if not said.
        rank: Option<usize>,
        /// Share of each update's elements, the largest, that are kept.
        density: f64,
        /// What the mean is multiplied with.
        lambda: f64,
        /// Starts the range finder.
        seed: u64,
    },
    /// Drop and rescale (Yu et al. 2023, arXiv 2311.03099), sum, then the nearest adapter of a rank.
    Dare {
        /// Of the result; the largest among the inputs if not said.
        rank: Option<usize>,
        /// Share of each update's elements, drawn by chance, that are kept.
        density: f64,
        /// Decides the draw, and starts the range finder.
        seed: u64,
    },
}

/// Settings that no merge can have.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum MethodError {
    #[error("rank {0}: 1 to {RANK_MAX} are possible")]
    Rank(usize),
    #[error("density {0}: a share above 0, at most 1, is kept")]
    Density(f64),
    #[error("lambda {0} is not a finite number")]
    Lambda(f64),
}

impl Method {
    /// The rank that was asked for.
    pub fn rank(&self) -> Option<usize> {
        match *self {
            Self::Sum => None,
            Self::Refit { rank } | Self::Ties { rank, .. } | Self::Dare { rank, .. } => rank,
        }
    }

    /// Whether the rank, the density and lambda are possible.
    pub fn check(&self) -> Result<(), MethodError> {
        if let Some(rank) = self.rank().filter(|rank| !(1..=RANK_MAX as usize).contains(rank)) {
            return Err(MethodError::Rank(rank));
        }
        match *self {
            Self::Sum | Self::Refit { .. } => Ok(()),
            Self::Ties { lambda, .. } if !lambda.is_finite() => Err(MethodError::Lambda(lambda)),
            Self::Ties { density, .. } | Self::Dare { density, .. } => Density::new(density).map(drop),
        }
    }
}

/// A share above 0, at most 1, in units of 2^-32: an integer, so that what it decides is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Density(u64);

impl Density {
    /// The nearest one, if there is one above zero.
    pub fn new(share: f64) -> Result<Self, MethodError> {
        let scaled = (share * 2f64.powi(32)).round();
        let possible = (1.0..=2f64.powi(32)).contains(&scaled);
        possible.then_some(Self(scaled as u64)).ok_or(MethodError::Density(share))
    }

    /// The share as a number.
    pub fn get(self) -> f64 {
        self.0 as f64 / 2f64.powi(32)
    }

    /// Of the 2^32 values of a draw, those below this one are kept.
    pub fn threshold(self) -> u64 {
        self.0
    }

    /// How many of so many elements are kept: the nearest number, but one at least.
    pub fn of(self, count: u64) -> u64 {
        ((u128::from(count) * u128::from(self.0) + (1 << 31)) >> 32).max(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_bounds() {
        let ties = |rank, density, lambda| Method::Ties { rank, density, lambda, seed: 0 }.check();
        assert_eq!(ties(Some(1), 0.2, 1.0), Ok(()));
        assert_eq!(ties(Some(0), 0.2, 1.0), Err(MethodError::Rank(0)));
        assert_eq!(ties(Some(1025), 0.2, 1.0), Err(MethodError::Rank(1025)));
        for density in [0.0, -0.1, 1.01, f64::INFINITY] {
            assert_eq!(ties(None, density, 1.0), Err(MethodError::Density(density)));
        }
        assert!(ties(None, f64::NAN, 1.0).is_err() && ties(None, 0.2, f64::NAN).is_err());
        assert_eq!(Method::Refit { rank: Some(1024) }.check(), Ok(()));
    }

    #[test]
    fn a_density_counts_exactly() {
        let density = |share| Density::new(share).unwrap();
        assert_eq!(density(1.0).of(u64::from(u32::MAX) * 7), u64::from(u32::MAX) * 7);
        assert_eq!((density(0.5).of(7), density(0.5).of(1), density(0.2).of(10)), (4, 1, 2));
        assert_eq!(density(1.0).threshold(), 1 << 32);
    }
}
