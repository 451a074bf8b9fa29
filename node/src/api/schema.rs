//! The JSON schema of all requests and answers, made of the types that read and write them. `docs/api/potluck.json` holds
//! it; `docs/api/README.md` says how to read it.
//!
//! One OpenAPI 3.1 document without paths, whose schemas are JSON Schema 2020-12. What OpenAPI has no place for is in the
//! list `x-requests`: which answer belongs to which request.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

use super::answers::{NetworkKey, NetworkShown, Up};
use super::ask::{self, Asked, Schemas};
use super::{channel, proto};
use crate::ipc::Line;

/// The fields of a request that say what is asked.
const TAGS: [&str; 2] = ["do", "what"];
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const ABOUT: &str = "What can be asked of a node, and what it answers. Generated: docs/api/README.md says how.";

/// The whole document. Field names are in alphabetical order within a schema, requests in the order of [`ask::all`].
pub fn document() -> Value {
    let requests = ask::all();
    let mut schemas = components(&requests);
    let listed: Vec<Value> = requests.iter().filter_map(listed).collect();
    for asked in &requests {
        schemas.insert(sealed_name(asked.schema), sealed(asked.schema, &asked.answer));
    }
    for (schema, form) in unasked() {
        schemas.insert(sealed_name(schema), sealed(schema, form));
    }
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": { "title": "potluck", "description": ABOUT, "version": "1" },
        "components": { "schemas": schemas },
        "x-requests": listed,
    })
}

/// What is written without having been asked for over the socket: schema and form.
fn unasked() -> [(&'static str, &'static str); 3] {
    [(Up::SCHEMA, "Up"), (NetworkKey::SCHEMA, "NetworkKey"), (NetworkShown::SCHEMA, "NetworkShown")]
}

/// Every type that a line can hold, by name.
fn collect(requests: &[Asked]) -> Schemas {
    let mut schemas = Schemas::new();
    ask::add::<proto::Request>(&mut schemas);
    ask::add::<Line>(&mut schemas);
    ask::add::<Up>(&mut schemas);
    ask::add::<NetworkKey>(&mut schemas);
    ask::add::<NetworkShown>(&mut schemas);
    requests.iter().for_each(|asked| (asked.add)(&mut schemas));
    schemas
}

fn components(requests: &[Asked]) -> BTreeMap<String, Value> {
    collect(requests).into_iter().map(|(name, schema)| (name, json(schema))).collect()
}

/// A schema that cannot be written is written as one that allows nothing, which no test lets pass.
fn json(schema: impl serde::Serialize) -> Value {
    serde_json::to_value(schema).unwrap_or(Value::Bool(false))
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The name of a component holds no slash: `potluck.status/2` is `potluck.status.2`.
fn sealed_name(schema: &str) -> String {
    schema.replace('/', ".")
}

/// An answer as it is written: the fields of its form, behind its schema.
fn sealed(schema: &str, form: &str) -> Value {
    let name = json!({ "type": "object", "properties": { "schema": { "const": schema } }, "required": ["schema"] });
    json!({ "allOf": [name, reference(form)] })
}

/// One request of the list; `None` if no line of that kind can be read.
fn listed(asked: &Asked) -> Option<Value> {
    let mut entry: Map<String, Value> = TAGS.iter().zip(asked.tags).map(|(f, t)| ((*f).to_owned(), json!(t))).collect();
    entry.insert("request".to_owned(), line(asked.tags)?);
    entry.insert("schema".to_owned(), json!(asked.schema));
    entry.insert("answer".to_owned(), reference(&sealed_name(asked.schema)));
    Some(Value::Object(entry))
}

/// The schema of the line that asks: one of those that can be read as a request.
fn line(tags: &[&str]) -> Option<Value> {
    match tags {
        [tag] => tagged(&json(<proto::Request as PartialSchema>::schema()), TAGS[0], tag),
        [outer, tag] => {
            let request = tagged(&json(<channel::Request as PartialSchema>::schema()), TAGS[1], tag)?;
            let name =
                json!({ "type": "object", "properties": { TAGS[0]: { "const": outer } }, "required": [TAGS[0]] });
            Some(json!({ "allOf": [request, name] }))
        }
        _ => None,
    }
}

/// The one of an enum's variants whose field `field` says `tag`.
fn tagged(schema: &Value, field: &str, tag: &str) -> Option<Value> {
    schema["oneOf"].as_array()?.iter().find(|variant| tags_of(variant, field).any(|found| found == tag)).cloned()
}

/// What the field `field` may say, in a variant that is an object or made of several.
fn tags_of<'a>(variant: &'a Value, field: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = variant["allOf"].as_array().map_or(std::slice::from_ref(variant), Vec::as_slice);
    let values = parts.iter().filter_map(move |part| part["properties"][field]["enum"].as_array());
    values.flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests;
