//! Which answer belongs to which request, and how an answer is framed.
//!
//! An answer is a JSON object whose first field, `schema`, names its form and the form's version. The types of answers
//! know nothing of it: it is written and checked here alone.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::answers::{
    Base, Bases, Channels, Exported, FetchedShards, GenerateMeasured, Generated, Heard, InForce, MergeMeasured, Merged,
    OpenedChannel, Peers, Proposed, Published, Pulled, Released, Revoked, RolledBack, Shown, Status, StepMeasured,
    Stopped, StoreStat, StoreVerified, Trained, Unfollowed, Verified,
};
use super::proto::{self, Request};
use super::search::{Found, Search};
use super::{channel, lineage};
use crate::failure::{Failure, Kind, Outcome};
use crate::json_forms;
use crate::worker::proto::{BenchGenerateSettings, BenchStepSettings, BenchWork, Measured};
use potluck_trainer::data::check::Report;

/// The field of every answer that names its form.
const SCHEMA: &str = "schema";

/// A request whose answer has a type.
pub trait Ask: Clone + Into<Request> {
    /// What is answered.
    type Answer: Serialize + DeserializeOwned;
    /// Name and version of the answer's form, e.g. `potluck.status/1`.
    const SCHEMA: &'static str;
    /// What the request's field `do` says, and for a channel its field `what`.
    const TAGS: &'static [&'static str];
}

/// What the schema of all requests says of one: see [`super::schema`].
pub struct Asked {
    /// [`Ask::TAGS`].
    pub tags: &'static [&'static str],
    /// [`Ask::SCHEMA`].
    pub schema: &'static str,
    /// Name of the answer's form, without its field `schema`.
    pub answer: Cow<'static, str>,
    /// Adds the schemas of that form, and of what is in it, by name.
    pub add: fn(&mut Schemas),
}

/// Schemas by name, in the order in which they were added, the same one perhaps several times.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// Adds the schema of a type, and of what is in it.
pub fn add<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// An answer as programs get it.
#[derive(Clone, Debug, Serialize)]
pub struct Answer<'a, T> {
    /// Name and version of its form.
    pub schema: &'a str,
    /// Its fields.
    #[serde(flatten)]
    pub body: &'a T,
}

/// The fields of an answer behind its schema; any schema that is among them gives way.
pub fn seal(schema: &str, body: Value) -> Value {
    let mut sealed = Map::new();
    sealed.insert(SCHEMA.to_owned(), schema.into());
    if let Value::Object(fields) = body {
        sealed.extend(fields.into_iter().filter(|(name, _)| name != SCHEMA));
    }
    Value::Object(sealed)
}

/// Reads an answer from another process, which may be of another version.
pub fn open<R: Ask>(answer: Value) -> Outcome<R::Answer> {
    let schema = answer[SCHEMA].as_str().unwrap_or("no schema");
    if schema != R::SCHEMA {
        return Err(unexpected(format!("it is {schema}, and not {}", R::SCHEMA)));
    }
    serde_json::from_value(answer).map_err(unexpected)
}

fn unexpected(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Incompatible, format!("the answer is not what this version expects: {error}"))
        .hint("daemon and command are of different versions: restart the daemon with `potluck up`")
}

/// Reports the node's state.
#[derive(Clone, Copy, Debug)]
pub struct AskStatus;

/// Lists connected peers.
#[derive(Clone, Copy, Debug)]
pub struct AskPeers;

/// Lists the bases that can be used by name.
#[derive(Clone, Copy, Debug)]
pub struct AskBases;

/// Counts what is in the store.
#[derive(Clone, Copy, Debug)]
pub struct AskStoreStat;

/// Hashes everything in the store again.
#[derive(Clone, Copy, Debug)]
pub struct AskStoreVerify;

/// Makes the store's index anew.
#[derive(Clone, Copy, Debug)]
pub struct AskStoreRebuild;

/// Ends the daemon.
#[derive(Clone, Copy, Debug)]
pub struct AskStop;

/// Lists the channels that are followed.
#[derive(Clone, Copy, Debug)]
pub struct AskChannels;

/// Measures training steps on a base.
#[derive(Clone, Debug)]
pub struct AskBenchStep {
    /// A path, a name or an id.
    pub base: String,
    /// What to measure.
    pub settings: BenchStepSettings,
}

/// Measures generation with a base.
#[derive(Clone, Debug)]
pub struct AskBenchGenerate {
    /// A path, a name or an id.
    pub base: String,
    /// What to measure.
    pub settings: BenchGenerateSettings,
}

/// The type that the JSON schema is derived from: the second, if an answer's own type is of a crate without schemas.
macro_rules! form {
    ($answer:ty) => {
        $answer
    };
    ($answer:ty, $form:ty) => {
        $form
    };
}

