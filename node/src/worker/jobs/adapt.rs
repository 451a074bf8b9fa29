//! Adapters as objects: normalising, writing.

use std::path::Path;

use potluck_protocol::id::BaseId;
use potluck_trainer::base::Base;
use potluck_trainer::files::StagedFolder;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::peft::{self, Files};

use super::open;
use crate::failure::Outcome;
use crate::out_folder;
use crate::worker::answers::Normalised;
use crate::worker::failures;
use crate::worker::proto::BaseSource;

/// Checks a PEFT folder against its base and writes it as it is published.
pub fn normalise(base: &BaseSource, of: &BaseId, folder: &Path, out: &Path) -> Outcome<Normalised> {
    let base = open::base(base)?;
    let adapter = peft::read(folder, base.architecture()).map_err(|error| failures::peft(folder, &error))?;
    let failed = |error: std::io::Error| out_folder::unwritable(out, &error);
    let files = peft::encode(&adapter, base.architecture()).map_err(failed)?;
    let (r, target_modules) = (adapter.config.r, adapter.config.target_modules.names());
    let config = peft::portable_settings(r, &target_modules, Some(of));
    let staged = StagedFolder::create(out).map_err(failed)?;
    write_files(staged, &Files { config, ..files }, &[]).map_err(failed)?;
    Ok(Normalised { r: r as u32, target_modules })
}

/// A PEFT folder in the portable profile, with notes beside it; it appears whole or not at all, and is made in `work`.
pub fn write(work: &Path, out: &Path, adapter: &Adapter, base: &Base, notes: &[(&str, Vec<u8>)]) -> Outcome<()> {
    let files = peft::encode(adapter, base.architecture());
    let written = files.and_then(|files| write_files(StagedFolder::create_in(work, out)?, &files, notes));
    written.map_err(|error| out_folder::unwritable(out, &error))
}

fn write_files(folder: StagedFolder, files: &Files, notes: &[(&str, Vec<u8>)]) -> std::io::Result<()> {
    folder.write(peft::CONFIG_FILE, &files.config)?;
    folder.write(peft::MODEL_FILE, &files.model)?;
    for (name, bytes) in notes {
        folder.write(name, bytes)?;
    }
    folder.commit()
}
