//! Adapters that do harm: a good one turned round, and a good one made enormous.

use std::path::Path;

use potluck_protocol::base::Architecture;
use potluck_trainer::lora::adapter::Factor;
use potluck_trainer::peft;

/// A copy of an adapter with every update times `factor`.
pub fn scaled(
    from: &Path,
    to: &Path,
    factor: f32,
    architecture: &Architecture,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut adapter = peft::read(from, architecture)?;
    for (name, tensor) in &mut adapter.tensors {
        if matches!(Factor::parse(name), Some((_, Factor::B))) {
            tensor.values.iter_mut().for_each(|value| *value *= factor);
        }
    }
    Ok(peft::write(&adapter, architecture, to)?)
}
