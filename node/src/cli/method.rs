//! How adapters are merged, as it is typed.

use clap::{Args, ValueEnum};
use potluck_trainer::merge::Method;

use crate::failure::{Failure, Kind, Outcome};

/// Kept elements if nothing is said: TIES keeps what its paper keeps; half is what DARE's authors drop at least.
const TIES_DENSITY: f64 = 0.2;
const DARE_DENSITY: f64 = 0.5;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// The exact weighted sum of the adapters' products BA; its rank is the sum of the ranks
    #[default]
    Sum,
    /// The adapter of a smaller rank that is nearest to that sum
    Refit,
    /// Trim, elect sign, disjoint mean (Yadav et al. 2023), then the nearest adapter of rank --rank
    Ties,
    /// Drop at random and rescale (Yu et al. 2023), sum, then the nearest adapter of rank --rank
    Dare,
}

/// The method and what only some methods have.
#[derive(Clone, Debug, Default, Args)]
pub struct MethodFlags {
    /// Merge method
    #[arg(long, value_enum, default_value_t)]
    pub method: MethodName,
    /// TIES, DARE: share of each update's elements to keep [default: 0.2 with ties, 0.5 with dare]
    #[arg(long, value_name = "SHARE")]
    density: Option<f64>,
    /// TIES: factor of the merged update [default: 1]
    #[arg(long, value_name = "NUMBER")]
    lambda: Option<f64>,
}

impl MethodFlags {
    /// The method, with the rank that was asked for; `rank_flag` is that flag's name.
    pub fn method(&self, rank: Option<usize>, seed: u64, rank_flag: &str) -> Outcome<Method> {
        let only = |given: bool, flag: &str, methods: &str| {
            if !given {
                return Ok(());
            }
            Err(Failure::new(Kind::Usage, format!("{flag} can be used only with {methods}"))
                .hint(format!("leave {flag} out, or give --method")))
        };
        let sparse = matches!(self.method, MethodName::Ties | MethodName::Dare);
        only(rank.is_some() && self.method == MethodName::Sum, rank_flag, "refit, ties and dare")?;
        only(self.density.is_some() && !sparse, "--density", "ties and dare")?;
        only(self.lambda.is_some() && self.method != MethodName::Ties, "--lambda", "ties")?;
        let method = match self.method {
            MethodName::Sum => Method::Sum,
            MethodName::Refit => Method::Refit { rank },
            MethodName::Ties => Method::Ties {
                rank,
                density: self.density.unwrap_or(TIES_DENSITY),
                lambda: self.lambda.unwrap_or(1.0),
                seed,
            },
            MethodName::Dare => Method::Dare { rank, density: self.density.unwrap_or(DARE_DENSITY), seed },
        };
        method.check().map_err(|error| {
            Failure::new(Kind::Usage, error).hint("e.g. `--method ties --density 0.2 --rank 16`; see `--help`")
        })?;
        Ok(method)
    }

    /// Whether anything but the exact sum was asked for.
    pub fn is_plain(&self) -> bool {
        self.method == MethodName::Sum && self.density.is_none() && self.lambda.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_method_does_not_have_is_refused() {
        let flags = |method, density, lambda| MethodFlags { method, density, lambda };
        let refused = |flags: &MethodFlags, rank| flags.method(rank, 0, "--rank").map_err(|failure| failure.kind);
        assert_eq!(refused(&flags(MethodName::Sum, None, None), Some(4)), Err(Kind::Usage));
        assert_eq!(refused(&flags(MethodName::Refit, Some(0.5), None), None), Err(Kind::Usage));
        assert_eq!(refused(&flags(MethodName::Dare, None, Some(1.0)), None), Err(Kind::Usage));
        for rank in [0, 1025] {
            assert_eq!(refused(&flags(MethodName::Refit, None, None), Some(rank)), Err(Kind::Usage));
        }
        assert_eq!(refused(&flags(MethodName::Ties, Some(0.0), None), None), Err(Kind::Usage));
        let ties = Method::Ties { rank: Some(8), density: 0.2, lambda: 1.0, seed: 0 };
        assert_eq!(refused(&flags(MethodName::Ties, None, None), Some(8)), Ok(ties));
    }
}
