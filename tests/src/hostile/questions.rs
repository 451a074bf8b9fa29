//! F17: small questions, and requests for shards that are not there, one after the other, as fast as they are answered; and
//! streams on which nothing is asked.

use std::time::Duration;

use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::codec;
use potluck_protocol::id::{Digest, ShardId};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::keys::key;
use super::peer::{Manner, Peer};
use super::scene::Scene;
use super::shelf::Shelf;
use super::wiped_catalogue::Filler;
use super::{Found, Outcome, Setting, attacked, signed};
use crate::kit::Up;
use crate::processes;
use crate::stranger::bulk;

/// Nearly as many adapters as a base has places for.
const RECORDS: usize = 2000;
/// Each kind of question is asked for so long.
const ASKING: Duration = Duration::from_secs(8);
/// Questions on their way at once.
const AHEAD: usize = 64;
/// Of a core.
const BOUND: f64 = 0.25;

/// How questions went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub answered: u64,
    pub busy: u64,
}

/// Asks one thing again and again, `ahead` at once, with a pause after each turn.
pub async fn ask(peer: &Peer, request: &Request, ahead: usize, pause: Duration, long: Duration) -> Outcome<Asked> {
    let (until, bytes, mut asked) = (Instant::now() + long, codec::encode(request)?, Asked::default());
    let mut stream = peer.bulk().await?;
    while Instant::now() < until {
        for _ in 0..ahead {
            bulk::write_frame(&mut stream, &bytes).await?;
        }
        for _ in 0..ahead {
            let answer = timeout(Duration::from_secs(20), bulk::read_frame(&mut stream, bulk::REPLY_MAX)).await??;
            match codec::decode(&answer.ok_or("the stream ended")?)? {
                Reply::Refused(Refusal::Busy { .. }) => asked.busy += 1,
                _ => asked.answered += 1,
            }
        }
        tokio::time::sleep(pause).await;
    }
    Ok(asked)
}

/// Opens streams and drops them, half of [`AHEAD`] at once, for so long: how many.
async fn open_streams(peer: &Peer, long: Duration) -> Outcome<Asked> {
    let (until, mut opened) = (Instant::now() + long, Asked::default());
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let streams = futures::future::try_join_all((0..AHEAD / 2).map(|_| peer.bulk()));
        // Later ones wait for their turn, and need not be waited for.
        let Ok(streams) = timeout(left, streams).await else { break };
        opened.answered += streams?.len() as u64;
    }
    Ok(opened)
}

pub fn run(setting: &Setting) -> Outcome<Found> {
    let scene = Scene::new(setting, "questions")?;
    let published = scene.publish("victim", &scene.adapter("victim", 3), "honest")?;
    let victim = scene.up("victim", &[]);
    let filler = Filler::new(&format!("{} fills", scene.seed), setting.sizes.count.unwrap_or(RECORDS))?;
    let said = filler.say(scene.tiny, 1)?;
    let fillers = filler.connect(&scene, &victim)?;
    let asker = fillers.first().ok_or("there are records")?;
    let records = scene.all_heard(asker, &scene.tiny, &said, Duration::from_secs(60))?;
    let kinds = [
        ("have", Some(Request::Have(vec![ShardId(Digest::of(b"any"))]))),
        ("providers", Some(Request::Providers(signed::nowhere("providers")))),
        ("announcements", Some(Request::Announcements(scene.tiny))),
        ("manifest", Some(Request::Manifest(published))),
        ("shard", Some(Request::Shard(ShardId(Digest::of(b"missing"))))),
        ("streams", None),
    ];
    let (mut figures, mut most) = (json!({ "records": records, "bound_cores": BOUND }), 0.0f64);
    for (name, request) in kinds {
        let (part, cores) = cost(&scene, &victim, name, request.as_ref())?;
        figures[name] = part;
        most = most.max(cores);
    }
    Ok(Found { figures, holds: most <= BOUND })
}

/// What it costs to be asked this, or to have streams opened on which nothing is asked.
fn cost(scene: &Scene, up: &Up, name: &str, request: Option<&Request>) -> Outcome<(Value, f64)> {
    let peer = scene.peer(up, &key(&format!("{} asks {name}", scene.seed))?, Manner::Serving(Shelf::default()))?;
    let (before, begun) = (processes::processor_seconds(up.pid())?, std::time::Instant::now());
    let asked = scene.block_on(async {
        match request {
            Some(request) => ask(&peer, request, AHEAD, Duration::ZERO, ASKING).await,
            None => open_streams(&peer, ASKING).await,
        }
    });
    let answered = asked.as_ref().map_or(0, |asked| asked.answered + asked.busy);
    attacked(asked.is_err() || answered > 0, || format!("no question `{name}` was answered"))?;
    // A node that closes the stream of somebody who asks too much has answered enough.
    let (asked, closed) = asked.map_or((Asked::default(), true), |asked| (asked, false));
    // Over the whole time that was to be asked for, also if it was shorter.
    std::thread::sleep(ASKING.saturating_sub(begun.elapsed()));
    let seconds = processes::processor_seconds(up.pid())? - before;
    let cores = seconds / begun.elapsed().as_secs_f64();
    let each = 1e6 * seconds / (asked.answered + asked.busy).max(1) as f64;
    let figures = json!({
        "answered": asked.answered, "busy": asked.busy, "closed": closed, "cores": cores, "us_each": each,
    });
    Ok((figures, cores))
}
