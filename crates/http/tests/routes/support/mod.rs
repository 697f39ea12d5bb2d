//! A whole instance, and requests to it.

pub(crate) mod calls;
mod fakes;
mod fixtures;
pub(crate) mod identities;
mod receiver;
mod response;
mod world;

pub(crate) use fakes::COPY;
pub(crate) use receiver::Receiver;
pub(crate) use response::TestResponse;
pub(crate) use world::{ADMIN, ORGANIZATION, World, request};

use serde_json::{Value, json};

/// The value without times, which differ.
pub(crate) fn without(mut value: Value, names: &[&str]) -> Value {
    for name in names {
        let removed = value.as_object_mut().expect("an object").remove(*name);
        assert!(removed.is_some_and(|value| !value.is_null()), "{name}");
    }
    value
}

/// A valid payload.
pub(crate) fn stack_update(stack: &str) -> Value {
    json!({
        "projectName": "website", "stackName": stack, "updateUrl": "https://a.example/updates/1",
        "kind": "update", "result": "succeeded", "resourceChanges": {"same": 28, "create": 3},
        "isPreview": false,
    })
}

/// A valid event.
pub(crate) fn event(id: Option<&str>) -> Value {
    let mut event = json!({"kind": "stack_update", "payload": stack_update("website-prod")});
    if let Some(id) = id {
        event["id"] = json!(id);
    }
    event
}

/// A valid webhook of the organization.
pub(crate) fn webhook(name: &str, url: &str) -> Value {
    json!({
        "organizationName": ORGANIZATION, "name": name, "displayName": "d", "payloadUrl": url, "active": true,
    })
}
