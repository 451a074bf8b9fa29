//! Which answer belongs to which request, and how an answer is framed.
//!
//! Within a process an answer is a variant of [`Answer`]. On the socket and on standard output it is a JSON object: its
//! first field, `schema`, names its form and the form's version. The types of answers know nothing of it; it is written
//! and checked here alone.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
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

    /// The answer of a node in this process. An error if the node has answered another request.
    fn take(answer: Answer) -> Outcome<Self::Answer>;
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

/// An answer as programs get it: its fields behind its schema.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope<'a, T> {
    /// Name and version of its form.
    pub schema: &'a str,
    /// Its fields.
    #[serde(flatten)]
    pub body: &'a T,
}

fn to_value<R: Ask>(body: &R::Answer) -> Outcome<Value> {
    let written = serde_json::to_value(Envelope { schema: R::SCHEMA, body });
    written.map_err(|error| Failure::new(Kind::Failed, format!("write the answer: {error}")))
}

/// Reads an answer from another process, which may be of another version.
pub fn open<R: Ask>(answer: Value) -> Outcome<R::Answer> {
    let schema = answer[SCHEMA].as_str().unwrap_or("no schema");
    if schema != R::SCHEMA {
        return Err(unexpected(format!("it is {schema}, and not {}", R::SCHEMA)));
    }
    serde_json::from_value(answer).map_err(unexpected)
}

fn another(schema: &str, answer: &Answer) -> Failure {
    Failure::new(Kind::Failed, format!("the node answered {} where {schema} was asked for", answer.schema()))
}

fn unexpected(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Incompatible, format!("the answer is not what this version expects: {error}"))
        .hint("daemon and command have different versions: restart the daemon with `potluck up`")
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

/// Each request with its answer: the answer's variant, the request's type, what makes a [`Request`] of it, the tags that it
/// is written with, the schema, the type of the answer's body.
macro_rules! asks {
    ($($name:ident: $ask:ty, $own:pat => $request:expr, $tags:expr, $schema:literal => $answer:ty $(as $form:ty)?;)*) => {
        /// Every request, in the order of the docs.
        pub fn all() -> Vec<Asked> {
            vec![$(Asked {
                tags: <$ask>::TAGS,
                schema: <$ask>::SCHEMA,
                answer: <form!($answer $(, $form)?) as ToSchema>::name(),
                add: add::<form!($answer $(, $form)?)>,
            },)*]
        }

        /// What a node answers: a variant for each request, since two may be answered by the same type under schemas of
        /// their own.
        #[derive(Clone, Debug)]
        pub enum Answer {
            $(#[doc = concat!("Schema `", $schema, "`.")] $name($answer),)*
        }

        impl Answer {
            /// Name and version of its form.
            pub fn schema(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => <$ask>::SCHEMA,)*
                }
            }

            /// As it is written on the socket.
            pub(super) fn into_value(self) -> Outcome<Value> {
                match self {
                    $(Self::$name(body) => to_value::<$ask>(&body),)*
                }
            }
        }

        $(impl From<$ask> for Request {
            fn from($own: $ask) -> Self {
                $request
            }
        }

        impl Ask for $ask {
            type Answer = $answer;
            const SCHEMA: &'static str = $schema;
            const TAGS: &'static [&'static str] = &$tags;

            fn take(answer: Answer) -> Outcome<$answer> {
                match answer {
                    Answer::$name(body) => Ok(body),
                    other => Err(another(Self::SCHEMA, &other)),
                }
            }
        })*
    };
}

