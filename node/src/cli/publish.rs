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
/// What is published of a PEFT folder is the adapter in the portable profile (lora_alpha equal to r), its settings and its measured
/// figures. Your rows and paths stay here; what the weights remember of your rows does not.
///
/// Without a folder it is the base of --base that is published: weights, configuration, tokenizer and chat template, for
/// whoever asks for that base by its id. Publish only what its licence lets you pass on, and name that licence.
#[derive(Debug, Args)]
pub struct Publish {
    /// A PEFT folder; left out, the base of --base is published
    #[arg(required_unless_present = "base")]
    folder: Option<PathBuf>,
    /// What to call it: letters, digits, `.`, `_`, `-`; not `tiny`, and nothing that reads as an id
    #[arg(long)]
    name: String,
    /// The base that the adapter was trained on [default: the one that `potluck train` noted in the folder], or the base to
    /// publish
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// SPDX licence, e.g. Apache-2.0 or `MIT OR Apache-2.0`; a name of the hub such as gemma is written as
    /// LicenseRef-gemma, one that nobody lists you call LicenseRef-NAME. A base needs one
    #[arg(long, alias = "license", default_value = "", value_name = "SPDX")]
    licence: String,
    /// Measure the adapter on rows now and publish the figures under that name; the rows stay here. May be given several
    /// times
    #[arg(long, value_name = "NAME=FILE.jsonl", requires = "folder")]
    evaluate: Vec<String>,
    /// A sentence for people
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
            (None, None) => Err(Failure::new(Kind::Usage, "neither a folder nor --base is given")
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
        Failure::new(Kind::Usage, format!("`{text}` names no rows")).hint("e.g. --evaluate dates=held-out.jsonl")
    })?;
    Ok((suite.to_owned(), config::absolute(std::path::Path::new(file))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Verb;
    use crate::cli::snapshots::{base, check, check_failures, manifest, refused};

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
        check_failures("publish-error", &[refused("publish folder --name x --evaluate rows.jsonl", publish)]);
    }
}
