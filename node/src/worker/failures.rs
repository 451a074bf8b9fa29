//! How the trainer's errors look at the node's edge: kind and hint.

use std::path::Path;

use potluck_trainer::base::gguf::GgufError;
use potluck_trainer::base::{BaseError, TokenizerError};
use potluck_trainer::bench::merge::BenchMergeError;
use potluck_trainer::data::chat::ChatError;
use potluck_trainer::data::check::CheckError;
use potluck_trainer::data::jsonl::DataError;
use potluck_trainer::data::tokenise::{RowError, TokeniseError};
use potluck_trainer::evaluate::EvaluateError;
use potluck_trainer::fit::FitError;
use potluck_trainer::fit::checkpoint::CheckpointError;
use potluck_trainer::fit::folder::FolderError;
use potluck_trainer::lora::LoraError;
use potluck_trainer::lora::factors::FactorsError;
use potluck_trainer::merge::MergeError;
use potluck_trainer::merge::fold::FoldError;
use potluck_trainer::merge::folders::FoldersError;
use potluck_trainer::model::ModelError;
use potluck_trainer::peft::PeftError;

use crate::failure::{Failure, Kind};

/// Rows that one message names.
const ROWS_MAX: usize = 8;

pub fn base(error: &BaseError) -> Failure {
    match error {
        BaseError::Io { path, error } => Failure::io(path.display(), error),
        BaseError::NotABase { .. } => Failure::new(Kind::NotFound, error)
            .hint("give a Hugging Face folder with safetensors, a .gguf file, or `tiny`"),
        BaseError::NoWeights { .. } => Failure::new(Kind::NotFound, error),
        BaseError::NoTokenizer { .. } => Failure::new(Kind::NotFound, error)
            .hint("put the tokenizer.json of the model that it was made from into the folder"),
        BaseError::Config { .. } => {
            Failure::new(Kind::Incompatible, error).hint("the Llama family is supported so far, SmolLM2 included")
        }
        BaseError::LfsPointer { .. } => lfs(error),
        BaseError::Gguf { error: GgufError::Split { .. }, .. } => Failure::new(Kind::Incompatible, error)
            .hint("join the pieces first: `llama-gguf-split --merge FIRST-PIECE.gguf WHOLE.gguf`"),
        BaseError::Gguf { error: GgufError::NoModel(_), .. } => Failure::new(Kind::Incompatible, error)
            .hint("a base is a model; an adapter is a PEFT folder (adapter_config.json and adapter_model.safetensors)"),
        BaseError::Gguf { error: gguf, .. } if gguf.is_unsupported() => Failure::new(Kind::Incompatible, error)
            .hint("the Llama family is supported so far, with F32, F16, BF16, Q*_0, Q*_1 and Q*_K tensors"),
        BaseError::Tokenizer { error: TokenizerError::Class { .. } | TokenizerError::Code { .. } | TokenizerError::NotBpe { .. }, .. } => {
            Failure::new(Kind::Incompatible, error).hint(
                "if the folder's tokenizer.json is right as it stands, write `\"tokenizer_class\": \"PreTrainedTokenizerFast\"` and no `auto_map` into its tokenizer_config.json",
            )
        }
        BaseError::Tokenizer { error: TokenizerError::Field { .. } | TokenizerError::SpecialToken { .. }, .. } => {
            Failure::new(Kind::Incompatible, error).hint("change the field in the folder's tokenizer_config.json, if it is wrong")
        }
        BaseError::Tokenizer { error: TokenizerError::Unsupported { .. } | TokenizerError::NoEnd, .. } => {
            Failure::new(Kind::Incompatible, error).hint("give the model's folder with its tokenizer.json")
        }
        _ => {
            Failure::new(Kind::Verification, error).hint("the file is damaged or not what its name says: get it again")
        }
    }
}

fn lfs(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Incompatible, error)
        .hint("fetch the file itself: `git lfs install`, then `git lfs pull` in the clone, or download it again")
}

pub fn peft(folder: &Path, error: &PeftError) -> Failure {
    match error {
        PeftError::Io { path, error } => return Failure::io(path.display(), error),
        PeftError::NoFolder { .. } => {
            return Failure::new(Kind::Usage, error).hint(
                "an adapter is a PEFT folder (adapter_config.json and adapter_model.safetensors): give the folder that it was made from",
            );
        }
        PeftError::LfsPointer { .. } => return lfs(error),
        PeftError::Untrained { .. } | PeftError::NotTargeted { .. } => {
            return Failure::new(Kind::Verification, format!("{}: {error}", folder.display())).hint(
                "let `target_modules` (with `exclude_modules` and `layers_to_transform`) in adapter_config.json name the modules that the file has",
            );
        }
        _ => {}
    }
    Failure::new(Kind::Verification, format!("{}: {error}", folder.display())).hint(
        "an adapter is a PEFT folder (adapter_config.json and adapter_model.safetensors) that was trained on this base",
    )
}

