//! Whether a base is a view of another one: the same model, with weights that are nearly the same.

use potluck_protocol::tensor::DType;
use potluck_trainer::base::{Base, Place, Tokenizer};
use potluck_trainer::tensor::HostTensor;
use potluck_trainer::tensor::dequantise;
use rayon::prelude::*;

use super::open;
use crate::failure::{Failure, Kind, Outcome};
use crate::worker::answers::Distance;
use crate::worker::proto::BaseSource;

/// Texts whose tokens must be the same: words, numbers, spaces, other scripts, code.
const PROBES: [&str; 5] =
    ["The quick brown fox", " 3.14159  =  pi", "Grüße, 世界! ñ", "fn main() {\n\t0\n}", "\u{1f600} ok"];

/// Refuses what is no view; otherwise the tensor that is farthest from the original.
pub fn compare(view: &BaseSource, original: &BaseSource) -> Outcome<Distance> {
    let (view, original) = (open::base(view)?, open::base(original)?);
    if view.architecture() != original.architecture() {
        return Err(not_a_view(format!(
            "it is `{}`, and the original is `{}`",
            view.architecture(),
            original.architecture()
        )));
    }
    check_tokens(view.tokenizer(), original.tokenizer(), view.architecture().vocab_size)?;
    let names: Vec<String> = view.architecture().tensors().into_iter().map(|(name, _)| name).collect();
    let distances = names.par_iter().map(|name| measure_distance(&view, &original, name));
    let distances = distances.collect::<Outcome<Vec<Distance>>>()?;
    let ratio = |one: &Distance| one.error / one.bound;
    let worst = distances.into_iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let worst = worst.ok_or_else(|| not_a_view("it has no tensors".to_owned()))?;
    // A distance that is no number is within no bound.
    let within = worst.error <= worst.bound;
    if within {
        return Ok(worst);
    }
    Err(not_a_view(format!(
        "`{}` is {:.3} % from the original, and its format allows {:.3} %",
        worst.tensor,
        100.0 * worst.error,
        100.0 * worst.bound
    )))
}

fn check_tokens(view: &Tokenizer, original: &Tokenizer, vocabulary: u32) -> Outcome<()> {
    let told =
        |tokenizer: &Tokenizer, id: u32| tokenizer.decode_all(&[id]).map_err(|error| not_a_view(error.to_string()));
    for id in 0..vocabulary {
        let (one, other) = (told(view, id)?, told(original, id)?);
        if one != other {
            let [one, other] = [one.escape_debug(), other.escape_debug()];
            return Err(not_a_view(format!("its token {id} is `{one}`, the original's is `{other}`")));
        }
    }
    for probe in PROBES {
        let ids = |tokenizer: &Tokenizer| {
            tokenizer.encode(probe, Place::Start).map_err(|error| not_a_view(error.to_string()))
        };
        if ids(view)?.ids != ids(original)?.ids {
            return Err(not_a_view(format!("it cuts `{}` into other tokens", probe.escape_debug())));
        }
    }
    Ok(())
}

/// The Frobenius norm of the difference over that of the original, row by row: nothing is held whole.
fn measure_distance(view: &Base, original: &Base, name: &str) -> Outcome<Distance> {
    let missing = |error: potluck_trainer::base::NoSuchTensor| Failure::new(Kind::Verification, error);
    let (one, other) = (view.tensor(name).map_err(missing)?, original.tensor(name).map_err(missing)?);
    let columns = one.shape.last().copied().unwrap_or(1).max(1);
    let (mut a, mut b) = (vec![0.0f32; columns], vec![0.0f32; columns]);
    let (mut apart, mut size) = (0.0f64, 0.0f64);
    for (row, from) in rows(&one, columns).zip(rows(&other, columns)) {
        dequantise::sequential(one.dtype, row, &mut a);
        dequantise::sequential(other.dtype, from, &mut b);
        for (x, y) in a.iter().zip(&b) {
            apart += (f64::from(*x) - f64::from(*y)).powi(2);
            size += f64::from(*y).powi(2);
        }
    }
    let error = if apart == 0.0 { 0.0 } else { (apart / size).sqrt() };
    Ok(Distance { tensor: name.to_owned(), error, bound: allowed_error(one.dtype).max(allowed_error(other.dtype)) })
}

fn rows(tensor: &HostTensor, columns: usize) -> impl Iterator<Item = &[u8]> {
    let len = tensor.dtype.bytes(&[columns]).unwrap_or(1).max(1);
    tensor.bytes().chunks_exact(len)
}

/// Some twice what rounding bell-shaped weights to the format costs.
fn allowed_error(dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::F64 => 1e-6,
        DType::F16 => 1e-3,
        DType::BF16 => 5e-3,
        DType::Q8_0 | DType::Q8K => 0.02,
        DType::Q6K => 0.05,
        DType::Q5_0 | DType::Q5_1 | DType::Q5K => 0.08,
        DType::Q4_0 | DType::Q4_1 | DType::Q4K => 0.15,
        DType::Q3K => 0.28,
        DType::Q2K => 0.5,
    }
}

fn not_a_view(why: String) -> Failure {
    Failure::new(Kind::Incompatible, format!("it is not a view of that base: {why}"))
        .hint("name the base that the file was made from with --view-of")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use potluck_trainer::tiny;

    use super::*;

    /// `tiny` with other values.
    fn changed(change: impl Fn(&str, f32) -> f32) -> Base {
        let base = tiny::base().expect("inside the program");
        let tensor = |name: &str| {
            let tensor = base.tensor(name).expect("its own");
            let values = dequantise::tensor(&tensor);
            let values: Vec<f32> = values.iter().map(|value| change(name, *value)).collect();
            (name.to_owned(), HostTensor::from_f32(tensor.shape.clone(), &values).expect("as many"))
        };
        let names = base.architecture().tensors();
        let tensors: BTreeMap<_, _> = names.iter().map(|(name, _)| tensor(name)).collect();
        Base::from_tensors(base.architecture().clone(), base.tokenizer().clone(), tensors).expect("it fits")
    }

    #[test]
    fn the_tensor_that_is_farthest_is_found() {
        let original = changed(|_, value| value);
        let wide = |name: &str, scale: f32| {
            let worst = "model.layers.1.mlp.up_proj.weight";
            let view = changed(|name, value| if name == worst { value * scale } else { value });
            measure_distance(&view, &original, name).expect("there").error
        };
        assert!((wide("model.layers.1.mlp.up_proj.weight", 1.01) - 0.01).abs() < 1e-4);
        assert_eq!(wide("model.layers.0.mlp.up_proj.weight", 1.01), 0.0);
        assert!(wide("model.layers.1.mlp.up_proj.weight", f32::NAN).is_nan());
    }
}
