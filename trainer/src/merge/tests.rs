//! Each method against a dense oracle in f64 that follows the paper word by word, on the small base's modules; ranks as
//! large as the matrices, so that it is the method that is compared.

use potluck_protocol::recipe::Weight;
use proptest::prelude::*;

use super::testing::{adapter, dense};
use super::*;
use crate::base::small;
use crate::lora::adapter::{Adapter, Factor};
use crate::lora::factors::Factors;

/// The small base's matrices have no larger rank.
const FULL: Option<usize> = Some(8);

fn inputs(adapters: &[(Weight, Adapter)]) -> Vec<Input<'_>> {
    adapters.iter().map(|(weight, adapter)| Input { weight: *weight, factors: adapter }).collect()
}

fn merge(adapters: &[(Weight, Adapter)], method: Method) -> Result<(Adapter, Report), MergeError> {
    whole::merge(&inputs(adapters), &small::architecture(), method)
}

fn three() -> Vec<(Weight, Adapter)> {
    let weights = [1.0, 0.5, -0.75].map(|weight| Weight::nearest(weight).unwrap());
    let adapters = [adapter(1, 2, 4.0, 14), adapter(2, 3, 3.0, 9), adapter(3, 1, 2.0, 14)];
    weights.into_iter().zip(adapters).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn distance(one: &[f64], other: &[f64]) -> f64 {
    norm(&one.iter().zip(other).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// The weighted sum, dense.
fn exact(adapters: &[(Weight, Adapter)], module: &str) -> Vec<f64> {
    let mut sum = Vec::new();
    for (weight, adapter) in adapters {
        let part = dense(adapter, module);
        sum.resize(part.len().max(sum.len()), 0.0);
        sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += weight.get() * value);
    }
    sum
}

/// The updates of the adapters that have the module, each element rounded to f32 as the methods see it.
fn updates(adapters: &[(Weight, Adapter)], module: &str) -> Vec<(f64, Vec<f32>)> {
    let narrow = |(weight, adapter): &(Weight, Adapter)| {
        (weight.get(), dense(adapter, module).iter().map(|&value| value as f32).collect::<Vec<_>>())
    };
    adapters.iter().map(narrow).filter(|(_, values)| !values.is_empty()).collect()
}

fn assert_near(merged: &Adapter, wanted: impl Fn(&str) -> Vec<f64>) {
    assert_eq!(merged.modules().len(), 14);
    for module in merged.modules() {
        let (found, wanted) = (dense(merged, module), wanted(module));
        let error = distance(&found, &wanted);
        assert!(error <= 2e-6 * norm(&wanted), "{module}: {error} of {}", norm(&wanted));
    }
}

proptest! {
    /// Against the dense sum in f64: mixed ranks, scales, weights and targets.
    #[test]
    fn the_sum_is_exact(
        parts in prop::collection::vec((1usize..5, 1u32..9, -(3i32 << 16)..(3i32 << 16), 1usize..15, any::<u64>()), 1..5),
    ) {
        let adapters: Vec<_> = parts.iter()
            .map(|&(rank, alpha, weight, targets, seed)| (Weight(weight), adapter(seed, rank, alpha as f32, targets)))
            .collect();
        let (merged, report) = merge(&adapters, Method::Sum).unwrap();
        prop_assert_eq!(report, Report { kept_energy: 1.0, least_kept: None });
        for module in merged.modules() {
            let wanted = exact(&adapters, module);
            let error = distance(&wanted, &dense(&merged, module));
            prop_assert!(error <= 1e-6 * norm(&wanted), "{}: {}", module, error);
        }
        let error = distance::relative_error(&inputs(&adapters), &merged, &small::architecture()).unwrap();
        prop_assert!(error <= 1e-6, "{}", error);
    }
}

#[test]
fn a_sum_of_one_is_that_adapter_and_ranks_add() {
    let architecture = small::architecture();
    let (one, two) = (adapter(1, 3, 6.0, 14), adapter(2, 4, 4.0, 2));
    let (merged, _) = merge(&[(Weight::ONE, one.clone())], Method::Sum).unwrap();
    let encode = |adapter: &Adapter| crate::peft::encode(adapter, &architecture).unwrap();
    assert_eq!(encode(&merged), encode(&one));
    let (merged, _) = merge(&[(Weight::ONE, one), (Weight::ONE, two)], Method::Sum).unwrap();
    assert_eq!((merged.config.r, merged.config.lora_alpha), (7, 7.0));
}

/// No matrix of that rank is nearer: the error is what the singular values from there on say, and the energy adds up.
#[test]
fn a_refit_is_the_best_of_its_rank() {
    let adapters = three();
    for rank in 1..6 {
        let (merged, report) = merge(&adapters, Method::Refit { rank: Some(rank) }).unwrap();
        assert_eq!(merged.config.r, rank);
        let (mut lost, mut total) = (0.0, 0.0);
        for module in merged.modules() {
            let wanted = exact(&adapters, module);
            let rows = merged.shape(module).unwrap().out;
            let whole = faer::Mat::from_fn(rows, wanted.len() / rows, |i, j| wanted[i * (wanted.len() / rows) + j]);
            let singular = whole.singular_values().unwrap();
            let best: f64 = singular.iter().skip(rank).map(|s| s * s).sum();
            let error = distance(&dense(&merged, module), &wanted).powi(2);
            assert!(error <= best * (1.0 + 1e-6) + 1e-12 * norm(&wanted).powi(2), "{module}, {rank}: {error}, {best}");
            (lost, total) = (lost + error, total + norm(&wanted).powi(2));
        }
        assert!((report.kept_energy - (1.0 - lost / total)).abs() < 1e-6, "{report:?}");
        let error = distance::relative_error(&inputs(&adapters), &merged, &small::architecture()).unwrap();
        assert!((error - (lost / total).sqrt()).abs() < 1e-6, "{error}");
        assert!(report.least_kept.is_none_or(|(_, share)| share <= report.kept_energy + 1e-9));
    }
}

/// A rank that holds the sum gets the sum, to the bit.
#[test]
fn a_refit_that_need_not_cut_is_the_sum() {
    let adapters = three();
    let (sum, _) = merge(&adapters, Method::Sum).unwrap();
    for rank in [6, 7, 1024] {
        assert_eq!(merge(&adapters, Method::Refit { rank: Some(rank) }).unwrap().0, sum);
    }
    // Without a rank it is the largest that an adapter has.
    assert_eq!(merge(&adapters, Method::Refit { rank: None }).unwrap().0.config.r, 3);
}

#[test]
fn ties_is_the_papers() {
    let adapters = three();
    for (density, lambda) in [(0.2, 1.0), (0.5, 0.7), (1.0, 1.0)] {
        let (merged, report) = merge(&adapters, Method::Ties { rank: FULL, density, lambda, seed: 9 }).unwrap();
        assert!(report.kept_energy > 1.0 - 1e-9, "{report:?}");
        assert_near(&merged, |module| {
            let updates: Vec<_> =
                updates(&adapters, module).into_iter().map(|(w, values)| (w, trim(&values, density))).collect();
            let element = |index: usize| {
                let values: Vec<(f64, f64)> =
                    updates.iter().map(|(w, kept)| (*w, w * f64::from(kept[index]))).collect();
                let mass: f64 = values.iter().map(|(_, value)| value).sum();
                let agree = values.iter().filter(|(_, value)| value * mass > 0.0);
                let (sum, weights) = agree.fold((0.0, 0.0), |(s, n), (w, value)| (s + value, n + w.abs()));
                if weights > 0.0 { lambda * sum / weights } else { 0.0 }
            };
            (0..updates[0].1.len()).map(element).collect()
        });
    }
}

/// Keeps the largest, of equal ones the first.
fn trim(values: &[f32], density: f64) -> Vec<f32> {
    let count = ((values.len() as f64 * density).round() as usize).max(1);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].abs().total_cmp(&values[i].abs()));
    let mut kept = vec![0.0; values.len()];
    order[..count].iter().for_each(|&index| kept[index] = values[index]);
    kept
}

