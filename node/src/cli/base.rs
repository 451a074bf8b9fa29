//! `potluck base add|ls|show`, and how references are written.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Deserialize;

use super::args::Global;
use super::{output, run::ask};
use crate::api::proto::{Request, WeightedRef};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};

/// Bases that this node knows.
#[derive(Debug, Subcommand)]
pub enum Base {
    /// Check a base whole and remember where it is; its files stay where they are
    Add {
        /// A Hugging Face folder (safetensors) or a .gguf file
        path: PathBuf,
        /// A name for it [default: the file's or folder's]
        #[arg(long)]
        name: Option<String>,
    },
    /// List them
    Ls,
    /// Show one
    Show {
        #[arg(value_name = "REF")]
        base: String,
    },
}

#[derive(Deserialize)]
struct Shown {
    name: String,
    base: String,
    place: String,
    architecture: String,
    parameters: u64,
}

#[derive(Deserialize)]
struct Listed {
    bases: Vec<Shown>,
}

pub async fn run(global: &Global, verb: &Base) -> Outcome<()> {
    let request = match verb {
        Base::Add { path, name } => Request::BaseAdd { path: config::absolute(path)?, name: name.clone() },
        Base::Ls => Request::BaseList,
        Base::Show { base } => Request::BaseShow { base: absolute_reference(base)? },
    };
    let answer = ask(global, &request).await?;
    if matches!(verb, Base::Ls) {
        return output::answer(global, answer, |listed: Listed| {
            let rows: Vec<_> =
                listed.bases.into_iter().map(|base| vec![base.name, short(&base.base), base.place]).collect();
            output::table(&["name", "base id", "place"], &rows)
        });
    }
    output::answer(global, answer, |base: Shown| {
        vec![
            format!("{}  {}, {} parameters", base.name, base.architecture, base.parameters),
            format!("at {}", base.place),
            base.base,
        ]
    })
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A reference that is a path is made absolute, so that the daemon finds it; every other one stays as it is.
pub fn absolute_reference(reference: &str) -> Outcome<String> {
    let path = Path::new(reference);
    if !path.exists() && !reference.contains(std::path::MAIN_SEPARATOR) {
        return Ok(reference.to_owned());
    }
    let absolute = config::absolute(path)?;
    let text = absolute.to_str().ok_or_else(|| {
        Failure::new(Kind::Usage, format!("the path {} is not UTF-8", absolute.display()))
            .hint("rename it, or link to it")
    })?;
    Ok(text.to_owned())
}

/// `REF@WEIGHT` or `REF`, which weighs 1.
pub fn weighted_references(texts: &[String]) -> Outcome<Vec<WeightedRef>> {
    texts.iter().map(|text| weighted_reference(text)).collect()
}

fn weighted_reference(text: &str) -> Outcome<WeightedRef> {
    let (reference, weight) = match text.rsplit_once('@') {
        Some((reference, weight)) => {
            let weight: f64 = weight.parse().ok().filter(|weight: &f64| weight.is_finite()).ok_or_else(|| {
                Failure::new(Kind::Usage, format!("`{weight}` in `{text}` is no weight")).hint("e.g. `sql-helper@0.5`")
            })?;
            (reference, weight)
        }
        None => (text, 1.0),
    };
    Ok(WeightedRef { reference: absolute_reference(reference)?, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_follows_the_last_at_sign() {
        let parse = |text: &str| weighted_reference(text).map(|r| (r.reference, r.weight));
        assert_eq!(parse("sql"), Ok(("sql".into(), 1.0)));
        assert_eq!(parse("sql@0.5"), Ok(("sql".into(), 0.5)));
        assert_eq!(parse("sql@-2"), Ok(("sql".into(), -2.0)));
        for wrong in ["sql@", "sql@x", "sql@nan", "sql@inf"] {
            assert_eq!(parse(wrong).map_err(|failure| failure.kind), Err(Kind::Usage), "{wrong}");
        }
    }
}