asks! {
    Status: AskStatus, AskStatus => Request::Status, ["status"], "potluck.status/2" => Status;
    Peers: AskPeers, AskPeers => Request::Peers, ["peers"], "potluck.peers/2" => Peers;
    Stop: AskStop, AskStop => Request::Stop, ["stop"], "potluck.stop/1" => Stopped;
    Heard: proto::Heard, own => Request::Heard(own), ["heard"], "potluck.heard/1" => Heard;
    BaseAdd: proto::BaseAdd, own => Request::BaseAdd(own), ["base_add"], "potluck.base.add/1" => Base;
    BaseFetch: proto::BaseFetch, own => Request::BaseFetch(own), ["base_fetch"], "potluck.base.add/1" => Base;
    BaseShow: proto::BaseShow, own => Request::BaseShow(own), ["base_show"], "potluck.base.show/1" => Base;
    BaseList: AskBases, AskBases => Request::BaseList, ["base_list"], "potluck.base.list/1" => Bases;
    Train: proto::Train, own => Request::Train(Box::new(own)), ["train"], "potluck.train/2" => Trained;
    Eval: proto::Eval, own => Request::Eval(own), ["eval"], "potluck.eval/2" => Measured;
    Generate: proto::Generate, own => Request::Generate(own), ["generate"], "potluck.generate/1" => Generated;
    DataCheck: proto::DataCheck, own => Request::DataCheck(own),
        ["data_check"], "potluck.data.check/1" => Report as json_forms::Report;
    Publish: proto::Publish, own => Request::Publish(own), ["publish"], "potluck.publish/1" => Published;
    PublishBase: proto::PublishBase, own => Request::PublishBase(own),
        ["publish_base"], "potluck.publish/1" => Published;
    Search: Search, own => Request::Search(Box::new(own)), ["search"], "potluck.search/1" => Found;
    Show: proto::Show, own => Request::Show(own), ["show"], "potluck.show/2" => Shown;
    Pull: proto::Pull, own => Request::Pull(own), ["pull"], "potluck.pull/1" => Pulled;
    Fetch: proto::Fetch, own => Request::Fetch(own), ["fetch"], "potluck.fetch/1" => FetchedShards;
    Verify: proto::Verify, own => Request::Verify(own), ["verify"], "potluck.verify/2" => Verified;
    Merge: proto::Merge, own => Request::Merge(own), ["merge"], "potluck.merge/2" => Merged;
    ChannelOpen: channel::Open, own => in_channel(channel::Request::Open(own)),
        ["channel", "open"], "potluck.channel.open/1" => OpenedChannel;
    ChannelPropose: channel::Propose, own => in_channel(channel::Request::Propose(own)),
        ["channel", "propose"], "potluck.channel.propose/1" => Proposed;
    ChannelRelease: channel::Release, own => in_channel(channel::Request::Release(own)),
        ["channel", "release"], "potluck.channel.release/1" => Released;
    ChannelRevoke: channel::Revoke, own => in_channel(channel::Request::Revoke(own)),
        ["channel", "revoke"], "potluck.channel.revoke/1" => Revoked;
    ChannelFollow: channel::Follow, own => in_channel(channel::Request::Follow(own)),
        ["channel", "follow"], "potluck.channel.follow/1" => InForce;
    ChannelUnfollow: channel::Unfollow, own => in_channel(channel::Request::Unfollow(own)),
        ["channel", "unfollow"], "potluck.channel.unfollow/1" => Unfollowed;
    ChannelUpdate: channel::Update, own => in_channel(channel::Request::Update(own)),
        ["channel", "update"], "potluck.channel.update/1" => InForce;
    ChannelRollback: channel::Rollback, own => in_channel(channel::Request::Rollback(own)),
        ["channel", "rollback"], "potluck.channel.rollback/1" => RolledBack;
    ChannelShow: channel::Show, own => in_channel(channel::Request::Show(own)),
        ["channel", "show"], "potluck.channel.show/1" => lineage::Shown;
    ChannelList: AskChannels, AskChannels => in_channel(channel::Request::List),
        ["channel", "list"], "potluck.channel.list/1" => Channels;
    ChannelExport: channel::Export, own => in_channel(channel::Request::Export(own)),
        ["channel", "export"], "potluck.channel.export/1" => Exported;
    StoreStat: AskStoreStat, AskStoreStat => Request::StoreStat, ["store_stat"], "potluck.store.stat/1" => StoreStat;
    StoreVerify: AskStoreVerify, AskStoreVerify => Request::StoreVerify,
        ["store_verify"], "potluck.store.verify/1" => StoreVerified;
    StoreRebuild: AskStoreRebuild, AskStoreRebuild => Request::StoreRebuild,
        ["store_rebuild"], "potluck.store.rebuild/1" => StoreStat;
    BenchStep: AskBenchStep, AskBenchStep { base, settings } => Request::Bench(proto::Bench { base, work: BenchWork::Step(settings) }),
        ["bench"], "potluck.bench.step/1" => StepMeasured;
    BenchGenerate: AskBenchGenerate, AskBenchGenerate { base, settings } => Request::Bench(proto::Bench { base, work: BenchWork::Generate(settings) }),
        ["bench"], "potluck.bench.generate/1" => GenerateMeasured;
    BenchMerge: proto::BenchMerge, own => Request::BenchMerge(Box::new(own)),
        ["bench_merge"], "potluck.bench.merge/1" => MergeMeasured;
}

