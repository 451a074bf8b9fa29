//! Answers as they are on the wire: read, and written again, they are the same.

use potluck_protocol::id::Digest;
use serde_json::{Value, json};

use super::*;
use crate::api::ask::{Answer, Ask, AskBenchStep, AskStatus, Envelope, open};
use crate::api::channel::{Export, Release, Rollback};
use crate::api::proto::{Merge, Verify};

fn id(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

/// Reads an answer of that request, and writes it again.
fn again<R: Ask>(answer: fn(R::Answer) -> Answer, body: Value) -> R::Answer {
    let wire = serde_json::to_value(Envelope { schema: R::SCHEMA, body: &body }).expect("JSON");
    let read = || open::<R>(wire.clone()).unwrap_or_else(|failure| panic!("{failure}: {wire}"));
    let written = answer(read()).into_value().expect("JSON");
    assert_eq!(written.to_string(), wire.to_string(), "also in this order");
    read()
}

fn version() -> Value {
    json!({
        "channel": id("c"), "name": "helpers", "version": id("v"), "height": 1, "change": "release", "recipe": id("r"),
        "digest": id("d"), "base": id("b"), "adapters": 2, "announced": true,
    })
}

fn with(mut body: Value, more: &Value) -> Value {
    let fields = more.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(fields);
    body
}

#[test]
fn a_release_is_a_version_or_nothing() {
    let verdict = json!({
        "proposal": id("p"), "adapter": id("a"), "name": null, "taken": false, "weight": null, "loss_change": null,
        "reason": "nobody had it", "outcome": { "refused": "missing" },
    });
    let score = json!({ "suite": "sql", "role": "improve", "genesis": 6.5, "before": 6.5, "after": 6.25 });
    let made = with(
        version(),
        &json!({
            "released": true, "verdicts": [verdict], "opened": { "index": 0, "suites": [score] }, "shards_left": 3,
            "weighed": [{ "adapter": id("a"), "ppm": 7 }], "later": 0, "finished": null, "asked": true,
        }),
    );
    assert!(
        matches!(again::<Release>(Answer::ChannelRelease, made), Released::Version(release) if release.version.height == 1)
    );
    let nothing = json!({
        "released": false, "channel": id("c"), "name": "helpers", "version": null, "height": 0, "verdicts": [],
        "later": 1, "finished": id("v"), "asked": false,
    });
    assert!(
        matches!(again::<Release>(Answer::ChannelRelease, nothing), Released::Nothing(nothing) if nothing.later == 1)
    );
}

#[test]
fn a_rollback_is_for_all_or_here() {
    let all = with(version(), &json!({ "change": { "rollback": 2 }, "back_to": 2, "finished": null }));
    assert!(matches!(again::<Rollback>(Answer::ChannelRollback, all), RolledBack::ForAll(back) if back.back_to == 2));
    let here = json!({
        "channel": id("c"), "name": "helpers", "from": 3, "height": 0, "version": null, "base": id("b"), "held": true,
        "published": false,
    });
    assert!(matches!(again::<Rollback>(Answer::ChannelRollback, here), RolledBack::Here(back) if back.from == 3));
}

#[test]
fn a_merge_is_an_adapter_or_a_base() {
    let refit = json!({
        "folder": "/both", "method": "ties", "rank": 16, "density": 0.2, "lambda": 1.0, "seed": 0,
        "weights": [1.0, 0.5], "kept_energy": 0.9, "least_kept": { "module": "q_proj", "kept_energy": 0.8 },
    });
    assert!(
        matches!(again::<Merge>(Answer::Merge, refit), Merged::Adapter(merged) if merged.method == MethodName::Ties)
    );
    let fold = json!({
        "folder": "/better", "recipe": id("r"), "parent": id("p"), "digest": id("d"), "base": id("b"),
        "inputs": [{ "adapter": id("a"), "weight": 0.5 }], "dtype": "BF16",
    });
    assert!(matches!(again::<Merge>(Answer::Merge, fold), Merged::Base(folded) if folded.inputs.len() == 1));
    let exported = json!({
        "folder": "/out", "channel": id("c"), "name": "helpers", "height": 1, "version": id("v"), "parent": id("p"),
        "inputs": [], "dtype": "F16", "digest": id("d"), "base": id("b"),
    });
    assert_eq!(again::<Export>(Answer::ChannelExport, exported).height, 1);
}

#[test]
fn what_was_verified_is_named_by_what_it_is() {
    let adapter = json!({ "manifest": id("m"), "kind": "adapter", "checked": ["signature of 0123"] });
    assert!(again::<Verify>(Answer::Verify, adapter).manifest.is_some());
    let version = json!({
        "manifest": id("m"), "kind": "version", "digest": id("d"), "base": id("b"), "height": 2, "checked": [],
    });
    assert_eq!(again::<Verify>(Answer::Verify, version).height, Some(2));
    let recipe = json!({ "recipe": id("r"), "kind": "recipe", "digest": id("d"), "checked": [] });
    assert_eq!(again::<Verify>(Answer::Verify, recipe).kind, VerifiedKind::Recipe(RecipeTag::Recipe));
}

#[test]
fn nested_fields_stand_beside_the_others() {
    let status = json!({
        "running": true, "pid": 7, "peer": "12D3KooW", "home": "/home/me", "network": "main",
        "addresses": ["/ip4/127.0.0.1/tcp/7740"], "peers": 1,
        "bootstrap": [
            { "state": "fails", "reason": "refused", "address": "/ip4/192.0.2.7/tcp/1" },
            { "state": "works", "address": "/ip4/192.0.2.7/tcp/2" },
        ],
        "twin": null, "reachability": "private", "external": [], "relays": [], "relaying": false,
        "held": {
            "manifests": 1, "adapters": 1, "bases": 0, "datasets": 0, "channels": 0, "versions": 0, "proposals": 0,
            "proofs": 0,
        },
        "adapters": 1, "heard": 0, "bases": 1, "shard_bytes": 1024,
    });
    assert_eq!(again::<AskStatus>(Answer::Status, status).bootstrap.len(), 2);
    let step = json!({
        "tokens_per_second": 1.5, "step_seconds": 2.5, "peak_rss_mb": null, "losses": [4.5], "params_digest": "ab",
        "step_gflop": 1.5, "gflops": 0.5, "recompute": "none", "seed": 0, "backend": "cpu", "dtype": "f32",
        "instructions": "avx2", "threads": 2,
    });
    assert_eq!(again::<AskBenchStep>(Answer::BenchStep, step).threads, 2);
}
