//! A manifest's file, read and checked, and what lists show of it.

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::limits::SIGNED_MANIFEST_MAX;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_protocol::text::Name;
use potluck_protocol::verify::{self, VerifyError};
use serde::{Deserialize, Serialize};

use crate::home::Layout;
use crate::store::durable;
use crate::store::error::Result;

/// What lists show of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The hash of the signed bytes.
    pub id: ManifestId,
    /// What it is a manifest of.
    pub kind: KindTag,
    /// What its publisher calls it.
    pub name: Name,
    /// The base that it belongs to, if its kind has one.
    pub base: Option<BaseId>,
    /// Whose key signed it.
    pub publisher: PublicKey,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Seconds since 1970 by the publisher's clock.
    pub created: u64,
}

impl Summary {
    pub(crate) fn of(manifest: &Authentic<Manifest>) -> Self {
        let body = manifest.body();
        Self {
            id: manifest.id(),
            kind: KindTag::from(&body.kind),
            name: body.name.clone(),
            base: body.base(),
            publisher: body.publisher,
            total_bytes: body.total_bytes(),
            created: body.created,
        }
    }
}

/// What lies under a manifest's name.
pub(crate) enum Loaded {
    Good(Box<Authentic<Manifest>>),
    None,
    Damaged(String),
    /// Its bytes are those of its name, and what they say is unknown here.
    Newer,
}

/// Reads the file of a manifest and checks that it is that one.
pub(crate) fn load(layout: &Layout, id: &ManifestId) -> Result<Loaded> {
    let path = layout.manifests().join(id.to_string());
    let Some(bytes) = durable::read(&path, SIGNED_MANIFEST_MAX as u64)? else { return Ok(Loaded::None) };
    Ok(match verify::verify_manifest(*id, &bytes) {
        Ok(manifest) => Loaded::Good(Box::new(manifest)),
        Err(VerifyError::Unreadable { .. }) => Loaded::Newer,
        Err(error) => Loaded::Damaged(error.to_string()),
    })
}
