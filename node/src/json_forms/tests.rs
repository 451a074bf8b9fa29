//! Each form is written and read as the type that it stands for. A variant that is new fails to compile here until it has
//! its form.

use potluck_protocol::id::{self, Digest};
use potluck_protocol::{announce, base, channel, manifest, recipe, signed, tensor, text};
use potluck_trainer::backend::cpu::{self, instructions};
use potluck_trainer::data::{check, row, tokenise};
use potluck_trainer::fit::{config, watch};
use potluck_trainer::lora::config as lora;
use potluck_trainer::model::block;
use potluck_trainer::names::Named;
use potluck_trainer::optim::schedule;
use potluck_trainer::{data, merge};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::worker::proto::Auto;

/// The value is read as its form, and the form written as the value.
fn same<F: Serialize + DeserializeOwned>(value: &impl Serialize) {
    let json = serde_json::to_value(value).expect("JSON");
    let form: F = serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(serde_json::to_value(form).expect("JSON"), json);
}

fn all<F: Serialize + DeserializeOwned>(values: &[impl Serialize]) {
    values.iter().for_each(same::<F>);
}

/// The form of a setting has its names, and no other.
fn named<F, T>()
where
    F: Serialize + DeserializeOwned,
    T: Named + Serialize,
{
    all::<F>(T::ALL);
    let other = serde_json::from_str::<F>("\"another\"").map(|_| ()).expect_err("no name").to_string();
    let known = other.matches('`').count() / 2 - 1;
    assert!(known == T::NAMES.len() || other.contains("`auto`") && known == T::NAMES.len() + 1, "{other}");
}

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

fn manifest_id(n: u8) -> id::ManifestId {
    id::ManifestId(digest(n))
}

fn base_id() -> id::BaseId {
    id::BaseId(digest(0xb0))
}

fn key() -> signed::PublicKey {
    signed::PublicKey(digest(0x1c))
}

fn name(text: &str) -> text::Name {
    text::Name::new(text).expect("a name")
}

#[test]
fn texts_have_their_forms() {
    same::<super::Digest>(&digest(1));
    same::<ShardId>(&id::ShardId(digest(1)));
    same::<FileDigest>(&id::FileDigest(digest(1)));
    same::<ManifestId>(&manifest_id(1));
    same::<BaseId>(&base_id());
    same::<RecipeId>(&id::RecipeId(digest(1)));
    same::<FoldDigest>(&id::FoldDigest(digest(1)));
    same::<PublicKey>(&key());
    same::<Name>(&name("a-name"));
    same::<RelPath>(&text::RelPath::new("a/path.txt").expect("a path"));
    same::<Multiaddr>(&"/ip4/192.0.2.7/tcp/7740".parse::<libp2p::Multiaddr>().expect("an address"));
    let hex = serde_json::to_value(digest(0xab)).expect("JSON");
    let hex = hex.as_str().expect("a text");
    assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{hex}");
}

#[test]
fn kinds_roles_and_types_have_their_forms() {
    use announce::KindTag as Tag;
    let tags = [Tag::Adapter, Tag::Base, Tag::Dataset, Tag::Channel, Tag::Proposal, Tag::Version, Tag::Proof];
    for tag in tags {
        match tag {
            Tag::Adapter | Tag::Base | Tag::Dataset | Tag::Channel | Tag::Proposal | Tag::Version | Tag::Proof => {}
        }
        same::<KindTag>(&tag);
    }
    for role in [channel::Role::Improve, channel::Role::Keep] {
        match role {
            channel::Role::Improve | channel::Role::Keep => {}
        }
        same::<Role>(&role);
    }
    for kind in [row::Kind::Completion, row::Kind::Chat, row::Kind::Text] {
        match kind {
            row::Kind::Completion | row::Kind::Chat | row::Kind::Text => {}
        }
        same::<RowKind>(&kind);
    }
}

#[test]
fn types_of_tensors_have_their_form() {
    use tensor::DType as D;
    #[rustfmt::skip]
    let types = [
        D::F32, D::F16, D::BF16, D::F64, D::Q4_0, D::Q4_1, D::Q5_0, D::Q5_1, D::Q8_0, D::Q2K, D::Q3K, D::Q4K, D::Q5K,
        D::Q6K, D::Q8K,
    ];
    for dtype in types {
        match dtype {
            D::F32
            | D::F16
            | D::BF16
            | D::F64
            | D::Q4_0
            | D::Q4_1
            | D::Q5_0
            | D::Q5_1
            | D::Q8_0
            | D::Q2K
            | D::Q3K
            | D::Q4K
            | D::Q5K
            | D::Q6K
            | D::Q8K => {}
        }
        same::<DType>(&dtype);
    }
}

