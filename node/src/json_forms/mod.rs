//! The JSON form of types that other crates define, for the schema of requests and answers.
//!
//! `protocol` and `trainer` know nothing of schemas. A field of one of their types says
//! `#[schema(value_type = json_forms::X)]`, and X is written and read as that type is: the tests here hold each form
//! against it. Forms stand for types in schemas alone; no value is kept in one.

mod channel;
mod manifest;
mod report;
mod settings;
mod texts;
#[cfg(test)]
mod tests;

pub use channel::{
    Admission, Change, ChannelInfo, Claim, Gate, NormBound, Opened, ProofInfo, ProposalInfo, Recipe, Refusal, Role,
    Rule, Score, Sealed, Suite, Verdict, VerdictOutcome, VersionInfo,
};
pub use manifest::{
    AdapterInfo, Architecture, BaseInfo, DType, DatasetInfo, Evaluation, Family, FileEntry, KindTag, Manifest,
    ManifestKind, Training,
};
pub use report::{BadRow, BlankRow, Lengths, Packing, Piece, Report, RowKind, RowPreview, RowTokens};
pub use settings::{
    EarlyStopping, InstructionsOrAuto, Keep, Method, Overlong, PrecisionOrAuto, Recompute, ScheduleShape, Targets,
    TrainedFactors,
};
pub use texts::{
    BaseId, Digest, FileDigest, FoldDigest, ManifestId, Multiaddr, Name, PublicKey, RecipeId, RelPath, ShardId,
};
