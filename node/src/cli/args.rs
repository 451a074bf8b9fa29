//! What can be typed. Parsing only: meaning is given by the verbs' files.

use clap::{Parser, Subcommand};

use super::global::Global;
use super::{
    base, bench, channel, data, demo, eval, generate, merge, network, publish, pull, search, store, train, up,
};

/// Train LoRA adapters on your own machine, exchange them with peers, and merge them into one better base model.
///
/// A REF is a folder, a .gguf file, the id of a manifest or base (at least its first eight digits), a name, or `tiny`,
/// the small base inside this program. A base may also be OWNER/NAME[@REVISION] on the Hugging Face Hub.
#[derive(Debug, Parser)]
#[command(name = "potluck", version, max_term_width = 100)]
#[command(after_help = "Exit codes and environment variables: docs/operations.md")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Three volunteers on this machine: train, exchange, release, measure
    Demo(demo::Demo),
    /// Run the daemon
    Up(up::Up),
    /// Show the state of this node
    Status,
    /// List connected peers
    Peers,
    /// Manage the key of a private network
    #[command(subcommand)]
    Network(network::Network),
    /// Manage bases
    #[command(subcommand)]
    Base(base::Base),
    /// Channels of base versions: follow one, propose an adapter to one, or run your own
    #[command(subcommand)]
    Channel(channel::Channel),
    /// Check training data
    #[command(subcommand)]
    Data(data::Data),
    /// Train a LoRA adapter
    Train(Box<train::Train>),
    /// Measure loss and exact match on rows
    Eval(eval::Eval),
    /// Generate text from a prompt, greedily
    Generate(generate::Generate),
    /// Sign an adapter, or a base, and make it available to peers
    Publish(publish::Publish),
    /// Find adapters and bases that others offer
    Search(search::Search),
    /// Show a publication: adapter, base, channel, proposal or version
    Show {
        /// Name, id, or the start of an id
        #[arg(value_name = "REF")]
        reference: String,
    },
    /// Fetch an adapter from peers, check it, and write it as a PEFT folder
    Pull(pull::Pull),
    /// Verify an adapter's signature, files and tensors; or rebuild a folded base from its recipe and compare
    Verify {
        /// Name or id of an adapter, recipe, channel or version, or the start of an id
        #[arg(value_name = "REF")]
        id: String,
    },
    /// Merge adapters into one, or fold them into the base
    Merge(merge::Merge),
    /// Inspect, verify or repair the store
    #[command(subcommand)]
    Store(store::Store),
    /// Measure this machine
    #[command(subcommand)]
    Bench(bench::Bench),
    /// The numerics process that potluck starts for itself
    #[command(hide = true)]
    Worker,
}
