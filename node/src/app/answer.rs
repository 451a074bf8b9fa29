//! What is the same in every answer.

use serde_json::{Value, json};

use crate::failure::{Failure, Kind, Outcome};

/// The answer with its schema as the first field.
pub fn with_schema(schema: &str, answer: Value) -> Outcome<Value> {
    let mut object = json!({ "schema": schema });
    let Value::Object(fields) = answer else {
        return Err(Failure::new(Kind::Failed, "the worker's answer is no object"));
    };
    if let Some(object) = object.as_object_mut() {
        object.extend(fields);
    }
    Ok(object)
}
