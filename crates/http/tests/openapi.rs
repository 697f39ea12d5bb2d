//! The OpenAPI document equals the golden file, and contains Pulumi Cloud's operations.

use std::collections::BTreeSet;

use serde_json::Value;

/// The webhook part of Pulumi Cloud's public document.
const PULUMI: &str = include_str!("openapi-webhooks.json");

fn ours() -> Value {
    serde_json::from_str(&stackbell_http::openapi()).expect("JSON")
}

fn pulumi() -> Value {
    serde_json::from_str(PULUMI).expect("JSON")
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Methods and paths, with their operations.
fn all_operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().expect("paths").iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods.iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

/// The operations below `/api`.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    all_operations(document).filter(|(route, _)| route.contains(" /api/")).collect()
}

#[test]
fn the_golden_file_is_current() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/openapi.json");
    let golden = std::fs::read_to_string(golden).expect("the golden file");
    let is_same = golden == stackbell_http::openapi();
    assert!(
        is_same,
        "the document has changed; review the difference: cargo run -- openapi > crates/http/golden/openapi.json"
    );
}

#[test]
fn the_api_has_pulumis_operations_and_no_others() {
    let (ours, pulumi) = (ours(), pulumi());
    let named = |document: &Value| -> BTreeSet<String> {
        let id = |operation: &Value| operation["operationId"].as_str().expect("an id").to_owned();
        operations(document).iter().map(|(route, operation)| format!("{} {route}", id(operation))).collect()
    };
    assert_eq!(named(&ours), named(&pulumi));
    assert_eq!(operations(&pulumi).len(), 32);
}

#[test]
fn operations_take_and_answer_what_pulumis_do() {
    let (ours, pulumi) = (ours(), pulumi());
    for (route, expected) in operations(&pulumi) {
        let operations = operations(&ours);
        let (_, actual) = operations.iter().find(|(found, _)| *found == route).expect("checked above");
        check_parameters(&route, actual, expected);
        assert_eq!(actual["tags"], expected["tags"], "{route}");
        assert_eq!(actual["deprecated"], expected["deprecated"], "{route}");
        let body = |operation: &Value| operation["requestBody"]["content"].clone();
        assert_eq!(body(actual), body(expected), "{route}");
        for (status, response) in expected["responses"].as_object().expect("responses") {
            let answered = &actual["responses"][status];
            assert!(answered.is_object(), "{route} answers {status}");
            if status.starts_with('2') {
                assert_eq!(answered["content"], response["content"], "{route} {status}");
            }
        }
        let succeeds = |operation: &Value| -> BTreeSet<String> {
            let all = keys(&operation["responses"]);
            all.into_iter().filter(|status| status.starts_with('2')).map(str::to_owned).collect()
        };
        assert_eq!(succeeds(actual), succeeds(expected), "{route}");
    }
}

fn check_parameters(route: &str, actual: &Value, expected: &Value) {
    let shape = |parameter: &Value| {
        let schema = &parameter["schema"]["type"];
        format!("{} {} {} {schema}", parameter["in"], parameter["name"], parameter["required"])
    };
    let shapes = |operation: &Value| -> BTreeSet<String> {
        operation["parameters"].as_array().into_iter().flatten().map(shape).collect()
    };
    let mut expected_shapes = shapes(expected);
    if route.starts_with("get ") && route.ends_with("/hooks") {
        // This parameter is ours: see the description of the list operation.
        expected_shapes.insert(r#""query" "pageSize" false "integer""#.to_owned());
        expected_shapes.insert(r#""query" "continuationToken" false "string""#.to_owned());
    }
    assert_eq!(shapes(actual), expected_shapes, "{route}");
}

#[test]
fn schemas_are_pulumis() {
    let (ours, pulumi) = (ours(), pulumi());
    for name in keys(&pulumi["components"]["schemas"]) {
        check_schema(name, &ours["components"]["schemas"][name], &pulumi["components"]["schemas"][name]);
    }
}

fn check_schema(name: &str, actual: &Value, expected: &Value) {
    assert_eq!(texts(&actual["required"]), texts(&expected["required"]), "{name}");
    assert_eq!(keys(&actual["properties"]), keys(&expected["properties"]), "{name}");
    for (field, property) in expected["properties"].as_object().into_iter().flatten() {
        let actual = &actual["properties"][field];
        assert_eq!(actual["type"], property["type"], "{name}.{field}");
        assert_eq!(actual["items"], property["items"], "{name}.{field}");
    }
    let parts = |value: &Value| value["allOf"].as_array().cloned().unwrap_or_default();
    assert_eq!(parts(actual).len(), parts(expected).len(), "{name}");
    for (actual, expected) in parts(actual).iter().zip(&parts(expected)) {
        assert_eq!(actual["$ref"], expected["$ref"], "{name}");
        check_schema(name, actual, expected);
    }
}

#[test]
fn guarded_routes_document_their_errors() {
    let ours = ours();
    let guarded: Vec<_> =
        all_operations(&ours).filter(|(_, operation)| operation["security"].is_array()).collect();
    assert!(!guarded.is_empty());
    for (route, operation) in guarded {
        let mut statuses = vec!["400", "401", "403", "429", "503"];
        if operation["requestBody"].is_object() {
            statuses.extend(["408", "413", "415"]);
        }
        let told = keys(&operation["responses"]);
        let missing: Vec<_> = statuses.into_iter().filter(|status| !told.contains(status)).collect();
        assert!(missing.is_empty(), "{route}: {missing:?}");
    }
}

#[test]
fn optional_fields_of_our_requests_document_null() {
    let ours = ours();
    let schemas = &ours["components"]["schemas"];
    let bodies =
        keys(schemas).into_iter().filter(|name| name.ends_with("Request") || *name == "WebhookOptions");
    let mut optional = 0;
    for name in bodies {
        let required = texts(&schemas[name]["required"]);
        for (field, property) in schemas[name]["properties"].as_object().expect("properties") {
            let is_optional = !required.contains(field.as_str());
            assert_eq!(texts(&property["type"]).contains("null"), is_optional, "{name}.{field}");
            optional += usize::from(is_optional);
        }
    }
    assert!(optional > 0);
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_an_id_of_its_own() {
    let ours = ours();
    let mut found = Vec::new();
    collect(&ours, "$ref", &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(ours.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = Vec::new();
    collect(&ours, "operationId", &mut ids);
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

fn collect<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(key).and_then(Value::as_str));
            members.values().for_each(|member| collect(member, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
