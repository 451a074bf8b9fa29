//! Which modules `adapter_config.json` gives a pair, against those that the file has one for. PEFT builds the pairs from the
//! settings and loads the file into them: what the settings do not aim at is left out there, and is refused here. What the
//! file lacks stays as it was drawn: with B zero, which adds nothing, as here; with `init_lora_weights: false` B is drawn
//! too, so that PEFT adds noise, and that is refused. So an adapter is the same to every reader.

use std::collections::BTreeSet;

use potluck_protocol::base::{Architecture, LINEARS};
use potluck_protocol::limits::JSON_MAX;
use serde_json::{Map, Value};

use super::PeftError;
use crate::base::json::{self as strict, describe};
use crate::lora::config::Targets;

/// The names under which a Llama keeps its layers.
const LAYERS: [&str; 2] = ["layers", "model.layers"];

/// What the settings aim at.
#[derive(Debug)]
pub struct Aim {
    targets: Targets,
    excluded: Targets,
    /// Only these layers; `None` for all.
    layers: Option<Vec<u64>>,
    /// What the file lacks is noise.
    draws_b: bool,
}

impl Aim {
    /// `None` where the settings name no targets: then PEFT has a list of its own, and the file says more.
    pub fn parse(config: &[u8]) -> Result<Option<Self>, PeftError> {
        let value = strict::parse(config, JSON_MAX)?;
        let fields = value.as_object().ok_or(PeftError::NotAnObject)?;
        let Some(found) = given(fields, "target_modules") else { return Ok(None) };
        let targets = targets("target_modules", found)?;
        let excluded = given(fields, "exclude_modules").map(read_excluded).transpose()?;
        check_pattern(fields)?;
        let layers = given(fields, "layers_to_transform").map(layers).transpose()?.filter(|layers| !layers.is_empty());
        let excluded = excluded.unwrap_or(Targets::Names(Vec::new()));
        let draws_b = fields.get("init_lora_weights") == Some(&Value::Bool(false));
        Ok(Some(Self { targets, excluded, layers, draws_b }))
    }