#[test]
fn dare_drops_rescales_and_sums() {
    let adapters = three();
    let (density, seed) = (0.4, 5u64);
    let (merged, _) = merge(&adapters, Method::Dare { rank: FULL, density, seed }).unwrap();
    assert_near(&merged, |module| {
        let having: Vec<_> = adapters.iter().filter(|(_, adapter)| adapter.shape(module).is_some()).collect();
        let mut sum = vec![0.0; dense(&having[0].1, module).len()];
        for (weight, adapter) in having {
            let mut key = blake3::Hasher::new_derive_key("potluck 2026 dare/1");
            key.update(&seed.to_le_bytes()).update(&(module.len() as u64).to_le_bytes()).update(module.as_bytes());
            for factor in [Factor::A, Factor::B] {
                for value in &adapter.factor(module, factor).unwrap().values {
                    key.update(&value.to_le_bytes());
                }
            }
            let mut draws = vec![0; 4 * sum.len()];
            key.finalize_xof().fill(&mut draws);
            for ((sum, value), draw) in sum.iter_mut().zip(dense(adapter, module)).zip(draws.as_chunks::<4>().0) {
                if f64::from(u32::from_le_bytes(*draw)) < density * 2f64.powi(32) {
                    *sum += weight.get() * f64::from(value as f32) / density;
                }
            }
        }
        sum
    });
    let other = merge(&adapters, Method::Dare { rank: FULL, density, seed: seed + 1 }).unwrap();
    assert_ne!(other.0, merged, "another seed, another draw");
    // Nothing dropped is the sum.
    let (all, _) = merge(&adapters, Method::Dare { rank: FULL, density: 1.0, seed }).unwrap();
    assert_near(&all, |module| exact(&adapters, module));
}

