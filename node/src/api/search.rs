//! What can be searched for, and what a search finds.

use std::str::FromStr;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::signed::PublicKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_forms;

/// All of these must hold; an empty search finds everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = SearchRequest)]
pub struct Search {
    /// Words, each somewhere in the name or the description; upper and lower case are one.
    pub text: String,
    /// A base that is known here or was heard of, or the whole id of any.
    pub base: Option<String>,
    /// Of an adapter.
    pub rank: Option<Ranks>,
    /// SPDX; upper and lower case are one.
    pub licence: Option<String>,
    /// The start of a publisher's key, or a peer id.
    pub publisher: Option<String>,
    /// What the publisher states of a suite.
    pub eval: Option<AtLeast>,
    /// Adapters, bases and channels if not said.
    #[schema(value_type = Option<json_forms::KindTag>)]
    pub kind: Option<KindTag>,
    /// Results that are wanted.
    pub limit: usize,
}

/// `16` or `8..32`, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ranks {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

/// `SUITE>=SHARE`, the share as `0.8` or `80%`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AtLeast {
    /// Name of the rows.
    pub suite: String,
    /// Exact matches per million.
    pub exact_match_ppm: u32,
}

/// Why a condition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCondition {
    /// What was typed is no rank.
    #[error("`{0}` is not a rank: give a number or a range, e.g. 16 or 8..32")]
    Ranks(String),
    /// What was typed is no condition on a figure.
    #[error("`{0}` is no condition on an evaluation: give its name and a share, e.g. 'dates>=0.8' or 'dates>=80%'")]
    AtLeast(String),
}

impl FromStr for Ranks {
    type Err = NoCondition;

    fn from_str(text: &str) -> Result<Self, NoCondition> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let end = |part: &str| part.parse::<u32>().ok();
        match (end(min), end(max.trim_start_matches('='))) {
            (Some(min), Some(max)) if min <= max => Ok(Self { min, max }),
            _ => Err(NoCondition::Ranks(text.to_owned())),
        }
    }
}

impl FromStr for AtLeast {
    type Err = NoCondition;

    fn from_str(text: &str) -> Result<Self, NoCondition> {
        let read = || {
            let (suite, share) = text.split_once(">=")?;
            let (number, unit) = match share.trim().strip_suffix('%') {
                Some(percent) => (percent.trim().parse::<f64>().ok()?, 100.0),
                None => (share.trim().parse::<f64>().ok()?, 1.0),
            };
            let share = number / unit;
            let good = !suite.trim().is_empty() && (0.0..=1.0).contains(&share);
            let exact_match_ppm = (share * 1e6).round() as u32;
            good.then(|| Self { suite: suite.trim().to_owned(), exact_match_ppm })
        };
        read().ok_or_else(|| NoCondition::AtLeast(text.to_owned()))
    }
}

/// What a search finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// The best first.
    pub results: Vec<Offer>,
    /// Fitting ones beyond the limit.
    pub more: usize,
    /// Announcements that are known here.
    pub heard: usize,
    /// Announced things that may fit, but nobody who was asked handed out their manifests.
    pub unanswered: usize,
}

/// One thing that is offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub manifest: ManifestId,
    /// What its publisher calls it.
    pub name: String,
    /// What it is.
    #[schema(value_type = json_forms::KindTag)]
    pub kind: KindTag,
    /// The base that it is for, or that it is.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// What that base is called here, if it is here.
    #[serde(default)]
    pub base_name: Option<String>,
    /// Whose key signed it.
    #[schema(value_type = json_forms::PublicKey)]
    pub publisher: PublicKey,
    /// Of all its files.
    pub bytes: u64,
    /// Here whole and checked.
    pub here: bool,
    /// What its manifest says; `None` as long as nobody handed that out, so that only the announcement is known.
    pub details: Option<Details>,
}

/// What a manifest says of itself: its publisher's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = OfferDetails)]
pub struct Details {
    /// Of an adapter.
    pub rank: Option<u32>,
    /// Of an adapter; empty otherwise.
    pub target_modules: Vec<String>,
    /// SPDX; empty if the publisher states none.
    pub licence: String,
    /// For people.
    pub description: String,
    /// Seconds since 1970 by the publisher's clock.
    pub created: u64,
    /// Of an adapter; empty otherwise.
    pub evaluations: Vec<Measured>,
}

/// A figure that a publisher states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = StatedFigure)]
pub struct Measured {
    /// What was measured.
    pub suite: String,
    /// Held-out rows.
    pub samples: u64,
    /// 0 to 1.
    pub exact_match: f64,
    /// Nats per labelled token.
    pub loss: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_one_number_or_two() {
        assert_eq!("16".parse(), Ok(Ranks { min: 16, max: 16 }));
        assert_eq!("8..32".parse(), Ok(Ranks { min: 8, max: 32 }));
        assert_eq!("8..=32".parse(), Ok(Ranks { min: 8, max: 32 }));
        for wrong in ["", "x", "32..8", "8..", "..8", "-1", "8...9"] {
            assert!(wrong.parse::<Ranks>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_floor_is_a_share_or_percent() {
        let floor = |ppm| Ok(AtLeast { suite: "dates".to_owned(), exact_match_ppm: ppm });
        assert_eq!("dates>=0.8".parse(), floor(800_000));
        assert_eq!("dates >= 80%".parse(), floor(800_000));
        assert_eq!("dates>=1".parse(), floor(1_000_000));
        for wrong in ["dates", "dates>=", "dates>=80", "dates>=-1", ">=0.5", "dates>=nan", "dates<=0.5", "dates>=101%"]
        {
            assert!(wrong.parse::<AtLeast>().is_err(), "{wrong}");
        }
    }
}
