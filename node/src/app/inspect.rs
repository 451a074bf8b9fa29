//! Whether the files of a manifest mean what it says.
//!
//! Strangers' adapters are looked at here, in the daemon, and not in a worker: a pull may bring thousands of them, and a
//! process for each would cost more than the look. It opens no model and maps no file; it reads bytes that it holds, in
//! safe code. A file is at most `ADAPTER_BYTES_MAX` bytes, its header `SAFETENSORS_HEADER_MAX` with `TENSORS_MAX` tensors,
//! a rank `RANK_MAX`; the values of one module at a time are decoded, to find those that are not finite.

use potluck_protocol::base::Architecture;
use potluck_protocol::manifest::{AdapterInfo, Kind as ManifestKind, Manifest};
use potluck_protocol::verify::Complete;
use potluck_trainer::peft::{CONFIG_FILE, MODEL_FILE};

use crate::store::{Store, StoreError};

/// The path of the file that is wrong, and why.
type Wrong = (String, String);

/// Whether a manifest is one of those that make up channels.
pub fn is_record(kind: &ManifestKind) -> bool {
    match kind {
        ManifestKind::Channel(_) | ManifestKind::Proposal(_) | ManifestKind::Version(_) | ManifestKind::Proof(_) => {
            true
        }
        ManifestKind::Adapter(_) | ManifestKind::Base(_) | ManifestKind::Dataset(_) => false,
    }
}

/// What can be said of an adapter whose base is not here: digest and cut of its files, and whether the two fit each
/// other. Nothing is noted of it.
pub fn check_apart(store: &Store, complete: &Complete) -> Result<(), StoreError> {
    let read = |file: &_, table: &_| store.read_file(file, table);
    let checked = complete.inspect_apart(read, |manifest, files| {
        let (adapter, config, model) = two_files(manifest, files)?;
        let rank = potluck_trainer::peft::check_apart(config, model)
            .map_err(|error| (MODEL_FILE.to_owned(), error.to_string()))?;
        if rank == adapter.r as usize { Ok(()) } else { Err(other_settings()) }
    })?;
    Ok(checked?)
}

/// An adapter holds exactly its two files.
fn two_files<'a>(manifest: &'a Manifest, files: &'a [Vec<u8>]) -> Result<(&'a AdapterInfo, &'a [u8], &'a [u8]), Wrong> {
    let ManifestKind::Adapter(adapter) = &manifest.kind else {
        return Err((String::new(), "no adapter".to_owned()));
    };
    let paths: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let ([CONFIG_FILE, MODEL_FILE], [config, model]) = (&paths[..], files) else {
        return Err((paths.join(", "), format!("an adapter is {CONFIG_FILE} and {MODEL_FILE}, and nothing else")));
    };
    Ok((adapter, config, model))
}

fn other_settings() -> Wrong {
    (CONFIG_FILE.to_owned(), "rank or target modules are not those of the manifest".to_owned())
}

/// They are what the manifest says of them.
pub fn check(manifest: &Manifest, files: &[Vec<u8>], architecture: &Architecture) -> Result<(), Wrong> {
    let (adapter, config, model) = two_files(manifest, files)?;
    let config = potluck_trainer::peft::inspect(config, model, architecture)
        .map_err(|error| (MODEL_FILE.to_owned(), error.to_string()))?;
    if config.r as u32 != adapter.r || config.target_modules.names() != adapter.target_modules {
        return Err(other_settings());
    }
    Ok(())
}