    /// That the file's modules are among those that are aimed at, and are all of them where others would not be zero. A pattern that Rust's `regex` does not take aims at what the
    /// file has.
    pub fn check<'a>(
        &self,
        modules: impl Iterator<Item = &'a str>,
        architecture: &Architecture,
    ) -> Result<(), PeftError> {
        let (Ok(targets), Ok(excluded)) = (self.targets.matcher(), self.excluded.matcher()) else { return Ok(()) };
        let found: BTreeSet<&str> = modules.collect();
        for layer in 0..architecture.num_hidden_layers {
            for linear in LINEARS {
                let module = format!("model.layers.{layer}.{linear}");
                let here = self.layers.as_ref().is_none_or(|layers| layers.contains(&u64::from(layer)));
                let aimed = (here || self.names(&module)) && targets.selects(&module) && !excluded.selects(&module);
                match (aimed, found.contains(module.as_str())) {
                    (true, false) if self.draws_b => return Err(PeftError::Untrained { module }),
                    (false, true) => return Err(PeftError::NotTargeted { module }),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// A whole path among the targets is one whatever its layer.
    fn names(&self, module: &str) -> bool {
        matches!(&self.targets, Targets::Names(names) if names.iter().any(|name| name == module))
    }
}

/// A field that is there and says something.
fn given<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|found| !found.is_null())
}

fn wrong(field: &str, found: &Value, wanted: &'static str) -> PeftError {
    PeftError::Field { field: field.to_owned(), found: describe(found), wanted }
}

fn targets(field: &str, found: &Value) -> Result<Targets, PeftError> {
    serde_json::from_value(found.clone()).map_err(|_| wrong(field, found, "a text or a list of names"))
}

/// `all-linear` is a word for targets alone.
fn read_excluded(found: &Value) -> Result<Targets, PeftError> {
    match found {
        Value::String(pattern) => Ok(Targets::Pattern(pattern.clone())),
        list => targets("exclude_modules", list),
    }
}

fn layers(found: &Value) -> Result<Vec<u64>, PeftError> {
    let one = || found.as_u64().map(|layer| vec![layer]);
    let list = found.as_array().and_then(|layers| layers.iter().map(Value::as_u64).collect());
    list.or_else(one).ok_or_else(|| wrong("layers_to_transform", found, "a layer or a list of layers"))
}

/// `layers_pattern` says what the layers are called.
fn check_pattern(fields: &Map<String, Value>) -> Result<(), PeftError> {
    let Some(found) = given(fields, "layers_pattern") else { return Ok(()) };
    let names = found.as_array().map_or(std::slice::from_ref(found), Vec::as_slice);
    let is_layers = |name: &Value| name.as_str().is_some_and(|name| name.is_empty() || LAYERS.contains(&name));
    // An empty list says nothing; of several names one that fits is enough.
    if names.is_empty() || names.iter().any(is_layers) {
        Ok(())
    } else {
        Err(wrong("layers_pattern", found, "`layers`, as a Llama calls them,"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::small::architecture;

    const QUERY: [&str; 2] = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"];
    const UP: [&str; 2] = ["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"];

    fn check(config: &Value, modules: &[&str]) -> Result<(), PeftError> {
        let aim = Aim::parse(config.to_string().as_bytes())?;
        aim.map_or(Ok(()), |aim| aim.check(modules.iter().copied(), &architecture()))
    }

    #[test]
    fn the_files_modules_are_those_that_the_settings_aim_at() {
        let both = [QUERY, UP].concat();
        for (config, modules) in [
            (json!({}), &both[..]),
            (json!({"target_modules": null}), &UP[..]),
            (json!({"target_modules": ["q_proj", "up_proj"]}), &both),
            (json!({"target_modules": ["q_proj", "embed_tokens"]}), &QUERY),
            (json!({"target_modules": QUERY}), &QUERY),
            (json!({"target_modules": ".*\\.(q|up)_proj"}), &both),
            (json!({"target_modules": "(?=look)ahead"}), &both),
            (json!({"target_modules": ["q_proj", "up_proj"], "exclude_modules": ["mlp.up_proj"]}), &QUERY),
            (json!({"target_modules": ["q_proj", "up_proj"], "exclude_modules": ".*mlp.*"}), &QUERY),
            (json!({"target_modules": ["q_proj"], "layers_to_transform": [1]}), &QUERY[1..]),
            (json!({"target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": "layers"}), &QUERY[..1]),
            (json!({"target_modules": ["q_proj"], "layers_to_transform": [], "layers_pattern": []}), &QUERY),
            (json!({"target_modules": [QUERY[0]], "layers_to_transform": [1]}), &QUERY[..1]),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": "model.layers"}),
                &QUERY[..1],
            ),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": ["h", "layers"]}),
                &QUERY[..1],
            ),
            // What the file lacks has B = 0.
            (json!({"target_modules": ["q_proj", "up_proj"]}), &QUERY),
            (json!({"target_modules": "all-linear", "init_lora_weights": true}), &both),
            (json!({"target_modules": ["q_proj", "up_proj"], "init_lora_weights": "gaussian"}), &UP[..1]),
        ] {
            assert!(check(&config, modules).is_ok(), "{config}: {:?}", check(&config, modules));
        }
    }

    #[test]
    fn an_adapter_that_says_otherwise_than_its_file_is_refused() {
        let both = [QUERY, UP].concat();
        for (config, modules, said) in [
            (json!({"target_modules": ["q_proj"]}), &both[..], "model.layers.0.mlp.up_proj"),
            (
                json!({"target_modules": ["q_proj", "up_proj"], "init_lora_weights": false}),
                &QUERY[..],
                "has no factors",
            ),
            (json!({"target_modules": "all-linear", "init_lora_weights": false}), &both, "has no factors"),
            (json!({"target_modules": ["q_proj"], "layers_to_transform": [1]}), &QUERY, "leave out"),
            (json!({"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]}), &QUERY, "leave out"),
            (json!({"target_modules": 1}), &QUERY, "`target_modules`"),
            (json!({"target_modules": ["q_proj"], "layers_pattern": "h"}), &QUERY, "`layers_pattern`"),
            (json!({"target_modules": ["q_proj"], "layers_pattern": ["h", "blocks"]}), &QUERY, "`layers_pattern`"),
            (json!({"target_modules": ["q_proj"], "layers_to_transform": ["a"]}), &QUERY, "`layers_to_transform`"),
        ] {
            let error = check(&config, modules).unwrap_err().to_string();
            assert!(error.contains(said), "{config}: {error}");
        }
    }
}
