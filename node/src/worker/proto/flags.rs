//! How a command line takes the values of settings by their names.

use std::fmt;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use potluck_trainer::names::Named;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What leaves a choice open.
const AUTO: &str = "auto";

/// One of the names of a setting's values.
pub fn named<T>() -> impl TypedValueParser<Value = T>
where
    T: Named + FromStr + Send + Sync,
    T::Err: std::error::Error + Send + Sync,
{
    PossibleValuesParser::new(T::NAMES).try_map(|name| name.parse())
}

/// The same, or `auto`.
pub fn named_or_auto<T>() -> impl TypedValueParser<Value = Auto<T>>
where
    T: Named + FromStr + Send + Sync,
    T::Err: std::error::Error + Send + Sync,
{
    let names = std::iter::once(AUTO).chain(T::NAMES.iter().copied());
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// A choice that may be left to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auto<T> {
    /// The best that this machine has.
    #[default]
    Auto,
    /// This value.
    Is(T),
}

impl<T: fmt::Display> fmt::Display for Auto<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad(AUTO),
            Self::Is(value) => value.fmt(f),
        }
    }
}

impl<T: FromStr> FromStr for Auto<T> {
    type Err = T::Err;

    fn from_str(name: &str) -> Result<Self, T::Err> {
        if name == AUTO { Ok(Self::Auto) } else { name.parse().map(Self::Is) }
    }
}

impl<T: fmt::Display> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T> Deserialize<'de> for Auto<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use potluck_trainer::backend::cpu::Precision;

    use super::*;

    #[test]
    fn a_choice_is_written_as_its_name_or_as_auto() {
        for (choice, json) in [(Auto::Auto, "\"auto\""), (Auto::Is(Precision::Bf16), "\"bf16\"")] {
            assert_eq!(serde_json::to_string(&choice).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<Auto<Precision>>(json).expect("a choice"), choice);
        }
        let error = serde_json::from_str::<Auto<Precision>>("\"f64\"").expect_err("unknown").to_string();
        assert!(error.contains("`f64` is none of f32, bf16"), "{error}");
    }
}
