//! What a node answers is of the type that belongs to the request, also what a worker has computed; and what a fold leaves
//! beside its weights.

use std::path::PathBuf;

use potluck_protocol::id::{BaseId, Digest, FoldDigest};
use potluck_protocol::tensor::DType;
use potluck_trainer::data::check::Report;
use potluck_trainer::data::tokenise::Overlong;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Script, Stage};
use crate::api::answers::{self, GenerateMeasured, Generated, Merged, Presence, Stopped};
use crate::api::ask::{
    AskBases, AskBenchGenerate, AskChannels, AskStatus, AskStop, AskStoreRebuild, AskStoreStat, AskStoreVerify,
};
use crate::api::proto::{DataCheck, Eval, Generate, Merge, MergeInto, Show, WeightedRef};
use crate::failure::{Failure, Kind};
use crate::worker::answers::Folded;
use crate::worker::proto::{BenchGenerateSettings, CheckSettings, Engine, Measured, Task};

fn idle() -> std::sync::Arc<Script> {
    Script::new(|_| Err(Failure::new(Kind::Failed, "nothing is computed")))
}

#[tokio::test]
async fn what_is_asked_of_the_home_is_answered_by_its_own_type() {
    let stage = Stage::new(&idle()).await;
    let adapter = stage.fixture.add(stage.store(), "three", 100);
    let status = stage.ask(AskStatus).await.expect("looks");
    assert_eq!((status.running, status.adapters, status.bases), (false, 1, 2));
    let bases = stage.ask(AskBases).await.expect("looks").bases;
    assert_eq!(bases.iter().map(|base| base.name.as_str()).collect::<Vec<_>>(), ["tiny", "small"]);
    assert!(stage.ask(AskChannels).await.expect("looks").channels.is_empty());
    let shown = stage.ask(Show { reference: "three".to_owned() }).await.expect("here");
    assert_eq!((shown.manifest, shown.rank, shown.missing_shards), (adapter, Some(4), Some(0)));
    assert_eq!(shown.state, Presence::Checked);
    let stat = stage.ask(AskStoreStat).await.expect("looks");
    assert_eq!((stat.manifests, stat.held.adapters), (1, 1));
    assert_eq!(stage.ask(AskStoreVerify).await.expect("whole").shards, stat.shards);
    assert_eq!(stage.ask(AskStoreRebuild).await.expect("rebuilds").held, stat.held);
    assert_eq!(stage.ask(AskStop).await.expect("ends"), Stopped {});
}

/// A command polls its request on the main thread's stack, below several frames that each hold it once.
#[tokio::test]
async fn a_request_under_way_is_small() {
    let stage = Stage::new(&idle()).await;
    let running = stage.node.run(AskStatus.into(), mpsc::channel(1).0, CancellationToken::new());
    let (node, request) = (size_of_val(&stage.node), size_of_val(&running));
    assert!(node < 1 << 10 && request < 64 << 10, "a node has {node} bytes, a request {request}");
}

#[tokio::test]
async fn what_a_worker_computes_is_answered_by_its_own_type() {
    let generated = Generated { text: "four".to_owned(), tokens: 2, remark: None };
    let measured = GenerateMeasured {
        prompt_tokens: 8,
        new_tokens: 1,
        prompt_tokens_per_second: 900.5,
        new_tokens_per_second: None,
        peak_rss_mb: None,
        tokens: vec![7],
        engine: Engine::default(),
        threads: 1,
    };
    let (text, figures) = (generated.clone(), measured.clone());
    let stage = Stage::new(&Script::new(move |task| {
        Ok(match task {
            Task::CheckData { .. } => json!(Report { rows: 7, ..Report::default() }),
            Task::Eval { .. } => json!(Measured { samples: 7, exact_match: None, loss: f64::NAN }),
            Task::Generate { .. } => json!(text),
            Task::Bench { .. } => json!(figures),
            _ => return Err(Failure::new(Kind::Failed, "not in the script")),
        })
    }))
    .await;
    let (base, data, threads) = (|| "small".to_owned(), PathBuf::from("/nowhere/rows.jsonl"), 1);
    let settings = CheckSettings { max_length: 8, overlong: Overlong::Refuse, batch_tokens: 8, preview: 0 };
    let checked = stage.ask(DataCheck { base: base(), data: data.clone(), settings }).await.expect("computes");
    assert_eq!(checked.rows, 7);
    let eval = stage.ask(Eval { base: base(), adapters: Vec::new(), data, threads }).await.expect("computes");
    assert!(eval.loss.is_nan(), "it was null on the way");
    let generate = Generate {
        base: base(),
        adapters: Vec::new(),
        prompt: "two and two".to_owned(),
        chat: false,
        max_new_tokens: 8,
        threads,
    };
    assert_eq!(stage.ask(generate).await.expect("computes"), generated);
    let settings =
        BenchGenerateSettings { engine: Engine::default(), prompt_tokens: 8, new_tokens: 1, tokens: None, threads };
    assert_eq!(stage.ask(AskBenchGenerate { base: base(), settings }).await.expect("computes"), measured);
}

#[tokio::test]
async fn a_fold_leaves_its_answer_beside_the_weights() {
    let folded = Folded { digest: FoldDigest(Digest::of(b"folded")), base: BaseId(Digest::of(b"version")) };
    let result = folded.clone();
    let stage = Stage::new(&Script::new(move |task| match task {
        Task::Fold { out: Some(out), .. } => {
            std::fs::write(out.join("model.safetensors"), b"weights").expect("a folder of its own");
            Ok(json!(result))
        }
        _ => Err(Failure::new(Kind::Failed, "not in the script")),
    }))
    .await;
    let adapter = stage.fixture.add(stage.store(), "three", 100);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("better");
    let merge = Merge {
        base: "small".to_owned(),
        adapters: vec![WeightedRef { reference: "three".to_owned(), weight: 0.5 }],
        into: MergeInto::Base { dtype: Some("f32".to_owned()) },
        out: out.clone(),
        threads: 1,
    };
    let Merged::Base(answer) = stage.ask(merge).await.expect("folds") else { panic!("an adapter") };
    let answers::Folded { digest, base, recipe, .. } = answer;
    assert_eq!((digest, base), (folded.digest, folded.base));
    assert_eq!(stage.store().folded(&recipe), Some(digest), "noted for `verify`");
    let expected = json!({
        "schema": "potluck.merge/2", "folder": out, "recipe": recipe, "parent": Stage::base(), "digest": digest,
        "base": base, "inputs": [{ "adapter": adapter, "weight": 0.5 }], "dtype": DType::F32,
    });
    let written = std::fs::read_to_string(out.join("recipe.json")).expect("written");
    assert_eq!(written, format!("{expected:#}\n"));
    assert_eq!(std::fs::read(out.join("model.safetensors")).expect("moved with it"), b"weights");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1, "nothing is left beside it");
}