#[test]
fn settings_have_the_names_of_their_values() {
    named::<ScheduleShape, schedule::Shape>();
    named::<TrainedFactors, config::Train>();
    named::<Keep, watch::Keep>();
    named::<Recompute, block::Recompute>();
    named::<Overlong, tokenise::Overlong>();
    named::<PrecisionOrAuto, cpu::Precision>();
    named::<InstructionsOrAuto, instructions::Instructions>();
    same::<PrecisionOrAuto>(&Auto::<cpu::Precision>::Auto);
    same::<InstructionsOrAuto>(&Auto::<instructions::Instructions>::Auto);
    same::<EarlyStopping>(&watch::EarlyStopping { patience: 3, min_delta: 0.5 });
}

#[test]
fn methods_and_targets_have_their_forms() {
    use lora::Targets as T;
    use merge::Method as M;
    for method in [
        M::Sum,
        M::Refit { rank: None },
        M::Ties { rank: Some(8), density: 0.5, lambda: 1.0, seed: 7 },
        M::Dare { rank: None, density: 0.5, seed: 7 },
    ] {
        match method {
            M::Sum | M::Refit { .. } | M::Ties { .. } | M::Dare { .. } => {}
        }
        same::<Method>(&method);
    }
    for targets in [T::AllLinear, T::Names(vec!["q_proj".to_owned()]), T::Pattern(".*q_proj".to_owned())] {
        match targets {
            T::AllLinear | T::Names(_) | T::Pattern(_) => {}
        }
        same::<Targets>(&targets);
    }
}

/// One for each variant.
fn refusals() -> Vec<channel::Refusal> {
    use channel::Refusal as R;
    let all = vec![
        R::NotAdmitted,
        R::Licence,
        R::OtherBase,
        R::Missing,
        R::Malformed("a reason".to_owned()),
        R::Norm { ppm: 7 },
        R::NoGain { alone_micro: -7 },
        R::NothingAdded { alone_micro: 7 },
        R::Guard { rise_ppm: 7 },
        R::AlreadyIn,
        R::Revoked,
    ];
    for refusal in &all {
        match refusal {
            R::NotAdmitted | R::Licence | R::OtherBase | R::Missing | R::Malformed(_) | R::Norm { .. } => {}
            R::NoGain { .. } | R::NothingAdded { .. } | R::Guard { .. } | R::AlreadyIn | R::Revoked => {}
        }
    }
    all
}

#[test]
fn verdicts_and_changes_have_their_forms() {
    use channel::{Change as C, VerdictOutcome as V};
    all::<Refusal>(&refusals());
    for outcome in [V::Taken { weight: recipe::Weight::ONE, alone_micro: -5 }, V::Refused(channel::Refusal::Missing)] {
        match outcome {
            V::Taken { .. } | V::Refused(_) => {}
        }
        same::<VerdictOutcome>(&outcome);
    }
    for change in [C::Release, C::Revoke, C::Rollback(2)] {
        match change {
            C::Release | C::Revoke | C::Rollback(_) => {}
        }
        same::<Change>(&change);
    }
}

#[test]
fn claims_and_admissions_have_their_forms() {
    use channel::{Admission as A, Claim as C};
    for claim in [
        C::Mismatch { version: manifest_id(1), digest: id::FoldDigest(digest(2)) },
        C::Equivocation { first: manifest_id(1), second: manifest_id(2) },
        C::Enclosed { first: channel::Envelope(vec![0x0f]), second: channel::Envelope(vec![0xf0, 1]) },
    ] {
        match claim {
            C::Mismatch { .. } | C::Equivocation { .. } | C::Enclosed { .. } => {}
        }
        same::<Claim>(&claim);
    }
    for admission in [A::Open, A::Listed(vec![key()])] {
        match admission {
            A::Open | A::Listed(_) => {}
        }
        same::<Admission>(&admission);
    }
}

fn adapter() -> manifest::AdapterInfo {
    let training = manifest::Training { steps: 1, tokens: 2, seed: 3, learning_rate_nano: 4, data: digest(5) };
    let evaluation = manifest::Evaluation { suite: name("dates"), samples: 9, exact_match_ppm: 8, loss_micro: 7 };
    manifest::AdapterInfo {
        base: base_id(),
        trained_on: base_id(),
        r: 8,
        target_modules: vec!["q_proj".to_owned()],
        parents: vec![manifest_id(4)],
        training: Some(training),
        evaluations: vec![evaluation],
    }
}

