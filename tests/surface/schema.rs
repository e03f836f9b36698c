//! A published schema, and what a document has to stand to pass it.

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The folder of the schemas.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas")
}

/// The text of `docs/schemas/NAME.json`.
pub fn read(name: &str) -> Value {
    let path = folder().join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn validator(name: &str) -> Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(&read(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The document is as the schema says.
pub fn accepts(name: &str, document: &Value) {
    let wrong: Vec<String> = validator(name)
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(wrong, [""; 0], "{name}: {document:#}");
}

/// The document is not as the schema says.
pub fn refuses(name: &str, document: &Value) {
    let passes = validator(name).is_valid(document);
    assert!(!passes, "{name} takes {document:#}");
}

/// As [`accepts`], and the schema knows every place of the document: it refuses a key more
/// in any object, a key less at the top, and a value of another type anywhere.
pub fn describes(name: &str, document: &Value) {
    accepts(name, document);
    let validator = validator(name);
    let refused = |what: &str, changed: &Value| {
        assert!(!validator.is_valid(changed), "{name} takes {what}");
    };
    let nonsense = json!([[]]);
    for place in places(document, "") {
        let mut changed = document.clone();
        let value = changed.pointer_mut(&place).unwrap();
        if let Value::Object(object) = value {
            object.insert("surprise".into(), nonsense.clone());
            refused(&format!("{place}/surprise"), &changed);
        }
        let mut changed = document.clone();
        *changed.pointer_mut(&place).unwrap() = nonsense.clone();
        refused(&format!("nonsense at {place}"), &changed);
    }
    for key in object(document).keys() {
        let mut changed = object(document).clone();
        changed.remove(key);
        refused(&format!("no {key}"), &Value::Object(changed));
    }
}

fn object(document: &Value) -> &Map<String, Value> {
    document.as_object().unwrap()
}

/// JSON pointers of the document and of all below.
fn places(value: &Value, here: &str) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(place, value)| (place.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let below = below
        .into_iter()
        .flat_map(|(key, value)| places(value, &format!("{here}/{key}")));
    std::iter::once(here.to_string()).chain(below).collect()
}
