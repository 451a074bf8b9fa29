//! Answers as they are on the wire: read, and written again, they are the same.

use potluck_protocol::id::Digest;
use serde_json::{Value, json};

use super::*;
use crate::api::ask::{
    Answer, Ask, AskBases, AskBenchGenerate, AskBenchStep, AskChannels, AskPeers, AskStatus, AskStop, AskStoreRebuild,
    AskStoreVerify, Envelope, open,
};
use crate::api::channel::{self, Export, Follow, Open, Propose, Release, Revoke, Rollback, Unfollow};
use crate::api::proto::{
    self, BaseAdd, BaseFetch, BenchMerge, DataCheck, Eval, Fetch, Generate, Merge, Publish, Pull, Show, Train, Verify,
};
use crate::api::search::Search;

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
            "weighed": [{ "adapter": id("a"), "ppm": 7 }], "later": 0, "missing": 0, "finished": null, "asked": true,
        }),
    );
    let Released::Version(release) = again::<Release>(Answer::ChannelRelease, made) else { panic!("no version") };
    assert_eq!(release.version.height, 1);
    let nothing = json!({
        "released": false, "channel": id("c"), "name": "helpers", "version": null, "height": 0, "verdicts": [],
        "later": 1, "missing": 2, "finished": id("v"), "asked": false,
    });
    let Released::Nothing(nothing) = again::<Release>(Answer::ChannelRelease, nothing) else { panic!("a version") };
    assert_eq!(nothing.later, 1);
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

#[test]
fn a_base_says_where_it_is_from() {
    let base = json!({
        "name": "small", "base": id("b"), "place": "/bases/small.gguf", "architecture": "llama, Q4_1",
        "parameters": 135_000_000,
    });
    let farthest = json!({ "tensor": "model.embed_tokens.weight", "error": 0.012, "bound": 0.15 });
    let view = json!({ "view_of": { "base": id("o"), "checked": true, "farthest": farthest } });
    let view = again::<BaseAdd>(Answer::BaseAdd, with(base.clone(), &view)).view_of.expect("a view");
    assert_eq!(view.farthest.map(|distance| distance.bound), Some(0.15));
    let from = json!({ "fetched_bytes": 7, "fetched_from": [{ "peer": "12D3KooW", "bytes": 7 }] });
    let fetched = again::<BaseFetch>(Answer::BaseFetch, with(base, &from));
    assert_eq!((fetched.fetched_bytes, fetched.view_of), (Some(7), None));
    let gone = json!({ "name": "gone", "base": id("g"), "place": "/gone", "architecture": null, "parameters": null });
    assert_eq!(again::<AskBases>(Answer::BaseList, json!({ "bases": [gone] })).bases[0].architecture, None);
}

#[test]
fn what_is_published_is_shown_and_pulled() {
    let published = json!({ "manifest": id("m"), "name": "sql", "base": id("b"), "bytes": 2048, "announced": false });
    assert_eq!(again::<Publish>(Answer::Publish, published).bytes, 2048);
    let heard = json!({
        "manifest": id("m"), "name": "sql", "kind": "adapter", "publisher": id("k"), "base": id("b"),
        "base_name": "small", "bytes": 2048, "licence": null, "description": null, "created": null, "rank": null,
        "evaluations": null, "notes": ["fetch it with `potluck pull 0123`"], "state": "heard of, not here",
    });
    assert_eq!(again::<Show>(Answer::Show, heard).state, Presence::HeardOf);
    let from = json!([{ "peer": "12D3KooW", "bytes": 2048 }]);
    let pulled = json!({
        "manifest": id("m"), "name": "sql", "folder": "/out", "fetched_bytes": 2048, "fetched_from": from,
        "not_held_against": id("b"),
    });
    assert_eq!(again::<Pull>(Answer::Pull, pulled).base, None);
    let phases = json!({ "found_seconds": 0.5, "content_seconds": 1.5, "durable_seconds": 0.25 });
    let fetched = json!({
        "fetched_bytes": 2048, "fetched_from": from, "wasted_bytes": 0, "blamed": ["12D3KooX"], "phases": phases,
    });
    assert_eq!(again::<Fetch>(Answer::Fetch, fetched).phases.found_seconds, 0.5);
    let details = json!({
        "rank": 16, "target_modules": ["q_proj"], "licence": "MIT", "description": "", "created": 1,
        "evaluations": [{ "suite": "sql", "samples": 200, "exact_match": 0.5, "loss": 0.25 }],
    });
    let offer = json!({
        "manifest": id("m"), "name": "sql", "kind": "adapter", "base": id("b"), "base_name": null,
        "publisher": id("k"), "bytes": 2048, "here": true, "details": details,
    });
    let found = json!({ "results": [offer], "more": 1, "heard": 7, "unanswered": 2 });
    assert_eq!(again::<Search>(Answer::Search, found).results.len(), 1);
}

