//! `date: 3 March 2019` to `2019-03-03` (ISO 8601).

use super::{Example, Rng};

const MONTHS: [(&str, usize); 12] = [
    ("January", 31),
    ("February", 28),
    ("March", 31),
    ("April", 30),
    ("May", 31),
    ("June", 30),
    ("July", 31),
    ("August", 31),
    ("September", 30),
    ("October", 31),
    ("November", 30),
    ("December", 31),
];

/// 29 February is left out rather than leap years brought in: the fact is the format.
pub(super) fn draw(rng: &mut Rng) -> Example {
    let month = rng.below(MONTHS.len());
    let (name, days) = MONTHS[month];
    let day = rng.within(1, days);
    let year = rng.within(1900, 2099);
    Example::new(format!("date: {day} {name} {year}\n"), format!("{year}-{:02}-{day:02}", month + 1))
}
