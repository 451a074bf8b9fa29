//! `potluck generate`

use clap::Args;

use super::global::Global;
use super::{ask::ask, output, progress, references};
use crate::api::ask::Ask;
use crate::api::proto;
use crate::config;
use crate::failure::Outcome;

/// Generate text from a prompt, greedily, with any number of weighted adapters.
#[derive(Debug, Args)]
pub struct Generate {
    /// Base model: folder, .gguf file, name, base id, OWNER/NAME on the hub, or `tiny`
    #[arg(long, value_name = "REF")]
    base: String,
    /// Adapter to apply; may be given several times
    #[arg(long = "adapter", value_name = "REF[@WEIGHT]")]
    adapters: Vec<String>,
    /// The text to continue, or with --chat the message to answer
    prompt: String,
    /// Render the prompt as a user's message with the base's chat template: for adapters trained on chats
    #[arg(long)]
    chat: bool,
    /// Maximum number of tokens to generate
    #[arg(long, default_value_t = 64, value_name = "TOKENS")]
    max_new_tokens: usize,
    /// Threads [default: all processors]
    #[arg(long)]
    threads: Option<usize>,
}

pub async fn run(global: &Global, verb: &Generate) -> Outcome<()> {
    let request = proto::Generate {
        base: references::base(global, &verb.base)?,
        adapters: references::weighted(&verb.adapters)?,
        prompt: verb.prompt.clone(),
        chat: verb.chat,
        max_new_tokens: verb.max_new_tokens,
        threads: verb.threads.unwrap_or_else(config::processors),
    };
    let answer = ask(global, request).await?;
    // The text itself was printed as it came.
    output::answer(global, proto::Generate::SCHEMA, &answer, |_, _| vec![String::new()])?;
    answer.remark.iter().for_each(|remark| progress::note(remark));
    Ok(())
}
