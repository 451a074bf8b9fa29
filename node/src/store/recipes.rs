//! Recipes as files named by their id: their canonical bytes, nothing else.

use potluck_protocol::codec::{self, Wire};
use potluck_protocol::id::RecipeId;
use potluck_protocol::recipe::Recipe;

use crate::failpoint::What;
use crate::store::durable::names_in;
use crate::store::error::{Result, StoreError};
use crate::store::{Store, durable, shards};

impl Store {
    /// Stores a recipe durably.
    pub fn put_recipe(&self, recipe: &Recipe) -> Result<RecipeId> {
        let id = recipe.id()?;
        let bytes = codec::encode(recipe)?;
        self.0.space.check(bytes.len() as u64)?;
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
            // Its bytes are those of its name, and what they say is unknown here.
            Err(_) if Recipe::id_of(&bytes) == *id => {
                Err(StoreError::Newer { path, what: "a recipe by a rule that this version does not know" })
            }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use potluck_protocol::id::{BaseId, Digest, ManifestId};
    use potluck_protocol::recipe::Weight;
    use potluck_protocol::tensor::DType;

    use super::*;
    use crate::failpoint;
    use crate::store::testing::Fixture;

    #[test]
    fn a_recipe_is_whole_or_not_there() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let input = (ManifestId(Digest::of(b"adapter")), Weight::ONE);
        let recipe = Recipe::new(BaseId(Digest::of(b"base")), DType::F32, [input]).expect("valid");
        let id = recipe.id().expect("encodes");
        for point in failpoint::ALL.iter().filter(|point| point.what == What::Recipe) {
            let armed = failpoint::scoped(&format!("{point}:enospc")).expect("valid");
            assert!(store.put_recipe(&recipe).expect_err("full").is_no_space());
            drop(armed);
            assert!(store.verify(|_, _| ()).expect("readable").is_clean(), "{point}");
        }
        assert_eq!(store.put_recipe(&recipe).expect("room"), id);
        assert_eq!(store.recipe(&id).expect("readable"), Some(recipe));
        assert_eq!(store.recipes().expect("readable"), [id]);
        let newer = [99, 0, 0, 0, 1, 2, 3];
        let newer_path = store.layout().recipes().join(Recipe::id_of(&newer).to_string());
        fs::write(&newer_path, newer).expect("writable");
        assert!(matches!(store.recipe(&Recipe::id_of(&newer)), Err(StoreError::Newer { .. })));
        assert!(store.verify(|_, _| ()).expect("readable").is_clean() && newer_path.exists());
        fs::remove_file(newer_path).expect("there");
        fs::write(store.layout().recipes().join(id.to_string()), b"rotten").expect("writable");
        assert_eq!(store.recipe(&id).expect("readable"), None);
        assert_eq!(store.recipes().expect("readable"), []);
    }
}
