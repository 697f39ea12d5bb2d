//! Fields of webhooks: types, values, required fields, and fields of the wrong scope.

use serde_json::{Value, json};

use crate::cases::{Case, with, without};

const ORGANIZATION: &str = "/api/orgs/acme/hooks";
const STACK: &str = "/api/stacks/acme/web/prod/hooks";
const ENVIRONMENT: &str = "/api/esc/environments/acme/web/dev/hooks";
const HOOK: &str = "/api/orgs/acme/hooks/hook";

fn good() -> Value {
    json!({"organizationName": "acme", "displayName": "d", "payloadUrl": "http://127.0.0.1:1/", "active": true})
}

pub(crate) fn cases() -> Vec<Case> {
    [types(), missing(), values(), urls(), scopes(), subscriptions(), edits()].concat()
}

fn types() -> Vec<Case> {
    let texts = [
        "organizationName",
        "projectName",
        "stackName",
        "envName",
        "name",
        "displayName",
        "payloadUrl",
        "secret",
        "format",
    ];
    let no_text = [json!(1), json!(true), json!(["a"]), json!({"a": 1})];
    let no_truth = [json!("true"), json!(1), json!([]), json!({})];
    let no_list = [json!("update_succeeded"), json!(1), json!({}), json!([1]), json!([null]), json!([["a"]])];
    let mut cases = Vec::new();
    let mut add = |field: &str, wrong: &[Value]| {
        cases.extend(
            wrong.iter().map(|value| Case::post(ORGANIZATION, &with(&good(), field, value.clone()), field)),
        );
    };
    texts.iter().for_each(|field| add(field, &no_text));
    add("active", &no_truth);
    ["filters", "groups"].iter().for_each(|field| add(field, &no_list));
    cases
}

fn missing() -> Vec<Case> {
    let needed = ["organizationName", "displayName", "payloadUrl", "active"];
    let absent = needed
        .map(|field| Case::post(ORGANIZATION, &without(&good(), field), &format!("{field} is required")));
    let null = needed
        .map(|field| Case::post(STACK, &with(&good(), field, Value::Null), &format!("{field} is required")));
    [absent.to_vec(), null.to_vec()].concat()
}

fn values() -> Vec<Case> {
    let rows = [
        ("name", "a/b".to_owned(), "'/'"),
        ("name", "a b".to_owned(), "' '"),
        ("name", "ü".to_owned(), "'ü'"),
        ("name", "n".repeat(33), "name must be"),
        ("name", "a\u{0}".to_owned(), "name"),
        ("displayName", String::new(), "displayName must not be empty"),
        ("displayName", " \t ".to_owned(), "displayName"),
        ("displayName", "d".repeat(257), "256"),
        ("displayName", "a\u{7}b".to_owned(), "displayName"),
        ("displayName", "a\nb".to_owned(), "displayName"),
        ("displayName", "a\u{202e}b".to_owned(), "displayName"),
        ("format", "RAW".to_owned(), "format must be one of raw, slack"),
        ("format", "xml".to_owned(), "'xml'"),
        ("format", "f".repeat(5000), "…"),
        ("format", "pulumi_deployments".to_owned(), "cannot be used on organization webhooks"),
        ("secret", "s".repeat(1025), "secret must be at most 1024 bytes"),
        ("secret", "whsec_".to_owned(), "standard base64 with padding"),
        ("secret", "whsec_dGVzdA".to_owned(), "standard base64 with padding"),
        ("secret", " whsec_no base64!".to_owned(), "standard base64 with padding"),
        ("organizationName", "ACME".to_owned(), "organizationName must be 'acme'"),
        ("organizationName", "rival".to_owned(), "organizationName must be 'acme'"),
        ("organizationName", String::new(), "organizationName is required"),
    ];
    rows.into_iter()
        .map(|(field, value, part)| Case::post(ORGANIZATION, &with(&good(), field, value), part))
        .collect()
}