pub fn data(error: &DataError) -> Failure {
    match error {
        DataError::Io { path, error } => Failure::io(path.display(), error),
        _ => Failure::new(Kind::Usage, error)
            .hint("`potluck data check FILE --base REF` lists every row that cannot be used, not only the first"),
    }
}

pub fn check(file: &Path, error: &CheckError) -> Failure {
    match error {
        CheckError::Data(error) => data(error),
        CheckError::Format(error) => chat(error).context(format!("{}: the rows are chats", file.display())),
    }
}

/// A base that cannot write chats, or not this one.
pub fn chat(error: &ChatError) -> Failure {
    match error {
        ChatError::NoTemplate => Failure::new(Kind::Incompatible, error).hint(
            "take a base with a template (mostly one whose name says Instruct or Chat), put a chat_template.jinja into its folder, or use prompt and completion rows",
        ),
        ChatError::Template(_) | ChatError::Endless(_) | ChatError::TooLong(_) | ChatError::Rewrites { .. } => {
            Failure::new(Kind::Usage, error).hint(
                "change the row, or put a chat_template.jinja of your own into the base's folder; answers between {% generation %} and {% endgeneration %} are found in any template",
            )
        }
        ChatError::Noncharacter(_) => Failure::new(Kind::Usage, error).hint("remove the character from the row"),
        ChatError::Forgeable(_) | ChatError::Tokenizer(_) => Failure::new(Kind::Usage, error),
    }
}

pub fn model(error: &ModelError) -> Failure {
    match error {
        ModelError::Stopped => Failure::interrupted(),
        _ => Failure::new(Kind::Verification, error),
    }
}

pub fn lora(error: &LoraError) -> Failure {
    Failure::new(Kind::Incompatible, error).hint("was the adapter trained on this base?")
}

pub fn tokenise(error: &TokeniseError) -> Failure {
    let failure = match error {
        TokeniseError::Format { error, .. } | TokeniseError::Row { error: RowError::Chat(error), .. } => chat(error),
        TokeniseError::Row { error: RowError::Masked, .. } => Failure::new(Kind::Usage, error)
            .hint("does the base's template mark answers with {% generation %} and leave this one out?"),
        TokeniseError::Row { .. } => Failure::new(Kind::Usage, error)
            .hint("allow longer rows with --max-length, cut them with --overlong cut, or shorten them"),
    };
    // The outer error names the file and the row.
    Failure { message: error.to_string(), ..failure }
}

pub fn merge(error: &FoldersError) -> Failure {
    match error {
        FoldersError::Peft { folder, error: error @ (PeftError::Name { .. } | PeftError::Shape { .. }) } => {
            Failure::new(Kind::Incompatible, format!("{}: {error}", folder.display()))
                .hint("give the base that it was trained on with --base REF")
        }
        FoldersError::Peft { folder, error } => peft(folder, error),
        FoldersError::Out { folder, error } => crate::out_folder::unwritable(folder, error),
        FoldersError::Merge(error) => merge_of(error),
    }
}

fn merge_of(error: &MergeError) -> Failure {
    match error {
        MergeError::Nothing | MergeError::Method(_) => Failure::new(Kind::Usage, error),
        MergeError::Rank { .. } => Failure::new(Kind::Incompatible, error)
            .hint("take `--method refit --rank K`, or fold the adapters into the base with --fold"),
        MergeError::Stacked { .. } => Failure::new(Kind::Incompatible, error),
        MergeError::Module { .. } => {
            Failure::new(Kind::Incompatible, error).hint("was the adapter trained on this base?")
        }
        MergeError::Factors { error: FactorsError::Io { path, error }, .. } => Failure::io(path.display(), error),
        MergeError::Factors { .. } => Failure::new(Kind::Verification, error)
            .hint("the adapter is damaged or its training went wrong: leave it out, or get it again"),
        MergeError::NotFinite { .. } | MergeError::Decomposition { .. } => {
            Failure::new(Kind::Verification, error).hint("give smaller weights, e.g. `adapter@0.5`")
        }
        MergeError::Sink(error) => Failure::io("write the merged adapter", error),
        MergeError::Stopped => Failure::interrupted(),
    }
}

