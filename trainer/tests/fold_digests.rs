//! Must-show: one digest a recipe, and the reference's. The soak `fold-digests` takes a thousand recipes.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test: what fails here fails it"
)]

mod fold_rule;

use fold_rule::{Finding, Ways, together};

const RECIPES: u64 = 60;
const ALL: &str = "b03d1457f17324dc4569d817d343963d6f4a6afd206aacd8becce3db58607068";

#[test]
fn random_recipes_have_the_digest_of_the_reference_on_all_instructions_and_threads() {
    let ways = Ways::new();
    let findings: Vec<Finding> = (0..RECIPES).map(|seed| ways.check(seed).unwrap()).collect();
    let folds = 3 * ways.levels().len();
    assert!(findings.iter().all(|finding| finding.folds == folds));
    let equal = findings.iter().filter(|finding| finding.digest.is_some()).count();
    let refused = findings.len() - equal;
    assert!(equal >= 30 && refused >= 3, "{equal} equal, {refused} refused: the recipes show too little");
    // The same from any build for any processor.
    assert_eq!(together(&findings), ALL, "{equal} equal, {refused} refused");
}

#[test]
fn a_folded_folder_has_the_id_that_was_foretold_and_folds_again() {
    let ways = Ways::new();
    (0..RECIPES).step_by(4).for_each(|seed| ways.check_folder(seed).unwrap());
}
