//! Channels of base versions: this node as a steward, a proposer, a follower and an auditor.
//!
//! What is in force follows from signed manifests in the store ([`Lineage`](potluck_protocol::lineage::Lineage)) and one
//! record in `state.log` ([`ChannelRecord`](crate::store::ChannelRecord)); a command that dies half way leaves the old
//! version in force.

pub mod order;
pub mod rests;
pub mod follower;
pub mod steward;

use std::sync::Arc;

use crate::api::answers::RolledBack;
use crate::api::ask::Answer;
use crate::api::channel::{Export, Request, Rollback, Show, Unfollow, Update};
use crate::app::call::Call;
use crate::failure::Outcome;
use follower::Follower;
use follower::export::Exporter;
use follower::show::ChannelView;
use steward::Steward;
use steward::propose::Proposer;

/// Answers everything that is asked about channels.
#[derive(Clone)]
pub struct Channels {
    pub(in crate::app) follower: Follower,
    pub(in crate::app) view: Arc<ChannelView>,
    pub(in crate::app) exporter: Exporter,
    pub(in crate::app) proposer: Proposer,
    pub(in crate::app) steward: Steward,
}

impl Channels {
    /// Does what is asked.
    pub async fn run(&self, call: &Call<'_>, request: Request) -> Outcome<Answer> {
        match request {
            Request::Open(open) => self.steward.open(call, open).await.map(Answer::ChannelOpen),
            Request::Propose(propose) => self.proposer.propose(call, propose).await.map(Answer::ChannelPropose),
            Request::Release(release) => self.steward.release(call, release).await.map(Answer::ChannelRelease),
            Request::Revoke(revoke) => self.steward.revoke(call, revoke).await.map(Answer::ChannelRevoke),
            Request::Follow(follow) => self.follower.follow(call, follow).await.map(Answer::ChannelFollow),
            Request::Unfollow(Unfollow { channel, force }) => {
                self.follower.unfollow(&channel, force).await.map(Answer::ChannelUnfollow)
            }
            Request::Update(Update { channel, timeout_seconds }) => {
                self.follower.update_asked(call, &channel, timeout_seconds).await.map(Answer::ChannelUpdate)
            }
            Request::Rollback(rollback) => self.rollback(call, rollback).await.map(Answer::ChannelRollback),
            Request::Show(Show { channel }) => self.view.show(&channel).await.map(Answer::ChannelShow),
            Request::List => self.follower.list().await.map(Answer::ChannelList),
            Request::Export(Export { channel, out }) => {
                self.exporter.export(call, &channel, &out).await.map(Answer::ChannelExport)
            }
        }
    }

    /// For all followers, or here alone.
    async fn rollback(&self, call: &Call<'_>, rollback: Rollback) -> Outcome<RolledBack> {
        if rollback.publish {
            let version = self.steward.rollback(call, &rollback).await?;
            return Ok(RolledBack::ForAll(Box::new(version)));
        }
        self.follower.rollback(call, rollback).await.map(RolledBack::Here)
    }
}
