//! What was seen of the honest ones, and what is promised of it.

use serde_json::{Value, json};

/// How long everything took, in seconds, and what did not come about.
#[derive(Clone, Debug, Default)]
pub struct Times {
    pub publications: usize,
    /// Of each other node, from its first search on: until it found the publication, and until it had pulled it.
    pub found: Vec<f64>,
    pub had: Vec<f64>,
    pub not_found: usize,
    pub pulls_failed: usize,
    pub bombs_refused: usize,
    pub bombs_taken: usize,
    pub bases: Vec<f64>,
    pub bases_failed: usize,
    pub releases: Vec<f64>,
    pub releases_failed: usize,
    pub released: usize,
    pub not_made: usize,
    pub versions: usize,
    pub followed: Vec<f64>,
    pub not_followed: usize,
    pub proofs: usize,
    pub obeyed: Vec<f64>,
    pub not_obeyed: usize,
    pub banned: usize,
}

/// What one node cost.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub peak_mb: f64,
    /// On average.
    pub cores: f64,
}

/// One figure, and how it has to be.
#[derive(Clone, Debug)]
pub struct Promise {
    name: &'static str,
    seen: f64,
    bound: Bound,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Under(f64),
    AtLeast(f64),
    None,
}

impl Promise {
    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::Under(bound) => self.seen < bound,
            Bound::AtLeast(bound) => self.seen >= bound,
            Bound::None => self.seen == 0.0,
        }
    }
}

/// Everything that is promised.
pub fn promises(times: &Times, usage: &[Usage]) -> Vec<Promise> {
    let count = |count: usize| count as f64;
    let peak = usage.iter().map(|node| node.peak_mb).fold(0.0, f64::max);
    let cores = usage.iter().map(|node| node.cores).fold(0.0, f64::max);
    let all = [
        ("found_and_pulled_median_s", median(&times.had), Bound::Under(1.0)),
        ("found_and_pulled_most_s", most(&times.had), Bound::Under(10.0)),
        ("publications_not_found", count(times.not_found), Bound::None),
        ("pulls_failed", count(times.pulls_failed), Bound::None),
        ("bombs_taken", count(times.bombs_taken), Bound::None),
        ("base_add_most_s", most(&times.bases), Bound::Under(15.0)),
        ("base_adds_failed", count(times.bases_failed), Bound::None),
        ("release_most_s", most(&times.releases), Bound::Under(60.0)),
        ("releases_failed", count(times.releases_failed), Bound::None),
        ("honest_proposals_taken", count(times.released), Bound::AtLeast(1.0)),
        ("version_followed_most_s", most(&times.followed), Bound::Under(60.0)),
        ("versions_not_made", count(times.not_made), Bound::None),
        ("versions_not_followed", count(times.not_followed), Bound::None),
        ("proof_obeyed_most_s", most(&times.obeyed), Bound::Under(60.0)),
        ("proofs_not_obeyed", count(times.not_obeyed), Bound::None),
        ("honest_bans", count(times.banned), Bound::None),
        ("peak_mb", peak, Bound::Under(300.0)),
        ("cores", cores, Bound::Under(0.1)),
    ];
    all.map(|(name, seen, bound)| Promise { name, seen, bound }).into()
}

/// Each figure beside its bound.
pub fn figures(promises: &[Promise]) -> Value {
    let one = |promise: &Promise| {
        let (how, bound) = match promise.bound {
            Bound::Under(bound) => ("under", bound),
            Bound::AtLeast(bound) => ("at_least", bound),
            Bound::None => ("exactly", 0.0),
        };
        (promise.name.to_owned(), json!({ "seen": promise.seen, how: bound, "holds": promise.holds() }))
    };
    promises.iter().map(one).collect()
}

/// The names of those that do not hold.
pub fn short(promises: &[Promise]) -> Vec<&'static str> {
    promises.iter().filter(|promise| !promise.holds()).map(|promise| promise.name).collect()
}

/// Endless if nothing was measured: then nothing is known.
pub fn most(times: &[f64]) -> f64 {
    times.iter().copied().reduce(f64::max).unwrap_or(f64::INFINITY)
}

pub fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Times {
        let one = || vec![0.5; 3];
        Times {
            found: one(),
            had: one(),
            bases: one(),
            releases: one(),
            released: 1,
            followed: one(),
            obeyed: one(),
            ..Times::default()
        }
    }

    const USAGE: [Usage; 1] = [Usage { peak_mb: 100.0, cores: 0.05 }];

    #[test]
    fn what_does_not_hold_is_named() {
        assert_eq!(short(&promises(&good(), &USAGE)), [""; 0]);
        let slow = Times { had: vec![0.1, 2.0, 11.0], pulls_failed: 1, banned: 1, ..good() };
        let found = short(&promises(&slow, &[Usage { peak_mb: 301.0, cores: 0.2 }]));
        let expected =
            ["found_and_pulled_median_s", "found_and_pulled_most_s", "pulls_failed", "honest_bans", "peak_mb", "cores"];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_not_seen_does_not_hold() {
        let found = short(&promises(&Times::default(), &USAGE));
        assert!(found.contains(&"proof_obeyed_most_s") && found.contains(&"found_and_pulled_median_s"), "{found:?}");
    }

    #[test]
    fn each_figure_stands_beside_its_bound() {
        let figures = figures(&promises(&good(), &USAGE));
        assert_eq!(figures["cores"], json!({ "seen": 0.05, "under": 0.1, "holds": true }));
        assert_eq!(figures["honest_bans"], json!({ "seen": 0.0, "exactly": 0.0, "holds": true }));
    }
}