fn urls() -> Vec<Case> {
    let long = format!("http://127.0.0.1/{}", "a".repeat(2048));
    let rows = [
        ("", "must not be empty"),
        ("127.0.0.1", "is not a URL"),
        ("//127.0.0.1/", "is not a URL"),
        ("http://", "empty host"),
        ("http://[::1", "is not a URL"),
        ("http://127.0.0.1:99999/", "port"),
        ("http://a b/", "white space"),
        ("http://127.0.0.1/\n", "white space"),
        ("http://127.0.0.1/\u{0}", "control"),
        ("ftp://127.0.0.1/", "not ftp:"),
        ("file:///etc/passwd", "not file:"),
        ("javascript:alert(1)", "not javascript:"),
        ("gopher://127.0.0.1:70/", "not gopher:"),
        ("unix:/var/run/docker.sock", "not unix:"),
        ("http://10.0.0.1/", "private address"),
        ("http://a.exa\u{200b}mple/", "invisible characters"),
        ("http://a.example/\u{202e}", "invisible characters"),
        ("http://./", "host that can exist"),
        ("http://a..example/", "host that can exist"),
        ("http://%2e/", "in its host"),
        (long.as_str(), "2048"),
    ];
    let raw = rows.into_iter().map(|(url, part)| (with(&good(), "payloadUrl", url), part));
    let slack = [
        "https://example.com/",
        "http://hooks.slack.com/services/a",
        "https://hooks.slack.com.evil.example/",
    ];
    let slack = slack.map(|url| {
        let body = with(&with(&good(), "format", "slack"), "payloadUrl", url);
        (body, "one of the hosts for format 'slack'")
    });
    let targets = [
        "web",
        "web/",
        "/prod",
        "a/b/c",
        "a/b c",
        "https://example.com/",
        "../..",
        "a/..",
        "./a",
        "%2e%2e/a",
    ];
    let deployments = targets.map(|url| {
        let body = with(&with(&good(), "format", "pulumi_deployments"), "payloadUrl", url);
        Case::post(STACK, &body, "must be project/stack")
    });
    let all = raw.chain(slack).map(|(body, part)| Case::post(ORGANIZATION, &body, part));
    all.chain(deployments).collect()
}

fn scopes() -> Vec<Case> {
    let rows = [
        (ORGANIZATION, "projectName", "web", "projectName does not belong"),
        (ORGANIZATION, "stackName", "prod", "stackName does not belong"),
        (ORGANIZATION, "envName", "dev", "envName does not belong"),
        (STACK, "projectName", "other", "projectName must be 'web'"),
        (STACK, "stackName", "Prod", "stackName must be 'prod'"),
        (STACK, "envName", "dev", "envName does not belong"),
        (ENVIRONMENT, "projectName", "other", "projectName must be 'web'"),
        (ENVIRONMENT, "envName", "other", "envName must be 'dev'"),
        (ENVIRONMENT, "stackName", "prod", "stackName does not belong"),
    ];
    rows.map(|(path, field, value, part)| Case::post(path, &with(&good(), field, value), part)).to_vec()
}

fn subscriptions() -> Vec<Case> {
    let rows = [
        (ORGANIZATION, "filters", "nonsense", "'nonsense'"),
        (ORGANIZATION, "filters", "ping", "'ping'"),
        (ORGANIZATION, "filters", "UPDATE_SUCCEEDED", "'UPDATE_SUCCEEDED'"),
        (ORGANIZATION, "filters", "", "filters"),
        (ORGANIZATION, "filters", "stacks", "'stacks'"),
        (ORGANIZATION, "groups", "all", "'all'"),
        (ORGANIZATION, "groups", "update_succeeded", "'update_succeeded'"),
        (ORGANIZATION, "groups", "Stacks", "'Stacks'"),
        (STACK, "filters", "stack_created", "stack_created"),
        (STACK, "filters", "stack_deleted", "stack_deleted"),
        (STACK, "filters", "environment_created", "environment_created"),
        (STACK, "groups", "environments", "environments"),
        (STACK, "groups", "change_requests", "change_requests"),
        (ENVIRONMENT, "filters", "update_succeeded", "update_succeeded"),
        (ENVIRONMENT, "filters", "drift_detected", "drift_detected"),
        (ENVIRONMENT, "groups", "stacks", "stacks"),
        (ENVIRONMENT, "groups", "deployments", "deployments"),
        (ENVIRONMENT, "groups", "policies", "policies"),
    ];
    rows.map(|(path, field, value, part)| Case::post(path, &with(&good(), field, json!([value])), part))
        .to_vec()
}

fn edits() -> Vec<Case> {
    let rows = [
        (json!({"name": "other"}), "name must be 'hook'"),
        (json!({"name": 1}), "name"),
        (json!({"active": "no"}), "active"),
        (json!({"displayName": ""}), "displayName"),
        (json!({"payloadUrl": "ftp://a/"}), "payloadUrl"),
        (json!({"payloadUrl": "http://192.168.1.1/"}), "private address"),
        (json!({"format": "slack"}), "payloadUrl must begin with https://"),
        (json!({"format": "pulumi_deployments"}), "format"),
        (json!({"organizationName": "rival"}), "organizationName"),
        (json!({"stackName": "prod"}), "stackName"),
        (json!({"filters": ["nonsense"]}), "nonsense"),
        (json!({"groups": "stacks"}), "groups"),
        (json!({"secret": ["a"]}), "secret"),
    ];
    let taken = Case::post(ORGANIZATION, &with(&good(), "name", "hook"), "'hook' already exists").status(409);
    rows.iter().map(|(body, part)| Case::patch(HOOK, body, part)).chain([taken]).collect()
}
