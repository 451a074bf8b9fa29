//! `potluck merge`

use std::path::PathBuf;

use clap::Args;

use super::global::Global;
use super::method::MethodFlags;
use super::{ask::ask, output, references};
use crate::api::answers::{Folded, Merged, MergedAdapter};
use crate::api::ask::Ask;
use crate::api::proto::{self, MergeInto};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};

/// Merge adapters into one adapter, by their exact sum or another method; or, with --fold, add their sum to the base.
#[derive(Debug, Args)]
pub struct Merge {
    /// Base model: folder, .gguf file, name, base id, OWNER/NAME on the hub, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    /// Adapters to merge, each with an optional weight after `@` [default: 1]. An existing path is used as it is: the
    /// folder `my@0.5` is `my@0.5`, and at half weight `my@0.5@0.5`
    #[arg(value_name = "REF[@WEIGHT]", required = true)]
    adapters: Vec<String>,
    #[command(flatten)]
    method: MethodFlags,
    /// Rank of the result of refit, ties and dare, 1 to 1024 [default: the largest of the adapters]
    #[arg(long, value_name = "K")]
    rank: Option<usize>,
    /// Seed of dare's dropping, and of the rank reduction of ties and dare
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Search for the weights with the lowest loss on these rows, starting at the given ones
    #[arg(long, value_name = "ROWS.jsonl", conflicts_with = "fold")]
    weights_by: Option<PathBuf>,
    /// Fold the sum into the base: a recipe that anyone can rebuild and check (adapters must be published)
    #[arg(long)]
    fold: bool,
    /// Float type of a folded base: f32, f16 or bf16 [default: the base's, or bf16 over a quantised base]
    #[arg(long, requires = "fold")]
    dtype: Option<String>,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Threads [default: all processors]; the result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
}

pub async fn run(global: &Global, verb: &Merge) -> Outcome<()> {
    let request = proto::Merge {
        base: references::base(global, &verb.base)?,
        adapters: references::weighted(&verb.adapters)?,
        into: into(verb)?,
        out: config::absolute(&verb.out)?,
        threads: verb.threads.unwrap_or_else(config::processors),
    };
    output::answer(global, proto::Merge::SCHEMA, &ask(global, request).await?, |merged, _| render(merged))
}

fn into(verb: &Merge) -> Outcome<MergeInto> {
    if !verb.fold {
        let method = verb.method.method(verb.rank, verb.seed, "--rank")?;
        let weights_by = verb.weights_by.as_deref().map(config::absolute).transpose()?;
        return Ok(MergeInto::Adapter { method, weights_by });
    }
    if !verb.method.is_plain() || verb.rank.is_some() {
        return Err(Failure::new(
            Kind::Usage,
            "--fold computes the exact sum: it takes no other method, rank or density",
        )
        .hint("leave --fold out to write an adapter, or leave the method out"));
    }
    if let Some(dtype) = verb.dtype.as_deref().filter(|dtype| !["f32", "f16", "bf16"].contains(dtype)) {
        return Err(
            Failure::new(Kind::Usage, format!("`{dtype}` is not a float type")).hint("give --dtype f32, f16 or bf16")
        );
    }
    Ok(MergeInto::Base { dtype: verb.dtype.clone() })
}

fn render(merged: &Merged) -> Vec<String> {
    match merged {
        Merged::Adapter(adapter) => render_adapter(adapter),
        Merged::Base(Folded { recipe, digest, folder, .. }) => {
            vec![format!("recipe {recipe}"), format!("digest {digest}"), folder.display().to_string()]
        }
    }
}

fn render_adapter(merged: &MergedAdapter) -> Vec<String> {
    let kept = Some(merged.kept_energy).filter(|kept| *kept < 1.0);
    let kept = kept.map_or_else(String::new, |kept| format!(", {} of the energy kept", output::percent(kept)));
    let (method, adapters) = (merged.method.name(), merged.weights.len());
    let mut lines = vec![format!("{method} of {adapters} adapters, rank {}{kept}", merged.rank)];
    lines.extend(merged.chosen.as_ref().map(|chosen| {
        let weights = merged.weights.iter().map(|weight| format!("{weight}")).collect::<Vec<_>>().join(" ");
        let (loss, given, evaluations) = (chosen.loss, chosen.given_loss, chosen.evaluations);
        format!("weights {weights}: loss {loss:.4}, {given:.4} as given ({evaluations} evaluations)")
    }));
    lines.push(merged.folder.display().to_string());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answers::{Chosen, MethodName};
    use crate::cli::args::{Cli, Verb};
    use crate::cli::snapshots::{base, check, check_failures, fold, recipe, refusal};

    #[test]
    fn what_is_seen() {
        let sum = MergedAdapter {
            folder: "/home/me/both".into(),
            method: MethodName::Sum,
            rank: 32,
            density: None,
            lambda: None,
            seed: None,
            weights: vec![1.0, 0.5],
            kept_energy: 1.0,
            least_kept: None,
            chosen: None,
        };
        check("merge", |_| render(&Merged::Adapter(sum.clone())));
        let chosen = Some(Chosen { given_loss: 0.5, loss: 0.4321, evaluations: 17 });
        let refit = MergedAdapter { method: MethodName::Refit, rank: 16, kept_energy: 0.973, chosen, ..sum.clone() };
        check("merge-refit", |_| render(&Merged::Adapter(refit.clone())));
        let folded = Folded {
            folder: "/home/me/better-base".into(),
            recipe: recipe("r"),
            parent: base("tiny"),
            digest: fold("d"),
            base: base("better"),
            inputs: Vec::new(),
            dtype: potluck_protocol::tensor::DType::BF16,
        };
        check("merge-fold", |_| render(&Merged::Base(folded.clone())));
        let merge = |_: &Cli, verb: &Verb| match verb {
            Verb::Merge(merge) => into(merge).map(drop),
            _ => Ok(()),
        };
        let typed = "merge --base tiny --out x --fold";
        check_failures(
            "merge-error",
            &[
                refusal(&format!("{typed} a b --method ties"), merge),
                refusal(&format!("{typed} a b --dtype f8"), merge),
            ],
        );
    }
}