/// Matrices that are larger than one block and than the range finder's width: what is kept is what is told, and close to
/// the best.
#[test]
fn a_truncated_result_keeps_what_it_says_and_nearly_the_best() {
    struct Plain(faer::Mat<f64>);
    impl truncate::Rows for Plain {
        fn shape(&self) -> (usize, usize) {
            self.0.shape()
        }
        fn rows(&mut self, rows: std::ops::Range<usize>, to: &mut [f64]) {
            let columns = self.0.ncols();
            for (row, to) in rows.zip(to.chunks_exact_mut(columns)) {
                (0..columns).for_each(|column| to[column] = self.0[(row, column)]);
            }
        }
    }
    let (rows, columns, rank) = (900, 400, 12);
    let values = small::values(3, rows * columns);
    let whole = faer::Mat::from_fn(rows, columns, |i, j| f64::from(values[i * columns + j]) / (1.0 + j as f64));
    let best: f64 = whole.singular_values().unwrap().iter().take(rank).map(|s| s * s).sum();
    let found = truncate::truncate(&mut Plain(whole.clone()), rank, 1).unwrap();
    assert!((found.total - decompose::energy(whole.as_ref())).abs() < 1e-9 * found.total);
    assert!(found.kept <= best * (1.0 + 1e-12) && found.kept > 0.999 * best, "{} of {best}", found.kept);
    let (a, b) = (&found.merged.a, &found.merged.b);
    let left = faer::Mat::from_fn(rows, rank, |i, k| f64::from(b[i * rank + k]));
    let right = faer::Mat::from_fn(rank, columns, |k, j| f64::from(a[k * columns + j]));
    let error = decompose::energy((whole - left * right).as_ref());
    assert!((error - (found.total - found.kept)).abs() < 1e-6 * found.total, "{error}");
    let again = truncate::truncate(&mut Plain(faer::Mat::zeros(9, 5)), 2, 1).unwrap();
    assert!(again.total == 0.0 && again.merged.a.iter().chain(&again.merged.b).all(|value| *value == 0.0));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let adapters = three();
    let (density, seed) = (0.5, 3);
    let methods = [
        Method::Sum,
        Method::Refit { rank: Some(2) },
        Method::Ties { rank: Some(2), density, lambda: 1.0, seed },
        Method::Dare { rank: Some(2), density, seed },
    ];
    for method in methods {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| merge(&adapters, method).unwrap())
        };
        let one = on(1);
        assert!([2, 3, 7].into_iter().all(|threads| on(threads) == one), "{method:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |adapters: &[(Weight, Adapter)], method| merge(adapters, method).expect_err("refused");
    let plain = |adapter: Adapter| vec![(Weight::ONE, adapter)];
    assert!(matches!(refused(&[], Method::Sum), MergeError::Nothing));
    let wide = adapter(1, 1000, 1000.0, 1);
    let two = [(Weight::ONE, wide.clone()), (Weight::ONE, wide.clone())];
    assert!(matches!(refused(&two, Method::Sum), MergeError::Rank { rank: 2000 }));
    assert_eq!(merge(&two, Method::Refit { rank: Some(4) }).unwrap().0.config.r, 4);
    let many = vec![(Weight::ONE, wide); 5];
    assert!(matches!(refused(&many, Method::Refit { rank: Some(4) }), MergeError::Stacked { rank: 5000 }));
    assert!(matches!(refused(&many, Method::Refit { rank: Some(0) }), MergeError::Method(_)));
    let mut broken = adapter(1, 2, 2.0, 2);
    broken.tensors.pop_last();
    assert!(matches!(refused(&plain(broken), Method::Sum), MergeError::Module { index: 1, .. }));
    let mut huge = adapter(1, 2, 2.0, 1);
    huge.tensors.values_mut().for_each(|tensor| tensor.values.fill(f32::MAX));
    let ties = Method::Ties { rank: None, density: 0.5, lambda: 1.0, seed: 0 };
    for method in [Method::Sum, Method::Refit { rank: Some(1) }, ties] {
        let error = refused(&[(Weight(2 << 16), huge.clone())], method);
        assert!(
            matches!(error, MergeError::NotFinite { .. } | MergeError::Decomposition { .. }),
            "{method:?}: {error}"
        );
    }
    let mut damaged = adapter(1, 2, 2.0, 3);
    damaged.tensors.values_mut().next_back().unwrap().values[1] = f32::NAN;
    assert!(matches!(refused(&plain(damaged), Method::Sum), MergeError::Factors { index: 1, .. }));
}
