//! Names of a setting's values: the same in files, in messages and on a command line.

/// A setting with few values, each of which has a name.
pub trait Named: Copy + 'static {
    /// Every value, in the order in which a person is shown them.
    const ALL: &'static [Self];
    /// Their names, in the same order.
    const NAMES: &'static [&'static str];

    /// The value's name.
    fn name(self) -> &'static str;

    /// The value of that name.
    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|known| *known == name).and_then(|index| Self::ALL.get(index).copied())
    }
}

/// A text is no value's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is none of {}", known.join(", "))]
pub struct UnknownName {
    /// What was given.
    pub name: String,
    /// What could have been.
    pub known: &'static [&'static str],
}

/// Gives an enum without fields its names: `Named`, `Display`, `FromStr`, and the form that serde reads and writes.
macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $crate::names::Named for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            const NAMES: &'static [&'static str] = &[$($name),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad($crate::names::Named::name(*self))
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                let known = <Self as $crate::names::Named>::NAMES;
                let unknown = || $crate::names::UnknownName { name: name.to_owned(), known };
                $crate::names::Named::named(name).ok_or_else(unknown)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($crate::names::Named::name(*self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(deserializer)?;
                let known = <Self as $crate::names::Named>::NAMES;
                let unknown = || <D::Error as serde::de::Error>::unknown_variant(&name, known);
                $crate::names::Named::named(&name).ok_or_else(unknown)
            }
        }
    };
}

pub(crate) use named;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::Precision;
    use crate::backend::cpu::instructions::Instructions;
    use crate::data::tokenise::Overlong;
    use crate::fit::config::Train;
    use crate::fit::watch::Keep;
    use crate::model::block::Recompute;
    use crate::optim::schedule::Shape;

    /// Files and messages hold these names.
    fn check<T>(names: &[&str])
    where
        T: Named + PartialEq + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        assert_eq!(T::NAMES, names);
        for (value, name) in T::ALL.iter().zip(names) {
            assert_eq!((value.name(), T::named(name)), (*name, Some(*value)));
            let json = format!("\"{name}\"");
            assert_eq!(serde_json::to_string(value).unwrap(), json);
            assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *value);
        }
    }

    #[test]
    fn every_setting_has_the_names_that_files_hold() {
        check::<Shape>(&["constant", "linear", "cosine"]);
        check::<Train>(&["both", "a", "b"]);
        check::<Keep>(&["last", "best"]);
        check::<Recompute>(&["none", "selective", "full"]);
        check::<Overlong>(&["refuse", "cut"]);
        check::<Precision>(&["f32", "bf16"]);
        check::<Instructions>(&["portable", "neon", "avx2", "avx512", "avx512-bf16"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        assert_eq!("first".parse::<Keep>().unwrap_err().to_string(), "`first` is none of last, best");
        let error = serde_json::from_str::<Train>("\"c\"").unwrap_err().to_string();
        assert!(error.contains("`both`, `a`, `b`"), "{error}");
    }
}
