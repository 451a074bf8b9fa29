//! Whether what is in the cache makes the base, without a word to the hub.

use std::path::PathBuf;

use super::cache::{self, Held, Snapshot};
use super::limits::INDEX_MAX;
use super::select::{HELPFUL, INDEX, NEEDED, SINGLE, TEMPLATES, weights};
use super::{Fresh, HubError, HubId, Settings, Talk};

/// What the cache has of a revision.
#[derive(Debug)]
pub enum Look {
    /// Not all that is needed, or not as it was: why.
    Lacking(String),
    Here(Here),
}

/// A snapshot with all that is needed.
#[derive(Debug)]
pub struct Here {
    /// The snapshot's folder.
    pub folder: PathBuf,
    /// Whether the repository has these files, or this folder, too is not known: another program fetched some only.
    pub unknown: Vec<&'static str>,
}

/// Every file is held against the hash by which the hub named it.
pub fn look(settings: &Settings, id: &HubId, fresh: Fresh, talk: &Talk) -> Result<Look, HubError> {
    let Some(commit) = cache::commit(settings, id) else {
        return Ok(Look::Lacking(format!("nothing of it is in {}", settings.cache.display())));
    };
    let snapshot = Snapshot::at(settings, talk, fresh, id, &commit);
    let lacking = |name: &str| Ok(Look::Lacking(format!("{name} is missing in {}", snapshot.folder().display())));
    let here = |name: &str| snapshot.file(name).is_file();
    let mut names: Vec<String> = NEEDED.map(str::to_owned).to_vec();
    names.extend(HELPFUL.into_iter().filter(|name| here(name)).map(str::to_owned));
    let (templates, noted) = (snapshot.templates()?, snapshot.noted_templates());
    // Whoever fetched one has asked which there are.
    let templates_unknown = noted.is_none() && templates.is_empty();
    names.extend(templates);
    names.extend(noted.unwrap_or_default());
    if here(INDEX) && !here(SINGLE) {
        names.push(INDEX.to_owned());
        match snapshot.read(INDEX, INDEX_MAX).and_then(|index| weights(id, &index)) {
            Ok(weights) => names.extend(weights),
            Err(error) => return Ok(Look::Lacking(error.to_string())),
        }
    } else {
        names.push(SINGLE.to_owned());
    }
    for name in &names {
        // A copy instead of a link has no hash; what a file obviously is not is seen all the same.
        match snapshot.holds_file(name, &snapshot.etag(name).unwrap_or_default(), None)? {
            Held::Right => {}
            Held::Nothing => return lacking(name),
            Held::Wrong(wrong) => return Ok(Look::Lacking(format!("{}: {wrong}", snapshot.file(name).display()))),
        }
    }
    let mut unknown: Vec<_> = HELPFUL.into_iter().filter(|name| !here(name) && !snapshot.lacks(name)).collect();
    unknown.extend(templates_unknown.then_some(TEMPLATES));
    Ok(Look::Here(Here { folder: snapshot.folder().to_path_buf(), unknown }))
}