fn in_channel(request: channel::Request) -> Request {
    Request::Channel(Box::new(request))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The schema of a request's answer. A new request does not compile without a line here, and none without an answer.
    fn schema(request: &Request) -> &'static str {
        match request {
            Request::Status => AskStatus::SCHEMA,
            Request::Peers => AskPeers::SCHEMA,
            Request::BaseAdd(ask) => of(ask),
            Request::BaseFetch(ask) => of(ask),
            Request::BaseList => AskBases::SCHEMA,
            Request::BaseShow(ask) => of(ask),
            Request::Train(ask) => of(&**ask),
            Request::Eval(ask) => of(ask),
            Request::Generate(ask) => of(ask),
            Request::DataCheck(ask) => of(ask),
            Request::Publish(ask) => of(ask),
            Request::PublishBase(ask) => of(ask),
            Request::Search(ask) => of(&**ask),
            Request::Show(ask) => of(ask),
            Request::Pull(ask) => of(ask),
            Request::Fetch(ask) => of(ask),
            Request::Heard(ask) => of(ask),
            Request::Verify(ask) => of(ask),
            Request::Merge(ask) => of(ask),
            Request::Channel(request) => schema_in_channel(request),
            Request::StoreStat => AskStoreStat::SCHEMA,
            Request::StoreVerify => AskStoreVerify::SCHEMA,
            Request::StoreRebuild => AskStoreRebuild::SCHEMA,
            Request::Bench(proto::Bench { work: BenchWork::Step(_), .. }) => AskBenchStep::SCHEMA,
            Request::Bench(proto::Bench { work: BenchWork::Generate(_), .. }) => AskBenchGenerate::SCHEMA,
            Request::BenchMerge(ask) => of(&**ask),
            Request::Stop => AskStop::SCHEMA,
        }
    }

    fn schema_in_channel(request: &channel::Request) -> &'static str {
        match request {
            channel::Request::Open(ask) => of(ask),
            channel::Request::Propose(ask) => of(ask),
            channel::Request::Release(ask) => of(ask),
            channel::Request::Revoke(ask) => of(ask),
            channel::Request::Follow(ask) => of(ask),
            channel::Request::Unfollow(ask) => of(ask),
            channel::Request::Update(ask) => of(ask),
            channel::Request::Rollback(ask) => of(ask),
            channel::Request::Show(ask) => of(ask),
            channel::Request::List => AskChannels::SCHEMA,
            channel::Request::Export(ask) => of(ask),
        }
    }

    /// Of what a request carries, if an answer belongs to it.
    fn of<R: Ask>(_: &R) -> &'static str {
        R::SCHEMA
    }

    #[test]
    fn the_schema_comes_first_and_is_checked() {
        let written = Answer::Peers(Peers { peers: Vec::new() }).into_value().expect("JSON");
        assert_eq!(written.to_string(), r#"{"schema":"potluck.peers/2","peers":[]}"#);
        assert_eq!(open::<AskPeers>(written.clone()).expect("its own"), Peers { peers: Vec::new() });
        let other = open::<AskStoreStat>(written).map_err(|failure| failure.kind);
        assert_eq!(other.err(), Some(Kind::Incompatible));
        let none = open::<AskPeers>(json!({ "peers": [] })).map_err(|failure| failure.kind);
        assert_eq!(none.err(), Some(Kind::Incompatible));
    }

    #[test]
    fn an_answer_is_taken_by_its_own_request_alone() {
        let answer = || Answer::StoreVerify(StoreVerified { shards: 1, manifests: 2 });
        assert_eq!(AskStoreVerify::take(answer()).expect("its own").manifests, 2);
        assert_eq!(AskStatus::take(answer()).map_err(|failure| failure.kind).err(), Some(Kind::Failed));
    }

    #[test]
    fn a_request_and_its_type_agree_on_schema_and_tags() {
        fn agree<R: Ask>(ask: R) {
            let request: Request = ask.into();
            assert_eq!(schema(&request), R::SCHEMA);
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
}
