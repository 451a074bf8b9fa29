//! A base from the swarm, because a person asked for it by its id: found by what is announced of it, fetched, held against
//! its id, and known here from then on.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use potluck_protocol::id::BaseId;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::text::Name;
use potluck_protocol::verify::Complete;
use tokio::time::Instant;

use crate::api::answers::{Base, PulledFrom};
use crate::api::proto::BaseFetch;
use crate::app::bases::check::{Staged, base_info, publishers_fault};
use crate::app::bases::hunt::Hunt;
use crate::app::bases::{Bases, describe, files};
use crate::app::call::Call;
use crate::app::errors::BaseError;
use crate::app::known_bases::{stamps, unchanged};
use crate::app::objects::providers;
use crate::app::shapes::noted;
use crate::failure::{Failure, Kind, Outcome};
use crate::seconds::Seconds;
use crate::store::BaseRecord;
use crate::worker::answers::Identified;
use crate::{naming, out_folder};

/// Wrong publications of one base that are tried.
const WRONG_MAX: usize = 64;

/// Of these, so many that are large and came: each of them may cost as much as the base.
const LARGE_WRONG_MAX: usize = 4;

/// A publication of more bytes is large.
const LARGE: u64 = 64 << 20;

/// How long a publication may go on without a shard while others of the base are known.
const STALLED: Duration = Duration::from_secs(15);

/// The publications that were wrong. One that nobody hands out the manifest of is none.
#[derive(Default)]
struct Tried {
    wrong: usize,
    large: usize,
}

impl Tried {
    fn note(&mut self, bytes: u64, error: &BaseError) {
        let came = !error.is_no_room() && !error.is_missing();
        self.wrong += 1;
        self.large += usize::from(bytes > LARGE && came);
    }

    fn leaves_room(&self) -> bool {
        self.wrong < WRONG_MAX && self.large < LARGE_WRONG_MAX
    }
}

/// A base that was fetched.
pub struct Fetched {
    pub record: BaseRecord,
    pub identified: Identified,
    pub bytes: u64,
    pub from: Vec<PulledFrom>,
}

impl Bases {
    /// Answers `potluck base add ID`.
    pub async fn fetch(&self, call: &Call<'_>, fetch: BaseFetch) -> Outcome<Base> {
        let name = fetch.name.as_deref().map(naming::own).transpose()?;
        let id = match self.names.known_base(&fetch.base)?.and_then(|known| known.id) {
            Some(id) => id,
            None => self.names.heard_base(&fetch.base).await?.ok_or_else(|| unheard(&fetch.base))?,
        };
        if let Some(known) = self.known.by_id(&id) {
            call.phase(format!("base {} is here already, as `{}`", id.short(), known.name)).await;
            return self.describe_known(call, &known).await;
        }
        let fetched = self.fetch_by_id(call, id, name, fetch.timeout_seconds).await?;
        let base = describe(fetched.record.name.as_str(), &fetched.record.path, fetched.identified);
        Ok(Base { fetched_bytes: Some(fetched.bytes), fetched_from: Some(fetched.from), ..base })
    }

    /// Tries the publications of the base whose manifests somebody hands out, until one gives its id.
    pub async fn fetch_by_id(
        &self,
        call: &Call<'_>,
        id: BaseId,
        name: Option<Name>,
        seconds: Seconds,
    ) -> Result<Fetched, BaseError> {
        let network = self.network.as_ref().ok_or(BaseError::OffNetwork(id))?;
        network.handle.subscribe(id).await?;
        call.phase(format!("looking for base {}", id.short())).await;
        let patience = seconds.duration();
        let until = Instant::now() + patience;
        let mut hunt = Hunt::new(call, network, id, &self.publishers);
        let (mut tried, mut failed) = (Tried::default(), None);
        // Those that sent no shard for a while when others were known, and no more: they may only be slow.
        let mut slow = VecDeque::new();
        while tried.leaves_room() {
            // Once one publication was wrong, the others that are known are tried and no more are waited for.
            let until = if failed.is_some() { Instant::now() + patience } else { until };
            let (publisher, manifest, stalled) = match hunt.next(until, failed.is_none()).await? {
                Some((publisher, manifest)) if hunt.has_more() => (publisher, manifest, patience.min(STALLED)),
                Some((publisher, manifest)) => (publisher, manifest, patience),
                None => match slow.pop_front() {
                    Some((publisher, manifest)) => (publisher, manifest, patience),
                    None => break,
                },
            };
            let bytes = manifest.body().total_bytes();
            match self.fetch_publication(call, manifest.clone(), Some(id), name.clone(), stalled).await {
                Err(error) if error.is_theirs() || error.is_no_room() => {
                    call.phase(format!("{error}; looking for another")).await;
                    self.publishers.missed(publisher);
                    tried.note(bytes, &error);
                    if error.is_missing() && stalled < patience {
                        slow.push_back((publisher, manifest));
                    }
                    failed.get_or_insert(error);
                }
                Ok(fetched) => {
                    self.publishers.found(&publisher);
                    return Ok(fetched);
                }
                Err(error) => return Err(error),
            }
        }
        let nobody = nobody(id, hunt.announced(), seconds);
        Err(failed.unwrap_or_else(|| hunt.unreadable().unwrap_or(nobody).into()))
    }