/// Each request with its answer: the type, what makes a [`Request`] of it, the tags that it is written with, the schema,
/// the answer's type.
macro_rules! asks {
    ($($ask:ty, $own:pat => $request:expr, $tags:expr, $schema:literal => $answer:ty $(as $form:ty)?;)*) => {
        /// Every request, in the order of the docs.
        pub fn all() -> Vec<Asked> {
            vec![$(Asked {
                tags: <$ask>::TAGS,
                schema: <$ask>::SCHEMA,
                answer: <form!($answer $(, $form)?) as ToSchema>::name(),
                add: add::<form!($answer $(, $form)?)>,
            },)*]
        }
        $(
        impl From<$ask> for Request {
            fn from($own: $ask) -> Self {
                $request
            }
        }

        impl Ask for $ask {
            type Answer = $answer;
            const SCHEMA: &'static str = $schema;
            const TAGS: &'static [&'static str] = &$tags;
        }
        )*
    };
}

asks! {
    AskStatus, AskStatus => Request::Status, ["status"], "potluck.status/1" => Status;
    AskPeers, AskPeers => Request::Peers, ["peers"], "potluck.peers/1" => Peers;
    AskStop, AskStop => Request::Stop, ["stop"], "potluck.stop/1" => Stopped;
    proto::Heard, own => Request::Heard(own), ["heard"], "potluck.heard/1" => Heard;

    proto::BaseAdd, own => Request::BaseAdd(own), ["base_add"], "potluck.base.add/1" => Base;
    proto::BaseFetch, own => Request::BaseFetch(own), ["base_fetch"], "potluck.base.add/1" => Base;
    proto::BaseShow, own => Request::BaseShow(own), ["base_show"], "potluck.base.show/1" => Base;
    AskBases, AskBases => Request::BaseList, ["base_list"], "potluck.base.list/1" => Bases;

    proto::Train, own => Request::Train(Box::new(own)), ["train"], "potluck.train/1" => Trained;
    proto::Eval, own => Request::Eval(own), ["eval"], "potluck.eval/1" => Measured;
    proto::Generate, own => Request::Generate(own), ["generate"], "potluck.generate/1" => Generated;
    proto::DataCheck, own => Request::DataCheck(own),
        ["data_check"], "potluck.data.check/1" => Report as json_forms::Report;

    proto::Publish, own => Request::Publish(own), ["publish"], "potluck.publish/1" => Published;
    proto::PublishBase, own => Request::PublishBase(own), ["publish_base"], "potluck.publish/1" => Published;
    Search, own => Request::Search(Box::new(own)), ["search"], "potluck.search/1" => Found;
    proto::Show, own => Request::Show(own), ["show"], "potluck.show/1" => Shown;
    proto::Pull, own => Request::Pull(own), ["pull"], "potluck.pull/1" => Pulled;
    proto::Fetch, own => Request::Fetch(own), ["fetch"], "potluck.fetch/1" => FetchedShards;
    proto::Verify, own => Request::Verify(own), ["verify"], "potluck.verify/1" => Verified;
    proto::Merge, own => Request::Merge(own), ["merge"], "potluck.merge/1" => Merged;

    channel::Open, own => of(channel::Request::Open(own)),
        ["channel", "open"], "potluck.channel.open/1" => OpenedChannel;
    channel::Propose, own => of(channel::Request::Propose(own)),
        ["channel", "propose"], "potluck.channel.propose/1" => Proposed;
    channel::Release, own => of(channel::Request::Release(own)),
        ["channel", "release"], "potluck.channel.release/1" => Released;
    channel::Revoke, own => of(channel::Request::Revoke(own)),
        ["channel", "revoke"], "potluck.channel.revoke/1" => Revoked;
    channel::Follow, own => of(channel::Request::Follow(own)),
        ["channel", "follow"], "potluck.channel.follow/1" => InForce;
    channel::Unfollow, own => of(channel::Request::Unfollow(own)),
        ["channel", "unfollow"], "potluck.channel.unfollow/1" => Unfollowed;
    channel::Update, own => of(channel::Request::Update(own)),
        ["channel", "update"], "potluck.channel.update/1" => InForce;
    channel::Rollback, own => of(channel::Request::Rollback(own)),
        ["channel", "rollback"], "potluck.channel.rollback/1" => RolledBack;
    channel::Show, own => of(channel::Request::Show(own)),
        ["channel", "show"], "potluck.channel.show/1" => lineage::Shown;
    AskChannels, AskChannels => of(channel::Request::List), ["channel", "list"], "potluck.channel.list/1" => Channels;
    channel::Export, own => of(channel::Request::Export(own)),
        ["channel", "export"], "potluck.channel.export/1" => Exported;

    AskStoreStat, AskStoreStat => Request::StoreStat, ["store_stat"], "potluck.store.stat/1" => StoreStat;
    AskStoreVerify, AskStoreVerify => Request::StoreVerify, ["store_verify"], "potluck.store.verify/1" => StoreVerified;
    AskStoreRebuild, AskStoreRebuild => Request::StoreRebuild,
        ["store_rebuild"], "potluck.store.rebuild/1" => StoreStat;

    AskBenchStep, AskBenchStep { base, settings } => Request::Bench(proto::Bench { base, work: BenchWork::Step(settings) }),
        ["bench"], "potluck.bench.step/1" => StepMeasured;
    AskBenchGenerate, AskBenchGenerate { base, settings } =>
        Request::Bench(proto::Bench { base, work: BenchWork::Generate(settings) }),
        ["bench"], "potluck.bench.generate/1" => GenerateMeasured;
    proto::BenchMerge, own => Request::BenchMerge(Box::new(own)),
        ["bench_merge"], "potluck.bench.merge/1" => MergeMeasured;
}

