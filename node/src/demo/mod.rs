//! The whole of potluck on one machine: volunteers train, exchange, merge and measure.
//!
//! ```text
//! plan (skills, rows, settings) -> volunteers (daemons of their own) -> train -> publish -> hear -> pull -> verify
//!      -> channel: open, follow, propose -> release -> take and rebuild -> measure -> report
//! ```
//!
//! This process only starts the daemons and asks them, over their local sockets, for what a person would type.

mod plan;
mod prose;
mod report;
mod show;
mod volunteer;

use std::path::PathBuf;
use std::time::Instant;

use futures::future::try_join_all;
use potluck_protocol::id::{BaseId, FoldDigest, ManifestId};

use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::signals;
use plan::Plan;
pub use report::{BaseLine, ChannelLine, Figure, NodeLine, Report, SkillLine};
use show::Show;
use volunteer::Volunteer;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The base: a folder, a GGUF file or a name, as `potluck base add` takes it.
    pub base: String,
    /// Volunteers, each with a daemon, a home and a skill of its own.
    pub nodes: usize,
    /// Held-out prompts of each skill. If not said: 200 for the base inside the program, 100 for others.
    pub heldout: Option<usize>,
    /// Where the volunteers' homes are made and kept; a temporary folder, removed at the end, if not said.
    pub home: Option<PathBuf>,
    /// Shows no progress.
    pub quiet: bool,
}

/// Runs it whole. Dropping the future ends the daemons.
pub async fn run(options: &Options) -> Outcome<Report> {
    let started = Instant::now();
    let show = Show::new(options.quiet);
    let temporary = tempfile::Builder::new().prefix("potluck-demo-").tempdir_in(config::temporary());
    let temporary = temporary.map_err(|error| Failure::io("make a folder for the demo", &error))?;
    let root = match &options.home {
        Some(home) => config::absolute(home)?,
        None => temporary.path().to_path_buf(),
    };
    let plan = Plan::new(options, &root)?;
    tokio::select! {
        biased;
        () = signals::requests().to_end.cancelled_owned() => Err(Failure::interrupted()),
        report = all(&plan, &show, started) => report,
    }
}

async fn all(plan: &Plan, show: &Show, started: Instant) -> Outcome<Report> {
    show.phase(&format!("starting {} volunteers, each a daemon with a home of its own", plan.volunteers.len()));
    let mut volunteers = start(plan).await?;
    let base = base(plan, show, &mut volunteers).await?;

    show.phase("each trains an adapter for its own skill");
    let trained = try_join_all(volunteers.iter_mut().map(|v| v.train(plan, show))).await?;
    show.phase("each publishes its adapter");
    let adapters = try_join_all(volunteers.iter_mut().map(|v| v.publish(plan))).await?;
    show.phase("each hears of the others by gossip, fetches their shards and checks them");
    let fetched = try_join_all(volunteers.iter_mut().map(|v| v.gather(base.id, &adapters))).await?;
    let (channel, merged_digests) = release(plan, show, &mut volunteers, base.id, &adapters).await?;
    show.phase("each measures its skill: base, own adapter, released version");
    let measured = try_join_all(volunteers.iter_mut().map(|v| v.measure(plan))).await?;

    let mut nodes = Vec::new();
    for (((volunteer, trained), adapter), fetched) in volunteers.iter().zip(trained).zip(&adapters).zip(fetched) {
        nodes.push(NodeLine {
            pid: volunteer.daemon.pid,
            home: volunteer.daemon.home.clone(),
            peer: volunteer.daemon.peer.clone(),
            skill: volunteer.skill.clone(),
            adapter: *adapter,
            train_seconds: trained.seconds,
            tokens_per_second: trained.tokens_per_second,
            fetched_bytes: fetched.bytes,
            fetched_from: fetched.peers,
        });
    }
    let skills =
        volunteers.iter().zip(measured).map(|(volunteer, measured)| SkillLine::new(&volunteer.skill, measured));
    let skills = skills.collect();
    try_join_all(volunteers.into_iter().map(Volunteer::stop)).await?;
    Ok(Report { seconds: started.elapsed().as_secs_f64(), base, nodes, skills, channel, merged_digests })
}

/// The first one alone, the others with its address as bootstrap.
async fn start(plan: &Plan) -> Outcome<Vec<Volunteer>> {
    let mut volunteers: Vec<Volunteer> = Vec::new();
    for seat in &plan.volunteers {
        let bootstrap = volunteers.first().map(|first| first.daemon.address.clone());
        volunteers.push(Volunteer::start(plan, seat, bootstrap.as_deref()).await?);
    }
    Ok(volunteers)
}

/// One opens a channel, everybody follows it and proposes an adapter; its steward releases a version, which everybody
/// takes and rebuilds.
async fn release(
    plan: &Plan,
    show: &Show,
    volunteers: &mut [Volunteer],
    base: BaseId,
    adapters: &[ManifestId],
) -> Outcome<(ChannelLine, Vec<FoldDigest>)> {
    show.phase("the first opens a channel of base versions, with sealed rows that nobody has seen; all follow it");
    let Some((steward, followers)) = volunteers.split_first_mut() else { return Err(nobody()) };
    let channel = steward.open(plan).await?;
    try_join_all(followers.iter_mut().map(|v| v.follow(channel))).await?;
    show.phase("each proposes its adapter");
    let proposals = try_join_all(volunteers.iter_mut().zip(adapters).map(|(v, adapter)| v.propose(*adapter))).await?;
    let Some((steward, followers)) = volunteers.split_first_mut() else { return Err(nobody()) };
    steward.heard(base, &proposals).await?;
    show.phase("the steward opens the sealed rows, scores the proposals, folds those that help, and signs the version");
    let line = ChannelLine::from(steward.release(plan).await?);
    show.phase("each takes the version, and rebuilds it from the base");
    let mut digests = vec![steward.update(base, line.version).await?];
    digests.extend(try_join_all(followers.iter_mut().map(|v| v.update(base, line.version))).await?);
    Ok((line, digests))
}

fn nobody() -> Failure {
    Failure::new(Kind::Usage, "a demo without volunteers shows nothing").hint("give --nodes 1 or more")
}

/// Every volunteer checks and adds the base itself; all must come to the same id.
async fn base(plan: &Plan, show: &Show, volunteers: &mut [Volunteer]) -> Outcome<BaseLine> {
    show.phase(&format!("each checks the base {}", plan.base_name));
    let bases = try_join_all(volunteers.iter_mut().map(|v| v.base(plan))).await?;
    let id = *bases.first().ok_or_else(nobody)?;
    if bases.iter().any(|other| *other != id) {
        return Err(Failure::new(Kind::Verification, "the volunteers do not have the same base"));
    }
    Ok(BaseLine { name: plan.base_name.clone(), id })
}
