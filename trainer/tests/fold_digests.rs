//! Must-show: one digest a recipe, and the reference's. The soak `fold-digests` takes a thousand recipes.

mod fold_rule;

use fold_rule::{Finding, Ways};

const RECIPES: u64 = 60;

#[test]
fn random_recipes_have_the_digest_of_the_reference_on_all_instructions_and_threads() {
    let ways = Ways::new();
    let findings: Vec<_> = (0..RECIPES).map(|seed| ways.check(seed).unwrap()).collect();
    let folds = 3 * ways.levels().len();
    let equal = findings.iter().filter(|finding| **finding == Finding::Equal { folds }).count();
    let refused = findings.iter().filter(|finding| **finding == Finding::Refused { folds }).count();
    assert_eq!(equal + refused, findings.len());
    assert!(equal >= 30 && refused >= 3, "{equal} equal, {refused} refused: the recipes show too little");
}

#[test]
fn a_folded_folder_has_the_id_that_was_foretold_and_folds_again() {
    let ways = Ways::new();
    (0..RECIPES).step_by(4).for_each(|seed| ways.check_folder(seed).unwrap());
}
