//! The document is the one that is kept, and holds together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::*;

/// Writes the file again.
const COMMAND: &str = "POTLUCK_BLESS=1 cargo test --release -p potluck-node api::schema";

#[test]
fn the_document_that_is_kept_is_the_one_of_these_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api");
    let file = folder.join("potluck.json");
    let now = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    if std::env::var_os("POTLUCK_BLESS").is_some_and(|value| value == "1") {
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::write(&file, &now).expect("writable");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default().replace("\r\n", "\n");
    if now != kept {
        let differs = now.lines().zip(kept.lines()).position(|(now, kept)| now != kept);
        let line = differs.unwrap_or(now.lines().count().min(kept.lines().count())) + 1;
        panic!(
            "docs/api/potluck.json is out of date from line {line} on. Write it again and read the difference:\n{COMMAND}"
        );
    }
}

#[test]
fn no_two_types_have_one_name() {
    let mut seen = BTreeMap::new();
    for (name, schema) in collect(&ask::all()) {
        let schema = json(schema);
        let before = seen.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(*before, schema, "two types are `{name}`: give one of them `#[schema(as = ...)]`");
    }
}

/// The names that a schema refers to.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn what_is_referred_to_is_there() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "{} references", found.len());
    for reference in found {
        let schema = document.pointer(reference.trim_start_matches('#'));
        assert!(schema.is_some_and(Value::is_object), "nothing is at {reference}");
    }
}

#[test]
fn a_components_name_is_one_that_openapi_allows() {
    let document = document();
    let names = document["components"]["schemas"].as_object().expect("schemas").keys();
    let allowed = |name: &&String| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    assert_eq!(names.clone().count(), names.filter(allowed).count());
}

/// The tags of an enum's variants.
fn variants(schema: &Value, field: &str) -> BTreeSet<String> {
    let variants = schema["oneOf"].as_array().expect("an enum");
    variants.iter().flat_map(|variant| tags_of(variant, field)).map(str::to_owned).collect()
}

#[test]
fn every_request_is_listed_with_its_answer() {
    let document = document();
    let listed = document["x-requests"].as_array().expect("a list");
    assert_eq!(listed.len(), ask::all().len(), "a line of each can be read");
    let says = |field: &str| -> BTreeSet<String> {
        listed.iter().filter_map(|entry| entry[field].as_str()).map(str::to_owned).collect()
    };
    assert_eq!(says("do"), variants(&json(<proto::Request as PartialSchema>::schema()), "do"));
    assert_eq!(says("what"), variants(&json(<channel::Request as PartialSchema>::schema()), "what"));
    for entry in listed {
        let pointer = entry["answer"]["$ref"].as_str().expect("an answer").trim_start_matches('#');
        let answer = document.pointer(pointer).expect("its schema");
        assert_eq!(answer["allOf"][0]["properties"]["schema"]["const"], entry["schema"]);
    }
}

#[test]
fn fields_say_what_they_are() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let peers = &schemas["Status"]["properties"]["peers"];
    assert_eq!((&peers["type"], peers["minimum"].as_f64()), (&json!("integer"), Some(0.0)));
    assert_eq!(peers["description"], "Peers that are connected.");
    assert_eq!(schemas["ManifestId"]["pattern"], "^[0-9a-f]{64}$");
    assert_eq!(schemas["FetchRequest"]["properties"]["manifest"]["$ref"], "#/components/schemas/ManifestId");
    let required = schemas["FetchRequest"]["required"].as_array().expect("a list");
    assert!(required.contains(&json!("manifest")) && required.contains(&json!("timeout_seconds")));
    // A loss that is no number is written as `null`.
    let loss = &schemas["Measured"]["properties"]["loss"]["type"];
    assert!(loss.as_array().is_some_and(|types| types.contains(&json!("null"))), "{loss}");
}