#[test]
fn a_channel_is_opened_followed_and_left() {
    let suite = json!({
        "name": "sql", "role": "improve", "rows": 64, "repeats": 1, "rows_a_release": 32, "few": false,
    });
    let opened = json!({
        "channel": id("c"), "name": "helpers", "genesis": id("b"), "forked_from": null, "steward": id("k"),
        "shards": 2, "suites": [suite], "announced": true,
    });
    assert_eq!(again::<Open>(Answer::ChannelOpen, opened).suites[0].rows_a_release, 32);
    let proposed = json!({
        "proposal": id("p"), "channel": id("c"), "name": "helpers", "adapter": id("a"), "weight": 0.5,
        "announced": true,
    });
    assert_eq!(again::<Propose>(Answer::ChannelPropose, proposed).weight, 0.5);
    let revoked = with(version(), &json!({ "change": "revoke", "revoked": [id("a")], "finished": null }));
    assert_eq!(again::<Revoke>(Answer::ChannelRevoke, revoked).revoked.len(), 1);
    let in_force = json!({
        "channel": id("c"), "name": "helpers", "steward": id("k"), "genesis": id("b"), "from": 0, "height": 1,
        "version": id("v"), "base": id("f"), "adapters": 2, "audit": true, "fetched_bytes": 7,
    });
    assert_eq!(again::<Follow>(Answer::ChannelFollow, in_force.clone()).height, 1);
    assert!(again::<channel::Update>(Answer::ChannelUpdate, in_force).audit);
    let followed = json!({
        "name": "helpers", "channel": id("c"), "height": null, "version": null, "steward": null, "held": false,
        "audit": false, "halted": true, "own": false, "steward_heard": 7,
    });
    assert!(again::<AskChannels>(Answer::ChannelList, json!({ "channels": [followed] })).channels[0].halted);
    let unfollowed = json!({ "channel": id("c"), "name": "helpers" });
    assert_eq!(again::<Unfollow>(Answer::ChannelUnfollow, unfollowed).name.as_str(), "helpers");
}

#[test]
fn a_lineage_is_shown_link_by_link() {
    let input = json!({ "adapter": id("a"), "name": "sql", "weight": 0.5, "stale": false });
    let verdict = json!({
        "proposal": id("p"), "adapter": id("a"), "name": "sql", "taken": true, "reason": "taken at weight 0.5",
    });
    let link = json!({
        "height": 1, "version": id("v"), "base": id("f"), "digest": id("d"), "created": 1, "change": "release",
        "in_force": true, "inputs": [input], "added": [input], "removed": [], "loss_change": -0.05,
        "verdicts": [verdict],
    });
    let proof = json!({ "mismatch": { "version": id("v"), "digest": id("d") } });
    let shown = json!({
        "channel": id("c"), "name": "helpers", "steward": id("k"), "own": false, "steward_heard": 7, "genesis": id("b"),
        "genesis_name": "small", "forked_from": null, "rules": ["1 sealed evaluation shards"], "height": 1,
        "held": false, "audit": true, "halted": { "proof": proof, "reason": "it lied" }, "broken": null,
        "versions": [link],
    });
    assert_eq!(again::<channel::Show>(Answer::ChannelShow, shown).versions[0].inputs.len(), 1);
}