pub fn bench_merge(error: &BenchMergeError) -> Failure {
    match error {
        BenchMergeError::Folders(error) => merge(error),
        BenchMergeError::Io { path, error } => Failure::io(path.display(), error),
        BenchMergeError::Shape { .. } => {
            Failure::new(Kind::Incompatible, error).hint("give the config.json of a model of the Llama family")
        }
    }
}

pub fn fold(error: &FoldError) -> Failure {
    match error {
        FoldError::Sink(error) => Failure::io("write the folded base", error),
        FoldError::Module { .. } => {
            Failure::new(Kind::Incompatible, error).hint("was the adapter trained on this base?")
        }
        FoldError::Factors { error: FactorsError::Io { path, error }, .. } => Failure::io(path.display(), error),
        FoldError::Overflow { .. } | FoldError::NotFinite { .. } => Failure::new(Kind::Verification, error)
            .hint("give smaller weights, or leave out an adapter that is damaged"),
        FoldError::Type(_) | FoldError::Twice(_) => Failure::new(Kind::Usage, error),
        _ => Failure::new(Kind::Verification, error),
    }
}

/// `places` names the samples by the line of the file that they came from.
pub fn evaluate(places: &[String], error: &EvaluateError) -> Failure {
    match error {
        EvaluateError::Unlabelled { sample } => Failure::new(Kind::Usage, error).context(place(places, *sample)),
        EvaluateError::NoSamples => Failure::new(Kind::Usage, error),
        EvaluateError::Model(error) => model(error),
    }
}

fn place(places: &[String], sample: usize) -> &str {
    places.get(sample).map_or("", String::as_str)
}

/// The same of a run's samples and those that it watches.
pub fn fit(places: &[String], held_out: &[String], error: &FitError) -> Failure {
    let lower = "lower --learning-rate; the last good checkpoint is kept in the run's folder beside --out";
    match error {
        FitError::NonFinite { samples, .. } => {
            let lines: Vec<_> = samples.iter().take(ROWS_MAX).map(|&sample| place(places, sample)).collect();
            let more = if samples.len() > ROWS_MAX { ", ..." } else { "" };
            Failure::new(Kind::Verification, error)
                .context(format!("{}{more}", lines.join(", ")))
                .hint(format!("look at these rows, or {lower}"))
        }
        FitError::NonFiniteHeldOut { .. } | FitError::NonFiniteFactor { .. } => {
            Failure::new(Kind::Verification, error).hint(lower)
        }
        FitError::Unlabelled { sample } => Failure::new(Kind::Usage, error).context(place(places, *sample)),
        FitError::UnlabelledHeldOut { sample } => Failure::new(Kind::Usage, error).context(place(held_out, *sample)),
        FitError::NoHeldOut => Failure::new(Kind::Usage, error).hint("give rows with --held-out FILE.jsonl"),
        FitError::ZeroB { .. } => {
            Failure::new(Kind::Usage, error).hint("give an adapter with --from REF, or train both with --train both")
        }
        FitError::NoSamples | FitError::Setting { .. } => Failure::new(Kind::Usage, error),
        FitError::DeadFactors { .. } => {
            Failure::new(Kind::Failed, error).hint("please report this: it must not happen")
        }
        FitError::Metrics(error) => Failure::io("write the run's metrics", error),
        FitError::Folder(error) => folder(error),
        FitError::Checkpoint(error) => checkpoint(error),
        FitError::Model(error) => model(error),
        FitError::Lora(error) => settings(error),
    }
}

/// What a run's LoRA settings ask of a base.
fn settings(error: &LoraError) -> Failure {
    match error {
        LoraError::Settings { .. }
        | LoraError::NoTarget { .. }
        | LoraError::Layer { .. }
        | LoraError::Dropout(_)
        | LoraError::Pattern { .. } => Failure::new(Kind::Usage, error),
        _ => lora(error),
    }
}

pub fn folder(error: &FolderError) -> Failure {
    match error {
        FolderError::Io { path, error } => Failure::io(format!("write {}", path.display()), error),
        FolderError::Busy { .. } => {
            Failure::new(Kind::Conflict, error).hint("wait until it has ended, or choose another --out")
        }
    }
}

fn checkpoint(error: &CheckpointError) -> Failure {
    match error {
        CheckpointError::Io { path, source, .. } => Failure::io(format!("the checkpoint {}", path.display()), source),
        CheckpointError::Damaged { path, .. } | CheckpointError::OtherRun { path, .. } => {
            let folder = path.parent().unwrap_or(path);
            Failure::new(Kind::Conflict, error).hint(format!(
                "repeat the command that began the run, choose another --out, or remove {} to start afresh",
                folder.display()
            ))
        }
    }
}
