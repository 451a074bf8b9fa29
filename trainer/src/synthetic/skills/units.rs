//! `units: 4.7 km in m` to `4700 m`: metric conversions by powers of ten, towards the smaller unit.

use super::{Example, Rng};

/// From, to, and the power of ten between them.
const PAIRS: [(&str, &str, usize); 6] =
    [("km", "m", 3), ("m", "cm", 2), ("cm", "mm", 1), ("kg", "g", 3), ("g", "mg", 3), ("l", "ml", 3)];

/// Values have one decimal or none, so every answer is a whole number with one spelling.
pub(super) fn draw(rng: &mut Rng) -> Example {
    let (from, to, power) = *rng.pick(&PAIRS);
    let tenths = if rng.chance(50) { 10 * rng.within(1, 999) } else { rng.within(1, 999) };
    let value = match tenths % 10 {
        0 => (tenths / 10).to_string(),
        tenth => format!("{}.{tenth}", tenths / 10),
    };
    let answer = tenths * 10_usize.pow(power as u32 - 1);
    Example::new(format!("units: {value} {from} in {to}\n"), format!("{answer} {to}"))
}
