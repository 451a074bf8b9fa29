//! Recipes: what a base version is made of. The same contents are the same version, whoever merged first.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, Malformed, Wire};
use crate::id::{BaseId, Digest, ManifestId, RecipeId};
use crate::limits::{RECIPE_INPUTS_MAX, RECIPE_WEIGHT_MAX};
use crate::tensor::DType;

/// A weight in 1/65536: exact, so that a recipe has one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(pub i32);

impl Weight {
    /// 1.0: the adapter as it is.
    pub const ONE: Self = Self(1 << 16);

    /// The nearest weight; `None` beyond [`RECIPE_WEIGHT_MAX`] or for NaN.
    pub fn nearest(value: f64) -> Option<Self> {
        let scaled = (value * 65536.0).round();
        (scaled.abs() <= f64::from(RECIPE_WEIGHT_MAX)).then_some(Self(scaled as i32))
    }

    /// Within [`RECIPE_WEIGHT_MAX`] on both sides. (`i32::abs` of the least number would overflow.)
    pub(crate) fn is_bounded(self) -> bool {
        self.0.unsigned_abs() <= RECIPE_WEIGHT_MAX.unsigned_abs()
    }

    /// Exact: 31 bits do not fit an `f32`, so the product with it is taken in the fold, where its rounding is defined.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 65536.0
    }
}

/// Which arithmetic turns the inputs into the result. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// `fold-f32/1`, see `docs/protocol.md`.
    FoldF32,
}

/// A base version: a genesis and a set of weighted adapters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The arithmetic.
    pub rule: Rule,
    /// The base that the adapters are added to.
    pub parent: BaseId,
    /// The float type of the result.
    pub dtype: DType,
    /// Sorted by adapter, each once, no weight zero.
    inputs: Vec<(ManifestId, Weight)>,
}

impl Recipe {
    /// Sorts the inputs and adds the weights of duplicates, so that order and repetition do not matter. Inputs whose
    /// weights cancel are left out.
    pub fn new(
        parent: BaseId,
        dtype: DType,
        inputs: impl IntoIterator<Item = (ManifestId, Weight)>,
    ) -> Result<Self, CodecError> {
        let mut sums = std::collections::BTreeMap::<ManifestId, i64>::new();
        for (adapter, weight) in inputs {
            *sums.entry(adapter).or_default() += i64::from(weight.0);
        }
        let inputs = sums
            .into_iter()
            .filter(|(_, sum)| *sum != 0)
            .map(|(adapter, sum)| (adapter, Weight(sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)))
            .collect();
        let recipe = Self { rule: Rule::FoldF32, parent, dtype, inputs };
        recipe.check().map_err(|rule| CodecError::Malformed { what: Self::NAME, rule })?;
        Ok(recipe)
    }

    /// The adapters with their weights: sorted by id, each once, no weight zero.
    pub fn inputs(&self) -> &[(ManifestId, Weight)] {
        &self.inputs
    }

    /// BLAKE3 of the canonical bytes under their context. An error if the recipe breaks its bounds.
    pub fn id(&self) -> Result<RecipeId, CodecError> {
        Ok(Self::id_of(&codec::encode(self)?))
    }

    /// The id of encoded bytes, whatever they hold.
    pub fn id_of(bytes: &[u8]) -> RecipeId {
        RecipeId(Digest::of_context("potluck 2026 recipe/1", bytes))
    }
}

impl Wire for Recipe {
    const NAME: &'static str = "recipe";
    const MAX: usize = MAX;

    fn check(&self) -> Result<(), Malformed> {
        let float = matches!(self.dtype, DType::F32 | DType::F16 | DType::BF16);
        Malformed::unless(float, || "the result's type is not F32, F16 or BF16".to_owned())?;
        Malformed::unless(self.inputs.len() <= RECIPE_INPUTS_MAX, || format!("more than {RECIPE_INPUTS_MAX} inputs"))?;
        let sorted = self.inputs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        Malformed::unless(sorted, || "the inputs are not sorted by adapter, each once".to_owned())?;
        let bounded = self.inputs.iter().all(|(_, weight)| weight.0 != 0 && weight.is_bounded());
        Malformed::unless(bounded, || "a weight is zero or beyond 1024".to_owned())
    }
}

/// 36 bytes an input, 64 for the rest.
const MAX: usize = RECIPE_INPUTS_MAX * 36 + 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|text| ManifestId(Digest::of(text)));
        let base = BaseId(Digest::of(b"base"));
        let one = Recipe::new(base, DType::F32, [(a, Weight(3)), (b, Weight::ONE), (a, Weight(4)), (c, Weight(5))]);
        let two = Recipe::new(base, DType::F32, [(c, Weight(5)), (a, Weight(7)), (b, Weight::ONE)]);
        assert_eq!(one.as_ref().map(Recipe::id), two.as_ref().map(Recipe::id));
        let cancelled = Recipe::new(base, DType::F32, [(a, Weight(3)), (a, Weight(-3))]).expect("valid");
        assert!(cancelled.inputs().is_empty());
    }

    #[test]
    fn weights_beyond_reason_are_refused() {
        assert_eq!(Weight::nearest(0.5), Some(Weight(1 << 15)));
        assert_eq!(Weight::nearest(-1.0), Some(Weight(-(1 << 16))));
        for wrong in [f64::NAN, f64::INFINITY, 1024.1] {
            assert_eq!(Weight::nearest(wrong), None);
        }
        let base = BaseId(Digest::of(b"base"));
        let twice = [(ManifestId(base.0), Weight(RECIPE_WEIGHT_MAX)); 2];
        assert!(Recipe::new(base, DType::F32, twice).is_err());
        assert!(Recipe::new(base, DType::F32, [(ManifestId(base.0), Weight(i32::MIN))]).is_err());
        assert!(Recipe::new(base, DType::Q4_0, []).is_err());
    }
}
