//! A base that came from the swarm, judged: its files are written to a temporary folder, read whole by the worker, and
//! are what their manifest says or are thrown away.

use std::path::PathBuf;

use potluck_protocol::manifest::{BaseInfo, Kind as ManifestKind, Manifest};
use potluck_protocol::verify::{Complete, VerifyError, WellFormed};
use tempfile::TempDir;

use crate::app::bases::{Bases, files};
use crate::app::call::Call;
use crate::app::errors::{BaseError, WorkerError};
use crate::failure::Failure;
use crate::home::temporary;
use crate::worker::answers::Identified;
use crate::worker::proto::BaseSource;

/// The files of a base whose weights give the id that its manifest states. Removed with this value.
pub struct Staged {
    /// Holds the folder until it is moved.
    pub folder: TempDir,
    /// The file to open, relative to the folder; empty if it is the folder itself.
    pub inner: PathBuf,
    pub identified: Identified,
}

impl Bases {
    /// Weights, tokenizer and shapes give what the manifest says, the values are finite, and nothing else is in it. The
    /// base is never held: files are read in pieces here and mapped by the worker. // I6, I8
    pub async fn inspect(&self, call: &Call<'_>, complete: Complete) -> Result<(WellFormed, Staged), BaseError> {
        let manifest = complete.manifest().body().clone();
        let info = base_info(&manifest)?.clone();
        let inner = files::check(&manifest).map_err(|wrong| publishers_fault(&manifest, wrong))?;
        let inner = PathBuf::from(inner.unwrap_or_default());
        let folder = temporary::folder(&self.disk.home.layout().tmp(), temporary::Purpose::Base);
        let folder = folder.map_err(|error| Failure::io("make a folder to look at the base in", &error))?;
        call.phase(format!("writing out {} and reading it whole", manifest.name)).await;
        let (target, whole) = (folder.path().join("base"), complete.clone());
        let scans = self.disk.try_store(move |store| store.scan(&whole, Some(&target))).await?;
        let place = folder.path().join("base").join(&inner);
        let source = BaseSource::Path(place);
        let opened = self.worker.identify(call, &source).await.map_err(|failure| unreadable(&manifest, failure))?;
        let verdict = |manifest: &Manifest| {
            if opened.base != info.base {
                let (is, says) = (opened.base, info.base);
                return Err((String::new(), format!("its files are base {is}, it says that they are base {says}")));
            }
            let fits = opened.shapes == info.architecture;
            let path = manifest.files[0].path.to_string();
            if fits {
                Ok(())
            } else {
                Err((path, "the architecture is not the one that the manifest states".to_owned()))
            }
        };
        let checked = complete.inspect_scanned(&scans, verdict).map_err(|error| wrong(&manifest, error))?;
        Ok((checked, Staged { folder, inner, identified: opened }))
    }
}

/// What a manifest says of the base that it is of.
pub fn base_info(manifest: &Manifest) -> Result<&BaseInfo, BaseError> {
    match &manifest.kind {
        ManifestKind::Base(info) => Ok(info),
        ManifestKind::Adapter(_)
        | ManifestKind::Dataset(_)
        | ManifestKind::Channel(_)
        | ManifestKind::Proposal(_)
        | ManifestKind::Version(_)
        | ManifestKind::Proof(_) => Err(BaseError::NotABase(manifest.name.to_string())),
    }
}

/// Signed by the publisher: nobody else can have it right.
pub fn publishers_fault(manifest: &Manifest, (path, reason): files::Wrong) -> BaseError {
    wrong(manifest, VerifyError::Content { path, reason })
}

fn wrong(manifest: &Manifest, error: VerifyError) -> BaseError {
    let reason = match &error {
        VerifyError::Content { path, reason } if path.is_empty() => reason.clone(),
        other => other.to_string(),
    };
    not_used(manifest, reason)
}

/// The files cannot be opened as a base. What is our own trouble stays what it is.
fn unreadable(manifest: &Manifest, failure: Failure) -> BaseError {
    match WorkerError::from(failure) {
        WorkerError::Wrong(failure) => not_used(manifest, failure.message),
        WorkerError::Unable(failure) => BaseError::Unusable(Box::new(failure)),
        WorkerError::Ours(failure) => failure.into(),
    }
}

fn not_used(manifest: &Manifest, reason: String) -> BaseError {
    BaseError::Wrong { publisher: manifest.publisher.0.short(), name: manifest.name.to_string(), reason }
}
