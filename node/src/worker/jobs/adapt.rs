//! Adapters as objects: normalising, writing.

use std::path::Path;

use potluck_trainer::base::Base;
use potluck_trainer::files::StagedFolder;
use potluck_trainer::lora::adapter::Adapter;
use potluck_trainer::peft;

use super::open;
use crate::failure::Outcome;
use crate::out_folder;
use crate::worker::answers::Normalised;
use crate::worker::failures;
use crate::worker::proto::BaseSource;

/// Checks a PEFT folder against its base and writes it in the portable profile.
pub fn normalise(base: &BaseSource, folder: &Path, out: &Path) -> Outcome<Normalised> {
    let base = open::base(base)?;
    let adapter = peft::read(folder, base.architecture()).map_err(|error| failures::peft(folder, &error))?;
    write(out, &adapter, &base, &[])?;
    Ok(Normalised { r: adapter.config.r as u32, target_modules: adapter.config.target_modules.names() })
}

/// A PEFT folder in the portable profile, with notes beside it; it appears whole or not at all.
pub fn write(out: &Path, adapter: &Adapter, base: &Base, notes: &[(&str, Vec<u8>)]) -> Outcome<()> {
    let failed = |error: std::io::Error| out_folder::unwritable(out, &error);
    let files = peft::encode(adapter, base.architecture()).map_err(failed)?;
    let folder = StagedFolder::create(out).map_err(failed)?;
    folder.write(peft::CONFIG_FILE, &files.config).map_err(failed)?;
    folder.write(peft::MODEL_FILE, &files.model).map_err(failed)?;
    for (name, bytes) in notes {
        folder.write(name, bytes).map_err(failed)?;
    }
    folder.commit().map_err(failed)
}
