//! Whether `potluck bench step --json` gives the losses of torch + PEFT from the same start.

use std::path::Path;

use clap::Args;
use serde_json::Value;

/// What is demanded.
#[derive(Clone, Debug, Args)]
pub struct Demands {
    /// Largest difference of one step's loss
    #[arg(long, default_value_t = 1e-3)]
    pub within: f64,
}

/// The largest difference, or what is wrong. Both files end in a line, or are, one JSON object with `losses`.
pub fn check(measured: &Path, reference: &Path, demands: &Demands) -> Result<f64, String> {
    let (measured, reference) = (losses(measured)?, losses(reference)?);
    if measured.len() != reference.len() || measured.is_empty() {
        return Err(format!("{} losses were measured, {} are wanted", measured.len(), reference.len()));
    }
    let differences = measured.iter().zip(&reference).map(|(a, b)| (a - b).abs());
    // `f64::max` would lose a NaN.
    let keep = |largest: f64, next: f64| if largest >= next || largest.is_nan() { largest } else { next };
    let largest = differences.fold(0.0, keep);
    if largest <= demands.within {
        Ok(largest)
    } else {
        Err(format!("the losses differ by {largest:e}, {:e} is allowed", demands.within))
    }
}

fn losses(path: &Path) -> Result<Vec<f64>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let whole = serde_json::from_str(&text).or_else(|_| serde_json::from_str(text.lines().last().unwrap_or_default()));
    let object: Value = whole.map_err(|error| format!("{}: {error}", path.display()))?;
    let losses = object["losses"].as_array().ok_or_else(|| format!("{}: no `losses`", path.display()))?;
    losses.iter().map(|loss| loss.as_f64().ok_or_else(|| format!("{}: a loss is no number", path.display()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(measured: &str, reference: &str) -> Result<f64, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, measured).expect("writable");
        std::fs::write(&b, reference).expect("writable");
        check(&a, &b, &Demands { within: 1e-3 })
    }

    #[test]
    fn every_loss_counts() {
        assert!(compare("building\n{\"losses\":[1.0,2.0005]}\n", "{\n\"losses\":[1.0,\n2.0]}").is_ok());
        assert!(compare("{\"losses\":[1.0,2.002]}", "{\"losses\":[1.0,2.0]}").is_err());
        assert!(compare("{\"losses\":[1.0]}", "{\"losses\":[1.0,2.0]}").is_err());
        assert!(compare("{\"losses\":[1.0,null]}", "{\"losses\":[1.0,2.0]}").is_err());
        assert!(compare("{\"losses\":[]}", "{\"losses\":[]}").is_err());
    }
}