    /// The base of one manifest. `asked` is the base that it must be.
    pub async fn fetch_publication(
        &self,
        call: &Call<'_>,
        manifest: Authentic<Manifest>,
        asked: Option<BaseId>,
        name: Option<Name>,
        patience: Duration,
    ) -> Result<Fetched, BaseError> {
        let id = manifest.id();
        let info = base_info(manifest.body())?;
        if let Some(asked) = asked.filter(|asked| *asked != info.base) {
            let reason = format!("it is announced for base {}, and is of base {}", asked.short(), info.base.short());
            return Err(publishers_fault(manifest.body(), (String::new(), reason)));
        }
        files::check(manifest.body()).map_err(|wrong| publishers_fault(manifest.body(), wrong))?;
        let whole = self.disk.complete(id).await;
        let (bytes, from, complete) = match whole {
            Ok(complete) => {
                self.disk.check_room(manifest.body().total_bytes(), "the files of the base").await?;
                (0, Vec::new(), complete)
            }
            Err(_) => {
                let pulled = self.objects.fetch(call, manifest, patience).await?;
                (pulled.fetched_bytes, providers(&pulled), pulled.complete)
            }
        };
        let (record, identified) = self.install(call, complete, name).await?;
        Ok(Fetched { record, identified, bytes, from })
    }

    /// Judges a base that is here as shards, and makes it known.
    async fn install(
        &self,
        call: &Call<'_>,
        complete: Complete,
        name: Option<Name>,
    ) -> Result<(BaseRecord, Identified), BaseError> {
        let (well_formed, staged) = self.inspect(call, complete).await?;
        let (id, manifest) = (staged.identified.base, well_formed.manifest().clone());
        self.disk
            .on_store(move |store| {
                store.commit_well_formed(&well_formed)?;
                store.pin(well_formed.manifest().id())
            })
            .await?;
        let name = || name.unwrap_or_else(|| self.free_name(&manifest.body().name, id));
        let identified = staged.identified.clone();
        let record = self.settle(staged, name).await?;
        if let Some(network) = &self.network {
            network.handle.subscribe(id).await?;
        }
        Ok((record, identified))
    }

    /// Puts a base in its place in the home, and notes it under a name. Two commands that want the same base at once: the
    /// second finds it in its place.
    pub async fn settle(&self, staged: Staged, name: impl FnOnce() -> Name) -> Outcome<BaseRecord> {
        let _alone = self.settling.lock().await;
        let id = staged.identified.base;
        if let Some(record) = self.disk.store.base(&id).filter(unchanged) {
            return Ok(record);
        }
        let (target, name) = (self.disk.home.layout().bases().join(id.to_string()), name());
        self.disk.on_store(move |store| settle(staged, &target, name, store)).await
    }
}

/// Moves the files to their place and notes the base.
fn settle(staged: Staged, target: &Path, name: Name, store: &crate::store::Store) -> Outcome<BaseRecord> {
    let from = staged.folder.path().join("base");
    let moving = |error| Failure::io(format!("move the base to {}", target.display()), &error);
    // It may lie there already, whole: a process was killed before it noted the base. Else somebody has changed it.
    if out_folder::same(&from, target).unwrap_or(false) {
        potluck_trainer::files::sync_parent(target).map_err(moving)?;
    } else {
        out_folder::make_room(target)?;
        potluck_trainer::files::rename(&from, target).map_err(moving)?;
    }
    let place = target.join(&staged.inner);
    let file = |path: &String| target.join(Path::new(path).strip_prefix(&from).unwrap_or(Path::new(path)));
    let files: Vec<_> = staged.identified.files.iter().map(file).collect();
    // Joining an empty path leaves a separator at the end.
    let place = if staged.inner.as_os_str().is_empty() { target.to_path_buf() } else { place };
    let path = place.to_str().ok_or_else(|| Failure::new(Kind::Usage, "the home's path is not UTF-8"))?.to_owned();
    let files = stamps(&place, &files)?;
    let record = BaseRecord { id: staged.identified.base, name, path, files, view_of: None };
    store.set_shapes(noted(&staged.identified))?;
    store.add_base(record.clone())?;
    Ok(record)
}

fn unheard(reference: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("no known base has an id that starts with {reference}"))
        .hint("give the full id (64 hex digits), or list known bases with `potluck search --kind base`")
}

fn nobody(id: BaseId, announced: usize, seconds: Seconds) -> Failure {
    let what = match announced {
        0 => format!("nobody announced the files of base {} within {seconds} s", id.short()),
        1 => format!("base {} is announced, and nobody handed out its manifest within {seconds} s", id.short()),
        count => format!(
            "{count} publications of base {} are announced, and nobody handed out the manifest of any within {seconds} s",
            id.short()
        ),
    };
    Failure::new(Kind::NotFound, what).hint(
        "see who is connected with `potluck peers`; if it is a manifest's id, use `potluck pull ID`; or add the base from a folder, a .gguf file or the hub: `potluck base add PATH | OWNER/NAME`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_lies_cost_less_than_large_ones() {
        let wrong = || BaseError::NotABase("x".to_owned());
        let mut tried = Tried::default();
        (0..WRONG_MAX - 1).for_each(|_| tried.note(LARGE, &wrong()));
        assert!(tried.leaves_room());
        (0..LARGE_WRONG_MAX).for_each(|_| tried.note(LARGE + 1, &wrong()));
        assert!(!tried.leaves_room());
        let mut tried = Tried::default();
        (0..WRONG_MAX).for_each(|_| tried.note(0, &wrong()));
        assert!(!tried.leaves_room());
    }
}
