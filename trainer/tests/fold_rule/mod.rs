//! Recipes drawn by seed, and what must be true of each: one digest, that of the [`reference`], whatever the order of
//! the inputs, the number of threads and the instructions.
//!
//! The soak `fold-digests` of the crate `potluck-tests` includes these files too.

mod case;
mod draw;
mod reference;

use case::Case;
use draw::Draw;
use potluck_protocol::tensor::DType;
use potluck_trainer::backend::cpu::instructions::Instructions;
use potluck_trainer::base::Base;
use potluck_trainer::base::sink::Discard;
use potluck_trainer::base::write::FolderWriter;
use potluck_trainer::merge::fold::{FoldError, Folded, Input, fold, fold_on};
use rayon::ThreadPool;

/// The types of a result, by their numbers in the digest.
const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// Every instruction level that this machine has, and pools of 1, 2 and 3 threads.
pub struct Ways {
    levels: Vec<Instructions>,
    pools: Vec<ThreadPool>,
}

/// What was found out about a recipe.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The one digest; `None` if the result is not finite, by the reference and every time.
    pub digest: Option<String>,
    pub folds: usize,
}

/// One digest of all findings, to compare machines and builds by.
pub fn together(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| finding.digest.as_deref().unwrap_or("refused"));
    blake3::hash(lines.collect::<Vec<_>>().join("\n").as_bytes()).to_hex().to_string()
}

impl Ways {
    pub fn new() -> Self {
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let levels = Instructions::ALL.into_iter().filter(|level| level.available()).collect();
        Self { levels, pools: (1..=3).map(pool).collect() }
    }

    pub fn levels(&self) -> &[Instructions] {
        &self.levels
    }

    /// Every level on every pool, the inputs in an order of their own each time.
    pub fn check(&self, seed: u64) -> Result<Finding, String> {
        let case = Case::by_seed(seed);
        let wanted = reference::digest(&case.base, &case.adapters, case.dtype);
        let (mut draw, mut inputs, mut folds) = (Draw(!seed), case.inputs(), 0);
        for &level in &self.levels {
            for pool in &self.pools {
                draw.shuffle(&mut inputs);
                let folded = || fold_on(level, &case.base, &inputs, DTYPES[case.dtype], &mut Discard);
                let found = digest(pool.install(folded)).map_err(|error| format!("recipe {seed}: {error}"))?;
                if found != wanted {
                    let threads = pool.current_num_threads();
                    return Err(format!("recipe {seed}, {level:?} on {threads}: {found:?}, not {wanted:?}"));
                }
                folds += 1;
            }
        }
        Ok(Finding { digest: wanted, folds })
    }

    /// A result written to a folder has the id that the fold foretold, and is a parent like any other.
    pub fn check_folder(&self, seed: u64) -> Result<(), String> {
        let case = Case::by_seed(seed);
        let root = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (out, dtype) = (root.path().join("out"), DTYPES[case.dtype]);
        let Some(folded) = write(&out, &case, dtype).map_err(|error| format!("recipe {seed}: {error}"))? else {
            return Ok(());
        };
        let base = Base::open(&out).map_err(|error| format!("recipe {seed}: {error}"))?;
        if base.id().ok() != Some(folded.base) {
            return Err(format!("recipe {seed}: the folder is another base than the fold said"));
        }
        let again = digest(fold(&base, &case.inputs(), dtype, &mut Discard)).map_err(|error| error.to_string())?;
        let wanted = reference::digest(&base, &case.adapters, case.dtype);
        if again == wanted {
            Ok(())
        } else {
            Err(format!("recipe {seed} on its own result: {again:?}, not {wanted:?}"))
        }
    }
}

fn write(out: &std::path::Path, case: &Case, dtype: DType) -> Result<Option<Folded>, String> {
    let (architecture, tokenizer) = (case.base.architecture(), case.base.tokenizer());
    let mut folder =
        FolderWriter::create(out, architecture, tokenizer, None, dtype).map_err(|error| error.to_string())?;
    match fold(&case.base, &case.inputs(), dtype, &mut folder) {
        Ok(folded) => folder.finish().map(|()| Some(folded)).map_err(|error| error.to_string()),
        Err(error) => digest(Err(error)).map(|_| None).map_err(|error| error.to_string()),
    }
}

/// `None` for what is not finite.
fn digest(folded: Result<Folded, FoldError>) -> Result<Option<String>, FoldError> {
    match folded {
        Ok(folded) => Ok(Some(folded.digest.to_string())),
        Err(FoldError::NotFinite { .. } | FoldError::Overflow { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Case {
    fn inputs(&self) -> Vec<Input<'_>> {
        self.adapters.iter().map(|(id, (weight, adapter))| Input { id: *id, weight: *weight, adapter }).collect()
    }
}
