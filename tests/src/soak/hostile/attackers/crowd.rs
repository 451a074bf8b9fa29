//! Peers that come before all honest ones in the order of their names, idle and silent.

use super::*;

/// At each node: together as many as a node lets in from one neighbourhood.
pub(super) const IDLE: usize = 12;
pub(super) const SILENT: usize = 4;

/// Who of a crowd was put out is looked for so often.
pub(super) const HELD: Duration = Duration::from_secs(5);

/// F2 and F7: peers that come before all honest ones, idle and silent.
pub(super) fn tasks(stage: &Stage, tally: &Tally) -> Outcome<Vec<Task>> {
    let first = stage.targets.iter().map(|target| target.peer).min().ok_or("there are honest nodes")?;
    let kinds = [("idle", Manner::Idle, IDLE, IDLE_HELD), ("silent", Manner::Silent, SILENT, SILENT_HELD)];
    let mut tasks: Vec<Task> = Vec::new();
    for (n, place) in places(stage, 1).enumerate() {
        for (kind, manner, count, counted) in &kinds {
            let keys = peers_below(&format!("{} {kind} {n}", stage.seed), &first, *count)?;
            let held = hold(place.clone(), stage.tiny, keys, manner.clone(), tally.clone(), counted);
            tasks.push(Box::pin(held));
        }
    }
    Ok(tasks)
}

/// Keeps a peer of each key connected, and counts those that are: who was put out comes again.
async fn hold(place: Place, base: BaseId, keys: Vec<Keypair>, manner: Manner, tally: Tally, counted: &'static str) {
    let mut held: Vec<Option<Peer>> = keys.iter().map(|_| None).collect();
    loop {
        for (peer, key) in held.iter_mut().zip(&keys) {
            if peer.as_ref().is_none_or(Peer::is_gone) {
                *peer = Peer::at(&place, &base, key, manner.clone()).await.ok();
            }
        }
        tally.add(counted, held.iter().flatten().filter(|peer| !peer.is_gone()).count() as u64);
        sleep(HELD).await;
    }
}
