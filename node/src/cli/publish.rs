//! `potluck publish`

use std::path::PathBuf;

use clap::Args;

use super::global::Global;
use super::{ask::ask, output, references};
use crate::api::answers::Published;
use crate::api::ask::Ask;
use crate::api::proto::{self, PublishBase};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};

/// Sign an adapter, or a base, and make it available to peers.
///
/// Publishes the adapter of a PEFT folder in the portable profile (lora_alpha equal to r), with its settings and
/// measured figures. Your rows and paths stay on this machine, but an adapter can leak what it memorised from your
/// rows.
///
/// Without a folder, publishes the base given by --base: weights, configuration, tokenizer and chat template. Others
/// fetch it by its id. Publish only what its licence allows you to redistribute, and state that licence.
#[derive(Debug, Args)]
pub struct Publish {
    /// PEFT folder; without it, the base given by --base is published
    #[arg(required_unless_present = "base")]
    folder: Option<PathBuf>,
    /// Name: letters, digits, `.`, `_`, `-`; not `tiny`, and not something that reads as an id
    #[arg(long)]
    name: String,
    /// Base that the adapter was trained on [default: the one recorded by `potluck train` in the folder], or the base
    /// to publish
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// SPDX licence, e.g. Apache-2.0 or `MIT OR Apache-2.0`. A licence of the hub such as gemma becomes
    /// LicenseRef-gemma; for an unlisted one use LicenseRef-NAME. Required for a base
    #[arg(long, alias = "license", default_value = "", value_name = "SPDX")]
    licence: String,
    /// Measure the adapter on these rows and publish the figures under that name; the rows are not published.
    /// Repeatable
    #[arg(long, value_name = "NAME=FILE.jsonl", requires = "folder")]
    evaluate: Vec<String>,
    /// Description in one sentence
    #[arg(long, default_value = "")]
    description: String,
}

pub async fn run(global: &Global, verb: &Publish) -> Outcome<()> {
    let (schema, published) = match verb.request(global)? {
        Wanted::Adapter(request) => (proto::Publish::SCHEMA, ask(global, request).await?),
        Wanted::Base(request) => (PublishBase::SCHEMA, ask(global, request).await?),
    };
    output::answer(global, schema, &published, |published, _| render(published))
}

/// What is to be published.
enum Wanted {
    Adapter(proto::Publish),
    Base(PublishBase),
}

fn render(published: &Published) -> Vec<String> {
    let when = if published.announced { "announced" } else { "announced when `potluck up` runs" };
    let size = output::bytes(published.bytes);
    vec![format!("published {} ({size}), {when}", published.name), published.manifest.to_string()]
}

impl Publish {
    fn request(&self, global: &Global) -> Outcome<Wanted> {
        let base = self.base.as_deref().map(|base| references::base(global, base)).transpose()?;
        let (name, licence, description) = (self.name.clone(), self.licence.clone(), self.description.clone());
        match (&self.folder, base) {
            (None, Some(base)) => Ok(Wanted::Base(PublishBase { base, name, licence, description })),
            (None, None) => Err(Failure::new(Kind::Usage, "neither a folder nor --base was given")
                .hint("`potluck publish DIR --name NAME`, or `potluck publish --base REF --name NAME --licence L`")),
            (Some(folder), base) => {
                let evaluate = self.evaluate.iter().map(|text| evaluation(text)).collect::<Outcome<_>>()?;
                let folder = config::absolute(folder)?;
                Ok(Wanted::Adapter(proto::Publish { folder, name, base, licence, description, evaluate }))
            }
        }
    }
}

/// `NAME=FILE.jsonl`
fn evaluation(text: &str) -> Outcome<(String, PathBuf)> {
    let (suite, file) = text.split_once('=').ok_or_else(|| {
        Failure::new(Kind::Usage, format!("`{text}` does not name a file of rows"))
            .hint("e.g. --evaluate dates=held-out.jsonl")
    })?;
    Ok((suite.to_owned(), config::absolute(std::path::Path::new(file))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Verb;
    use crate::cli::snapshots::{base, check, check_failures, manifest, refusal};

    #[test]
    fn what_is_seen() {
        let published = Published {
            manifest: manifest("m"),
            name: "sql-helper".to_owned(),
            base: Some(base("tiny")),
            bytes: 206_336,
            announced: true,
        };
        check("publish", |_| render(&published));
        check("publish-without-a-daemon", |_| render(&Published { announced: false, ..published.clone() }));
        let publish = |cli: &crate::cli::args::Cli, verb: &Verb| match verb {
            Verb::Publish(publish) => publish.request(&cli.global).map(drop),
            _ => Ok(()),
        };
        check_failures("publish-error", &[refusal("publish folder --name x --evaluate rows.jsonl", publish)]);
    }
}
