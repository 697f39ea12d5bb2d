use serde_json::{Value, json};
use stackbell_model::Timestamp;
use stackbell_model::filter::{Filter, Subscription};
use stackbell_model::health::Health;
use stackbell_model::ids::{DataKeyId, OrganizationId, WebhookId};
use stackbell_model::names::{DisplayName, EnvironmentName, ProjectName, StackName, WebhookName};
use stackbell_model::scope::Scope;
use stackbell_model::secret::Sealed;
use stackbell_model::webhook::{Format, PayloadUrl, StoredSecret};
use uuid::Uuid;

use super::*;
use crate::rest::webhook_delivery::WebhookDelivery;

fn check_request(text: &str, expected: Result<WebhookRequest, &str>) {
    let actual = WebhookRequest::read(text).map_err(|error| error.to_string());
    assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
}

#[test]
fn requests_of_the_cli() {
    let text = r#"{"organizationName":"o","projectName":"p","stackName":"s","name":"","displayName":"My Hook","payloadUrl":"https://example.com/hook","active":true,"format":"raw","filters":["update_failed"],"secret":"K","hasSecret":false,"secretCiphertext":""}"#;
    let expected = WebhookRequest {
        organization_name: Some("o".to_owned()),
        project_name: Some("p".to_owned()),
        stack_name: Some("s".to_owned()),
        name: Some(String::new()),
        display_name: Some("My Hook".to_owned()),
        payload_url: Some("https://example.com/hook".to_owned()),
        active: Some(true),
        format: Some("raw".to_owned()),
        filters: Some(vec!["update_failed".to_owned()]),
        secret: SecretChange::Set(SentSecret::new("K")),
        ..WebhookRequest::default()
    };
    let shown = format!("{expected:?}");
    assert!(!shown.contains("example.com") && !shown.contains("secret"), "{shown}");
    check_request(text, Ok(expected));
}

#[test]
fn nulls_are_absent_and_secrets_have_their_words() {
    check_request("{}", Ok(WebhookRequest::default()));
    let nulls =
        r#"{"organizationName":null,"secret":null,"active":null,"filters":null,"groups":null,"x":[1]}"#;
    check_request(nulls, Ok(WebhookRequest::default()));
    check_request(r#"{"secret":""}"#, Ok(WebhookRequest::default()));
    let removed = WebhookRequest { secret: SecretChange::Remove, ..WebhookRequest::default() };
    check_request(r#"{"secret":"__remove-secret"}"#, Ok(removed));
}

/// Reading does not validate the secret. The stored secret decides later whether this one may be used.
#[test]
fn a_secret_of_an_odd_form_is_read_as_it_was_sent() {
    for text in ["whsec_dGVzdA", "whsec_not base64!", &"x".repeat(1025)] {
        let secret = SecretChange::Set(SentSecret::new(text));
        check_request(
            &format!(r#"{{"secret":"{text}"}}"#),
            Ok(WebhookRequest { secret, ..WebhookRequest::default() }),
        );
    }
}

#[test]
fn errors_name_the_field() {
    check_request(r#"{"active":"yes"}"#, Err("active must be true or false, is a string"));
    check_request(r#"{"groups":["stacks",7]}"#, Err("groups[1] must be a string, is a number"));
    check_request(r#"{"secret":{"a":"b"}}"#, Err("secret must be a string, is an object"));
    check_request(r#"{"name":"a","name":"b"}"#, Err("body: name: the same key twice (at byte 12)"));
}

fn webhook(scope: Scope) -> Webhook {
    let key = DataKeyId::from_uuid(Uuid::nil());
    let sealed = Sealed { key, bytes: Box::default() };
    let filters = [Filter::UpdateFailed, Filter::PreviewFailed];
    let subscription = Subscription::new(scope.kind(), filters, [Group::Stacks, Group::Deployments]);
    Webhook {
        id: WebhookId::from_uuid(Uuid::nil()),
        organization: OrganizationId::from_uuid(Uuid::nil()),
        subscription: if matches!(scope, Scope::Environment { .. }) {
            Subscription::default()
        } else {
            subscription.expect("in scope")
        },
        scope,
        name: WebhookName::parse("bd7e0a35").expect("valid"),
        display_name: DisplayName::parse("#ops").expect("valid"),
        payload_url: PayloadUrl::from_stored("https://hooks.slack.com/services/T/B/x"),
        active: true,
        format: Format::Slack,
        secret: Some(StoredSecret { sealed, fingerprint: [0xab; 32], previous: None }),
        standard_headers: true,
        pace: None,
        pause_reason: None,
        created_at: Timestamp::from_millis(0),
        revision: 1,
        health: Health::default(),
    }
}

fn check_response(webhook: &Webhook, sees_credentials: bool, expected: &str) {
    let organization = OrganizationName::parse("myorg").expect("valid");
    let response = WebhookResponse::new(webhook, &organization, sees_credentials);
    assert_eq!(serde_json::to_string(&response).expect("plain data"), expected);
    assert!(!format!("{response:?}").contains("services"));
}

#[test]
fn responses() {
    let (project, stack) = (ProjectName::parse("p").expect("valid"), StackName::parse("s").expect("valid"));
    let of_stack = webhook(Scope::Stack { project: project.clone(), stack });
    check_response(
        &of_stack,
        true,
        &format!(
            r##"{{"organizationName":"myorg","projectName":"p","stackName":"s","name":"bd7e0a35","displayName":"#ops","payloadUrl":"https://hooks.slack.com/services/T/B/x","active":true,"format":"slack","filters":["update_failed","preview_failed"],"groups":["deployments","stacks"],"hasSecret":true,"secretCiphertext":"{}"}}"##,
            "ab".repeat(32)
        ),
    );
    let environment = EnvironmentName::parse("e").expect("valid");
    let of_environment = Webhook { secret: None, ..webhook(Scope::Environment { project, environment }) };
    check_response(
        &of_environment,
        false,
        r##"{"organizationName":"myorg","projectName":"p","envName":"e","name":"bd7e0a35","displayName":"#ops","payloadUrl":"https://hooks.slack.com","active":true,"format":"slack","filters":[],"groups":[],"hasSecret":false,"secretCiphertext":""}"##,
    );
}

/// A schema without descriptions, with its required fields sorted.
fn essence(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            if members.get("description").is_some_and(Value::is_string) {
                members.remove("description");
            }
            if let Some(Value::Array(required)) = members.get_mut("required") {
                required.sort_by_key(ToString::to_string);
            }
            members.values_mut().for_each(|member| *member = essence(member.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = essence(item.take())),
        _ => {}
    }
    schema
}

fn check_schema<T: ToSchema>(name: &str) {
    let golden: Value =
        serde_json::from_str(include_str!("../../golden/openapi-components.json")).expect("JSON");
    let ours = serde_json::to_value(T::schema()).expect("plain data");
    assert_eq!(T::name(), name);
    assert_eq!(essence(ours), essence(golden["schemas"][name].clone()), "{name}");
}

#[test]
fn schemas_are_those_of_pulumi() {
    check_schema::<WebhookRequest>("Webhook");
    check_schema::<WebhookResponse>("WebhookResponse");
    check_schema::<WebhookDelivery>("WebhookDelivery");
    let mut referenced = Vec::new();
    WebhookResponse::schemas(&mut referenced);
    assert_eq!(referenced.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["Webhook"]);
    assert_eq!(essence(json!({"required": ["b", "a"]})), json!({"required": ["a", "b"]}));
}
