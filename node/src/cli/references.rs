//! How references are written: a path, an id, a name, a hub id; with a weight.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;

use super::global::Global;
use super::progress::Reporter;
use crate::api::proto::WeightedRef;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::hub::{self, Event, Fresh, HubId, Talk};
use crate::ipc::{Progress, Unit};
use crate::{signals, task};

/// A fetch that is to end does so at its next step, unless it waits for a server.
const ENDING: Duration = Duration::from_millis(500);

/// A text that names no file here and is written as the hub's ids are. A GGUF file that is not there is a typing mistake.
pub fn hub_id(text: &str) -> Option<HubId> {
    if Path::new(text).exists() || text.ends_with(".gguf") { None } else { text.parse().ok() }
}

/// The folder of a base of the hub; what is missing is fetched, here and not in the daemon: the environment and the
/// terminal are this command's. A signal ends it.
pub fn from_hub(global: &Global, id: &HubId, fresh: Fresh) -> Outcome<PathBuf> {
    let mut shown = Reporter::new(global);
    shown.report(Progress::Phase { text: format!("base {id}, from the hub or its cache") });
    let (id, settings, stop) = (id.clone(), config::hub()?, signals::requests().to_end);
    let (asked, what, bars) = (stop.clone(), id.to_string(), settings.bars);
    let fetch = task::blocking(move || {
        let tell = move |event| match event {
            Event::Bytes { done, total } if bars => {
                shown.report(Progress::Count { what: what.clone(), done, total, unit: Unit::Bytes });
            }
            Event::Bytes { .. } => {}
            Event::Note(text) => shown.report(Progress::Phase { text }),
        };
        hub::fetch(&id, &settings, fresh, &Talk::new(tell, stop))
    });
    let ended = async {
        let mut fetch = std::pin::pin!(fetch);
        tokio::select! {
            done = &mut fetch => Some(done),
            // It may wait for a server that says nothing; what has come is kept whenever it ends.
            () = asked.cancelled() => tokio::time::timeout(ENDING, fetch).await.ok(),
        }
    };
    match tokio::task::block_in_place(|| Handle::current().block_on(ended)) {
        Some(Ok(fetched)) => Ok(fetched?),
        Some(Err(error)) => Err(Failure::new(Kind::Failed, format!("fetching from the hub failed: {error}"))),
        None => Err(hub::HubError::Interrupted.into()),
    }
}

/// A base that a person named, as the service takes it: a path is made absolute, a hub id becomes the folder of its files.
pub fn base(global: &Global, text: &str) -> Outcome<String> {
    match hub_id(text) {
        Some(id) => absolute(&from_hub(global, &id, Fresh::Cached)?.to_string_lossy()),
        None => absolute(text),
    }
}

/// A reference that is a path is made absolute, so that the daemon finds it; every other one stays as it is.
pub fn absolute(reference: &str) -> Outcome<String> {
    let path = Path::new(reference);
    if !path.exists() && !reference.contains(std::path::MAIN_SEPARATOR) {
        return Ok(reference.to_owned());
    }
    let absolute = config::absolute(path)?;
    Ok(absolute.to_string_lossy().into_owned())
}

/// `REF@WEIGHT` or `REF`, which weighs 1. What is a path as it stands is one: a folder's name may hold an `@`.
pub fn weighted(texts: &[String]) -> Outcome<Vec<WeightedRef>> {
    texts.iter().map(|text| weighted_one(text)).collect()
}

pub fn weighted_one(text: &str) -> Outcome<WeightedRef> {
    let (reference, weight) = match text.rsplit_once('@') {
        Some((reference, weight)) if !Path::new(text).exists() => {
            let weight: f64 = weight.parse().ok().filter(|weight: &f64| weight.is_finite()).ok_or_else(|| {
                Failure::new(Kind::Usage, format!("`{weight}` in `{text}` is not a weight"))
                    .hint("e.g. `sql-helper@0.5`")
            })?;
            (reference, weight)
        }
        _ => (text, 1.0),
    };
    Ok(WeightedRef { reference: absolute(reference)?, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_hub_id() {
        let name = |text: &str| hub_id(text).map(|id| id.to_string());
        assert_eq!(name("owner/name@v1").as_deref(), Some("owner/name@v1"));
        // `src/lib.rs` is there; the others are paths, ids and names.
        for text in ["src/lib.rs", "models/x.gguf", "./a/b", "/a/b", "../a", "tiny", &"ab".repeat(32)] {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn a_weight_follows_the_last_at_sign() {
        let parse = |text: &str| weighted_one(text).map(|r| (r.reference, r.weight));
        assert_eq!(parse("sql"), Ok(("sql".into(), 1.0)));
        assert_eq!(parse("sql@0.5"), Ok(("sql".into(), 0.5)));
        assert_eq!(parse("sql@-2"), Ok(("sql".into(), -2.0)));
        let folder = tempfile::tempdir().expect("a folder");
        let mine = folder.path().join("my@0.5");
        std::fs::create_dir(&mine).expect("new");
        let mine = mine.to_str().expect("UTF-8").to_owned();
        assert_eq!(parse(&mine), Ok((mine.clone(), 1.0)), "what exists is meant");
        assert_eq!(parse(&format!("{mine}@0.25")), Ok((mine, 0.25)));
        for wrong in ["sql@", "sql@x", "sql@nan", "sql@inf"] {
            assert_eq!(parse(wrong).map_err(|failure| failure.kind), Err(Kind::Usage), "{wrong}");
        }
    }
}
