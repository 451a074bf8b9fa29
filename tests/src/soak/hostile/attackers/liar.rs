//! What does not exist, and what is larger than it says.

use super::staying::Staying;
use super::*;

pub(super) const PROOFS: usize = 96;
/// Against each channel whose steward lies.
pub(super) const PROOFS_OF_OTHERS: usize = 16;
pub(super) const PROPOSALS: usize = 256;
pub(super) const BASES: usize = 4;
pub(super) const BOMB_MIB: u64 = 1000;
/// New ones by new keys take the place of all these lies so often.
pub(super) const RENEWED: Duration = Duration::from_secs(60);

/// F1, F3, F5 and F6: proposals, proofs and bases that do not exist, and a bomb.
pub(super) fn tasks(stage: &Stage, tally: &Tally) -> Outcome<(Vec<Task>, ManifestId)> {
    let shelf = Shelf::default();
    let own = key(&format!("{} liar", stage.seed))?;
    let bomb = bomb::offer(&shelf, &stage.like, &own, BOMB_MIB)?;
    lie(stage, &shelf, &own, bomb.id, 0)?;
    let mut tasks: Vec<Task> = Vec::new();
    for place in places(stage, 3) {
        let staying = Staying {
            place,
            bases: vec![stage.tiny, stage.base],
            key: own.clone(),
            shelf: shelf.clone(),
            tally: tally.clone(),
            counted: LIES_COMPARED,
        };
        tasks.push(Box::pin(staying.go_on()));
    }
    tasks.push(Box::pin(lie_again(stage.clone(), shelf, own, bomb.id)));
    Ok((tasks, bomb.id))
}

async fn lie_again(stage: Stage, shelf: Shelf, own: Keypair, bomb: ManifestId) {
    for round in 1.. {
        sleep(RENEWED).await;
        shelf.forget(&stage.tiny);
        shelf.forget(&stage.base);
        if lie(&stage, &shelf, &own, bomb, round).is_err() {
            return;
        }
    }
}

/// Everything that a round has, by keys that nobody has seen; the bomb is proposed by its publisher.
fn lie(stage: &Stage, shelf: &Shelf, own: &Keypair, bomb: ManifestId, round: u64) -> Outcome<()> {
    let seed = format!("{} round {round}", stage.seed);
    shelf.offer(own, &bomb::proposal(own, stage.tiny, stage.channel, bomb)?, 2 + round)?;
    phantom_proposals::offer(shelf, &seed, stage.tiny, stage.channel, PROPOSALS)?;
    junk_proofs::offer(shelf, &seed, stage.tiny, stage.channel, PROOFS)?;
    for other in &stage.others {
        junk_proofs::offer(shelf, &format!("{seed} {}", other.short()), stage.tiny, *other, PROOFS_OF_OTHERS)?;
    }
    phantom_base::offer(shelf, &seed, stage.base, BASES)?;
    Ok(())
}