fn of(request: channel::Request) -> Request {
    Request::Channel(Box::new(request))
}

impl Request {
    /// The schema of its answer.
    pub fn schema(&self) -> &'static str {
        match self {
            Self::Status => AskStatus::SCHEMA,
            Self::Peers => AskPeers::SCHEMA,
            Self::BaseAdd(_) => proto::BaseAdd::SCHEMA,
            Self::BaseFetch(_) => proto::BaseFetch::SCHEMA,
            Self::BaseList => AskBases::SCHEMA,
            Self::BaseShow(_) => proto::BaseShow::SCHEMA,
            Self::Train(_) => proto::Train::SCHEMA,
            Self::Eval(_) => proto::Eval::SCHEMA,
            Self::Generate(_) => proto::Generate::SCHEMA,
            Self::DataCheck(_) => proto::DataCheck::SCHEMA,
            Self::Publish(_) => proto::Publish::SCHEMA,
            Self::PublishBase(_) => proto::PublishBase::SCHEMA,
            Self::Search(_) => Search::SCHEMA,
            Self::Show(_) => proto::Show::SCHEMA,
            Self::Pull(_) => proto::Pull::SCHEMA,
            Self::Fetch(_) => proto::Fetch::SCHEMA,
            Self::Heard(_) => proto::Heard::SCHEMA,
            Self::Verify(_) => proto::Verify::SCHEMA,
            Self::Merge(_) => proto::Merge::SCHEMA,
            Self::Channel(request) => request.schema(),
            Self::StoreStat => AskStoreStat::SCHEMA,
            Self::StoreVerify => AskStoreVerify::SCHEMA,
            Self::StoreRebuild => AskStoreRebuild::SCHEMA,
            Self::Bench(bench) => match bench.work {
                BenchWork::Step(_) => AskBenchStep::SCHEMA,
                BenchWork::Generate(_) => AskBenchGenerate::SCHEMA,
            },
            Self::BenchMerge(_) => proto::BenchMerge::SCHEMA,
            Self::Stop => AskStop::SCHEMA,
        }
    }
}

impl channel::Request {
    /// The schema of its answer.
    fn schema(&self) -> &'static str {
        match self {
            Self::Open(_) => channel::Open::SCHEMA,
            Self::Propose(_) => channel::Propose::SCHEMA,
            Self::Release(_) => channel::Release::SCHEMA,
            Self::Revoke(_) => channel::Revoke::SCHEMA,
            Self::Follow(_) => channel::Follow::SCHEMA,
            Self::Unfollow(_) => channel::Unfollow::SCHEMA,
            Self::Update(_) => channel::Update::SCHEMA,
            Self::Rollback(_) => channel::Rollback::SCHEMA,
            Self::Show(_) => channel::Show::SCHEMA,
            Self::List => AskChannels::SCHEMA,
            Self::Export(_) => channel::Export::SCHEMA,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_schema_comes_first_and_is_checked() {
        let sealed = seal(AskPeers::SCHEMA, json!({ "peers": [], "schema": "old/1" }));
        assert_eq!(sealed.to_string(), r#"{"schema":"potluck.peers/1","peers":[]}"#);
        assert_eq!(open::<AskPeers>(sealed.clone()).expect("its own"), Peers { peers: Vec::new() });
        let other = open::<AskStoreStat>(sealed).map_err(|failure| failure.kind);
        assert_eq!(other.err(), Some(Kind::Incompatible));
        let none = open::<AskPeers>(json!({ "peers": [] })).map_err(|failure| failure.kind);
        assert_eq!(none.err(), Some(Kind::Incompatible));
    }

    #[test]
    fn a_request_and_its_type_agree_on_schema_and_tags() {
        fn agree<R: Ask>(ask: R) {
            let request: Request = ask.into();
            assert_eq!(request.schema(), R::SCHEMA);
            let json = serde_json::to_value(&request).expect("JSON");
            let tags: Vec<&str> = ["do", "what"].iter().filter_map(|field| json[field].as_str()).collect();
            assert_eq!(tags, R::TAGS);
        }
        agree(AskStatus);
        agree(AskPeers);
        agree(AskBases);
        agree(AskChannels);
        agree(proto::Show { reference: String::new() });
        agree(proto::Verify { id: String::new() });
        agree(channel::Show { channel: String::new() });
        agree(channel::Unfollow { channel: String::new(), force: false });
        agree(AskStoreStat);
        agree(AskStoreVerify);
        agree(AskStoreRebuild);
        agree(AskStop);
    }

    #[test]
    fn an_answer_is_written_behind_its_schema() {
        let written = serde_json::to_string(&Answer { schema: "a/1", body: &Peers { peers: Vec::new() } });
        assert_eq!(written.expect("JSON"), r#"{"schema":"a/1","peers":[]}"#);
    }
}