fn base_info() -> manifest::BaseInfo {
    let bits = |value| base::F32Bits::new(value).expect("finite");
    let architecture = base::Architecture {
        family: base::Family::Llama,
        vocab_size: 1,
        hidden_size: 2,
        intermediate_size: 3,
        num_hidden_layers: 4,
        num_attention_heads: 5,
        num_key_value_heads: 6,
        head_dim: 7,
        rms_norm_eps: bits(1e-5),
        rope_theta: bits(1e4),
        tie_word_embeddings: true,
    };
    manifest::BaseInfo { base: base_id(), architecture, recipe: Some(id::RecipeId(digest(6))) }
}

fn channel_info() -> channel::ChannelInfo {
    channel::ChannelInfo {
        genesis: base_id(),
        forked_from: Some(manifest_id(1)),
        dtype: tensor::DType::BF16,
        admission: channel::Admission::Open,
        licences: vec!["MIT".to_owned()],
        gate: channel::Gate { gain_ppm: 1, guard_ppm: 2 },
        norm: channel::NormBound { clip_ppm: 3, refuse_ppm: 4 },
        evaluation: vec![digest(3)],
    }
}

fn version_info() -> channel::VersionInfo {
    let suite = channel::Suite { name: name("dates"), role: channel::Role::Improve, rows: id::FileDigest(digest(1)) };
    let opened = channel::Opened {
        index: 1,
        sealed: channel::Sealed { salt: digest(2), suites: vec![suite] },
        scores: vec![channel::Score { genesis_micro: 1, before_micro: 2, after_micro: 3 }],
    };
    let outcome = channel::VerdictOutcome::Refused(channel::Refusal::Missing);
    let inputs = [(manifest_id(8), recipe::Weight::ONE)];
    channel::VersionInfo {
        channel: manifest_id(1),
        height: 2,
        previous: Some(manifest_id(2)),
        change: channel::Change::Release,
        recipe: recipe::Recipe::new(base_id(), tensor::DType::F32, inputs).expect("a recipe"),
        digest: id::FoldDigest(digest(3)),
        base: base_id(),
        revoked: vec![manifest_id(7)],
        opened: Some(opened),
        verdicts: vec![channel::Verdict { proposal: manifest_id(4), adapter: manifest_id(5), outcome }],
    }
}

#[test]
fn manifests_of_every_kind_have_their_form() {
    use manifest::Kind as K;
    let weight = recipe::Weight::ONE;
    let proposal =
        channel::ProposalInfo { genesis: base_id(), channel: manifest_id(1), adapter: manifest_id(2), weight };
    let claim = channel::Claim::Equivocation { first: manifest_id(1), second: manifest_id(2) };
    for kind in [
        K::Adapter(adapter()),
        K::Base(base_info()),
        K::Dataset(manifest::DatasetInfo { rows: 7 }),
        K::Channel(channel_info()),
        K::Proposal(proposal),
        K::Version(Box::new(version_info())),
        K::Proof(channel::ProofInfo { genesis: base_id(), channel: manifest_id(1), claim }),
    ] {
        match kind {
            K::Adapter(_) | K::Base(_) | K::Dataset(_) | K::Channel(_) | K::Proposal(_) | K::Version(_) => {}
            K::Proof(_) => {}
        }
        let file = manifest::FileEntry {
            path: text::RelPath::new("adapter_model.safetensors").expect("a path"),
            len: 1,
            digest: id::FileDigest(digest(1)),
            table: vec![id::ShardId(digest(2))],
            table_len: 2,
        };
        same::<Manifest>(&manifest::Manifest {
            kind,
            name: name("a-name"),
            licence: "MIT".to_owned(),
            description: "For people.".to_owned(),
            created: 1,
            publisher: key(),
            files: vec![file],
        });
    }
}

#[test]
fn reports_have_their_form() {
    same::<Report>(&check::Report::default());
    let piece = check::Piece { trained: true, text: "x".to_owned(), lookalike: false };
    same::<Report>(&check::Report {
        kind: Some(data::row::Kind::Chat),
        lengths: check::Lengths::of(vec![(1, 2), (2, 4)]),
        overlong: vec![check::Tokens { line: 1, tokens: 2 }],
        bad: vec![check::Line { line: 1, reason: "none".to_owned() }],
        duplicates: vec![vec![1, 2]],
        contradictions: vec![vec![1, 2]],
        blank: vec![check::Blank { line: 1, what: "prompt".to_owned() }],
        tokenizer: Some("a remark".to_owned()),
        positions: Some(2048),
        ending: Some("an end".to_owned()),
        packing: check::Packing { batch_tokens: 1, micro_batches: 2 },
        preview: vec![check::Preview { line: 1, pieces: vec![piece], whole: true }],
        data: Some(digest(1)),
        template: Some(digest(2)),
        ..check::Report::default()
    });
}
