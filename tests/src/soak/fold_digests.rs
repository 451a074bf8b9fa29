//! A thousand random recipes, each folded on every instruction level and on 1, 2 and 3 threads with its inputs in
//! another order each time: one digest, that of the rule written out a second time. `trainer/tests/fold_digests.rs` is the
//! short form.

use std::time::Instant;

use serde_json::{Value, json};

use crate::crash::Outcome;
use fold_rule::{Finding, Ways, together};

#[path = "../../../trainer/tests/fold_rule/mod.rs"]
mod fold_rule;

const RECIPES: u64 = 1000;
/// Of so many recipes one is written to a folder too.
const WRITTEN: usize = 10;

pub fn run(seed: u64) -> Outcome<Value> {
    let start = Instant::now();
    let ways = Ways::new();
    // Neighbouring seeds share no recipe.
    let first = seed.checked_mul(RECIPES).ok_or("the seed is too large")?;
    let findings: Vec<Finding> = (first..first + RECIPES).map(|recipe| ways.check(recipe)).collect::<Result<_, _>>()?;
    let equal = findings.iter().filter(|finding| finding.digest.is_some()).count();
    let folds: usize = findings.iter().map(|finding| finding.folds).sum();
    let written: Vec<u64> = (first..first + RECIPES).step_by(WRITTEN).collect();
    written.iter().try_for_each(|recipe| ways.check_folder(*recipe))?;
    Ok(json!({
        "recipes": RECIPES, "equal": equal, "refused_by_both": findings.len() - equal, "unequal": 0, "folds": folds,
        "digest_of_all": together(&findings),
        "threads": [1, 2, 3], "instructions": ways.levels(), "folders": written.len(),
        "wall_s": start.elapsed().as_secs_f64(),
    }))
}
