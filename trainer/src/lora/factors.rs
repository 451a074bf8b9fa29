//! An adapter's factors, module by module: whoever merges needs one module's at a time, whether the adapter lies in
//! memory or in a file that is larger than it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use potluck_protocol::base::Architecture;

use super::adapter::{Adapter, AdapterTensor, Factor};

/// What is known of a module's pair without reading its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairShape {
    /// Rows of B.
    pub out: usize,
    /// Columns of A.
    pub inner: usize,
    /// Rows of A and columns of B.
    pub rank: usize,
    /// What `B A` is multiplied with.
    pub scale: f64,
}

/// One module's values.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair<'a> {
    /// The sizes of both, and their scale.
    pub shape: PairShape,
    /// `[rank, inner]`, row-major.
    pub a: Cow<'a, [f32]>,
    /// `[out, rank]`, row-major.
    pub b: Cow<'a, [f32]>,
}

/// Where an adapter's factors come from.
pub trait Factors: Sync {
    /// The path of every module that the adapter has a factor of, sorted, e.g. `model.layers.0.mlp.up_proj`.
    fn modules(&self) -> Vec<&str>;

    /// A module's shape; `None` if the adapter has not both factors of it, or they do not fit each other.
    fn shape(&self, module: &str) -> Option<PairShape>;

    /// A module's values, all of them finite; `None` where [`Factors::shape`] is.
    fn pair(&self, module: &str) -> Result<Option<Pair<'_>>, FactorsError>;

    /// The first module that is not one of the base's, or whose factors do not fit it. // I6
    fn misfit(&self, architecture: &Architecture) -> Option<&str> {
        let fits = |module: &str| {
            let own = self.shape(module).map(|shape| (shape.out, shape.inner));
            own.is_some() && own == architecture.module_shape(module).map(|(out, inner)| (out as usize, inner as usize))
        };
        self.modules().into_iter().find(|module| !fits(module))
    }
}

/// Why values that were promised are not there.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum FactorsError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("`{name}` holds a value that is not finite (NaN or infinity), or becomes one with its scale")]
    NotFinite { name: String },
}

impl Adapter {
    fn both(&self, module: &str) -> Option<(PairShape, &AdapterTensor, &AdapterTensor)> {
        let (a, b) = (self.factor(module, Factor::A)?, self.factor(module, Factor::B)?);
        let ([rank, inner], [out, columns]) = (a.shape, b.shape);
        let whole = |tensor: &AdapterTensor| tensor.shape[0].checked_mul(tensor.shape[1]) == Some(tensor.values.len());
        let fit = rank > 0 && columns == rank && whole(a) && whole(b);
        fit.then(|| (PairShape { out, inner, rank, scale: self.config.scale() }, a, b))
    }
}

impl Factors for Adapter {
    fn modules(&self) -> Vec<&str> {
        let module = |name| Factor::parse(name).map_or(name, |(module, _)| module);
        let modules: BTreeSet<&str> = self.tensors.keys().map(|name| module(name.as_str())).collect();
        modules.into_iter().collect()
    }

    fn shape(&self, module: &str) -> Option<PairShape> {
        self.both(module).map(|(shape, ..)| shape)
    }

    fn pair(&self, module: &str) -> Result<Option<Pair<'_>>, FactorsError> {
        let Some((shape, a, b)) = self.both(module) else { return Ok(None) };
        for (tensor, factor) in [(a, Factor::A), (b, Factor::B)] {
            if tensor.values.iter().any(|value| !value.is_finite()) {
                return Err(FactorsError::NotFinite { name: factor.peft_name(module) });
            }
        }
        Ok(Some(Pair { shape, a: Cow::Borrowed(&a.values), b: Cow::Borrowed(&b.values) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small::architecture;
    use crate::merge::testing::adapter;

    #[test]
    fn modules_come_once_and_sorted_and_misfits_are_named() {
        let mut adapter = adapter(1, 3, 6.0, 14);
        let modules = adapter.modules();
        assert!(modules.len() == 14 && modules.windows(2).all(|pair| pair[0] < pair[1]), "{modules:?}");
        assert_eq!(adapter.misfit(&architecture()), None);
        let down = "model.layers.1.mlp.down_proj";
        assert_eq!(adapter.shape(down), Some(PairShape { out: 8, inner: 12, rank: 3, scale: 2.0 }));
        let removed = adapter.tensors.remove(&Factor::B.peft_name(down));
        assert_eq!((adapter.misfit(&architecture()), adapter.pair(down).unwrap()), (Some(down), None));
        let AdapterTensor { shape: [out, rank], values } = removed.unwrap();
        adapter.tensors.insert(Factor::B.peft_name(down), AdapterTensor { shape: [out - 1, rank], values });
        assert_eq!(adapter.misfit(&architecture()), Some(down), "more values than the shape says");
        let foreign = AdapterTensor { shape: [1, 8], values: vec![0.0; 8] };
        adapter.tensors = [("lm_head".to_owned(), foreign)].into();
        assert_eq!(adapter.misfit(&architecture()), Some("lm_head"));
    }

    #[test]
    fn values_that_are_not_finite_are_an_error() {
        let mut adapter = adapter(1, 1, 1.0, 1);
        let module = adapter.modules()[0].to_owned();
        let name = Factor::A.peft_name(&module);
        adapter.tensors.get_mut(&name).unwrap().values[2] = f32::NAN;
        assert!(matches!(adapter.pair(&module), Err(FactorsError::NotFinite { name: found }) if found == name));
    }
}