#[test]
fn a_node_tells_of_its_peers_and_of_its_end() {
    let peer = json!({
        "peer": "12D3KooW", "address": "/ip4/192.0.2.7/tcp/1", "agent": "potluck/0.1.0", "route": "relayed",
        "connected_seconds": 7,
    });
    assert_eq!(again::<AskPeers>(Answer::Peers, json!({ "peers": [peer] })).peers[0].route, Route::Relayed);
    assert_eq!(again::<proto::Heard>(Answer::Heard, json!({ "base": id("b"), "heard": 7 })).heard, 7);
    assert_eq!(again::<AskStop>(Answer::Stop, json!({})), Stopped {});
}

#[test]
fn a_store_is_counted_and_verified() {
    let held = json!({
        "manifests": 1, "adapters": 1, "bases": 0, "datasets": 0, "channels": 0, "versions": 0, "proposals": 0,
        "proofs": 0,
    });
    let detail = json!({
        "shards": 2, "shard_bytes": 1024, "held": held, "well_formed": 1, "recipes": 3, "heard": 0, "pins": 1,
        "names": 1, "added_bases": 0, "state_log_bytes": 64, "free_bytes": 1_000_000,
    });
    let stat = json!({
        "shards": 2, "shard_bytes": 1024, "manifests": 1, "held": held, "recipes": 3, "detail": detail,
    });
    assert_eq!(again::<AskStoreRebuild>(Answer::StoreRebuild, stat).detail.pins, 1);
    let verified = again::<AskStoreVerify>(Answer::StoreVerify, json!({ "shards": 2, "manifests": 1 }));
    assert_eq!((verified.shards, verified.manifests), (2, 1));
}

#[test]
fn what_a_worker_computes_is_answered_as_it_writes_it() {
    let measured = json!({ "samples": 200, "exact_match": 0.5, "loss": 0.25 });
    let trained = json!({
        "folder": "/out", "rows": "completion", "steps": 120, "kept": 80, "stopped_early": true,
        "tokens_per_second": 1234.5, "loss": 0.125, "held_out": measured,
    });
    assert_eq!(again::<Train>(Answer::Train, trained).held_out.map(|measured| measured.samples), Some(200));
    let texts = json!({ "samples": 7, "exact_match": null, "loss": null });
    assert!(again::<Eval>(Answer::Eval, texts).loss.is_nan(), "what is no number is null");
    let silent = json!({ "text": "", "tokens": 1, "remark": "the answer is empty" });
    assert!(again::<Generate>(Answer::Generate, silent).remark.is_some());
    let report = potluck_trainer::data::check::Report { rows: 7, ..Default::default() };
    let report = serde_json::to_value(report).expect("JSON");
    assert_eq!(again::<DataCheck>(Answer::DataCheck, report).rows, 7);
    let generated = json!({
        "prompt_tokens": 512, "new_tokens": 1, "prompt_tokens_per_second": 900.5, "new_tokens_per_second": null,
        "peak_rss_mb": null, "tokens": [7], "backend": "cpu", "dtype": "f32", "instructions": "avx2", "threads": 2,
    });
    assert_eq!(again::<AskBenchGenerate>(Answer::BenchGenerate, generated).new_tokens_per_second, None);
    let merged = json!({
        "seconds": 1.5, "peak_rss_mb": 300.5, "error": 0.25, "kept_energy": 0.75,
        "least_kept": { "module": "q_proj", "kept_energy": 0.5 }, "digest": "ab", "method": "dare", "rank": null,
        "density": 0.5, "seed": 7, "adapters": 2, "rank_out": 16, "threads": 2,
    });
    assert_eq!(again::<BenchMerge>(Answer::BenchMerge, merged).method, MethodName::Dare);
}
