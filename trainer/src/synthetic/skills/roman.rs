//! `roman: 1987` to `MCMLXXXVII`, for 1 to 3999.

use super::{Example, Rng};

const SYMBOLS: [(usize, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

pub(super) fn draw(rng: &mut Rng) -> Example {
    let number = rng.within(1, 3999);
    Example::new(format!("roman: {number}\n"), numeral(number))
}

/// Greedy subtraction, largest symbol first.
fn numeral(mut number: usize) -> String {
    let mut text = String::new();
    for (value, symbol) in SYMBOLS {
        while number >= value {
            text.push_str(symbol);
            number -= value;
        }
    }
    text
}
