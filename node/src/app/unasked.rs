//! What a node fetches although nobody at it asked for these very bytes: a channel's records and adapters, which its
//! steward chose, and proposed adapters, which strangers chose. So many bytes a day, whatever they choose.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;

/// If nothing is said: a channel's hundred adapters of 160 MiB, once a day.
pub const PER_DAY: u64 = 16 << 30;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Bytes that may still be fetched unasked. They come back evenly, all of them within a day.
#[derive(Debug)]
pub struct Budget {
    per_day: u64,
    left: Mutex<(u64, Instant)>,
}

/// More than is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Bytes that could be fetched now.
    pub left: u64,
    /// Bytes of a whole day.
    pub per_day: u64,
}

impl Budget {
    /// All of it is left.
    pub fn new(per_day: u64) -> Self {
        Self { per_day, left: Mutex::new((per_day, Instant::now())) }
    }

    /// Takes bytes before they are fetched.
    fn take(&self, bytes: u64) -> Result<(), Over> {
        self.take_at(bytes, Instant::now())
    }

    /// The same, until it is known how much came.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation<'_>, Over> {
        self.take(bytes).map(|()| Reservation { budget: self, stated: bytes, fetched: 0 })
    }

    fn give_back(&self, bytes: u64) {
        let mut left = lock(&self.left);
        left.0 = left.0.saturating_add(bytes).min(self.per_day);
    }

    fn take_at(&self, bytes: u64, now: Instant) -> Result<(), Over> {
        let mut left = lock(&self.left);
        let share = now.saturating_duration_since(left.1).as_secs_f64() / DAY.as_secs_f64();
        let back = (self.per_day as f64 * share.min(1.0)) as u64;
        if back > 0 {
            *left = (left.0.saturating_add(back).min(self.per_day), now);
        }
        match left.0.checked_sub(bytes) {
            Some(rest) => {
                left.0 = rest;
                Ok(())
            }
            None => Err(Over { left: left.0, per_day: self.per_day }),
        }
    }
}

/// Bytes that were taken for one fetch. What did not come is given back when it ends, however it ends.
#[derive(Debug)]
pub struct Reservation<'a> {
    budget: &'a Budget,
    stated: u64,
    fetched: u64,
}

impl Reservation<'_> {
    /// So many of them came.
    pub fn came(&mut self, bytes: u64) {
        self.fetched = bytes;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.stated.saturating_sub(self.fetched));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_unasked_has_a_bound_a_day() {
        let (budget, begun) = (Budget::new(1000), Instant::now());
        assert_eq!(budget.take_at(600, begun), Ok(()));
        assert_eq!(budget.take_at(600, begun), Err(Over { left: 400, per_day: 1000 }));
        assert_eq!(budget.take_at(600, begun + DAY / 4), Ok(()), "a quarter has come back");
        assert_eq!(budget.take_at(60, begun + DAY / 4).map_err(|over| over.left), Err(50));
        budget.give_back(40);
        assert_eq!(budget.take_at(60, begun + DAY / 4), Ok(()));
        assert_eq!(budget.take_at(1000, begun + DAY * 9), Ok(()), "never more than a day's");
        budget.give_back(5000);
        assert_eq!(budget.take_at(1001, begun + DAY * 9).map_err(|over| over.left), Err(1000));
        assert_eq!(Budget::new(0).take_at(1, begun + DAY), Err(Over { left: 0, per_day: 0 }));
    }

    #[test]
    fn what_did_not_come_of_a_fetch_comes_back_however_it_ends() {
        let budget = Budget::new(1000);
        let left = |budget: &Budget| budget.take(1001).expect_err("more than there is").left;
        let mut reservation = budget.reserve(900).expect("room");
        assert_eq!(left(&budget), 100);
        reservation.came(300);
        drop(reservation);
        assert_eq!(left(&budget), 700, "three hundred were fetched");
        assert_eq!(budget.reserve(701).map(drop), Err(Over { left: 700, per_day: 1000 }));
        drop(budget.reserve(700).expect("room"));
        assert_eq!(left(&budget), 700, "nobody sent anything");
    }
}
