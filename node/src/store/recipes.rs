//! Recipes as files named by their id: their canonical bytes, nothing else.

use std::fs;

use potluck_protocol::codec::{self, Wire};
use potluck_protocol::id::RecipeId;
use potluck_protocol::recipe::Recipe;

use crate::failpoint::What;
use crate::store::error::{Result, StoreError};
use crate::store::{Store, durable, shards};

impl Store {
    /// Stores a recipe durably.
    pub fn put_recipe(&self, recipe: &Recipe) -> Result<RecipeId> {
        let id = recipe.id()?;
        let bytes = codec::encode(recipe)?;
        self.check_space(bytes.len() as u64)?;
        let path = self.layout().recipes().join(id.to_string());
        durable::write(&self.layout().tmp(), What::Recipe, &path, &bytes)?;
        Ok(id)
    }

    /// `None` if it is not here, or was damaged.
    pub fn recipe(&self, id: &RecipeId) -> Result<Option<Recipe>> {
        let path = self.layout().recipes().join(id.to_string());
        let Some(bytes) = durable::read(&path, Recipe::MAX as u64)? else { return Ok(None) };
        match codec::decode::<Recipe>(&bytes) {
            Ok(recipe) if recipe.id()? == *id => Ok(Some(recipe)),
            _ => {
                tracing::error!(recipe = %id, "a recipe on disk is damaged: moved to quarantine");
                shards::quarantine(self.layout(), &path).map(|()| None)
            }
        }
    }

    /// All recipes of the store, sorted.
    pub fn recipes(&self) -> Result<Vec<RecipeId>> {
        names_in(&self.layout().recipes())
    }
}

/// The file names of a folder that are ids, sorted; other files are left alone.
pub(crate) fn names_in<T: std::str::FromStr + Ord>(folder: &std::path::Path) -> Result<Vec<T>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(folder).map_err(StoreError::io("list", folder))? {
        let name = entry.map_err(StoreError::io("list", folder))?.file_name();
        ids.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    ids.sort();
    Ok(ids)
}
