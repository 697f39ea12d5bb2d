//! Fields of a webhook: each is returned as it was sent, or refused with the field, the rule and the remedy. Clients compare
//! responses with their requests, so any difference would appear in every plan.

use serde_json::{Value, json};

use crate::support::{ORGANIZATION, World};

const HOOKS: &str = "/api/orgs/crazy-adventures/hooks";
const STACK: &str = "/api/stacks/crazy-adventures/website/website-prod/hooks";
const ENVIRONMENT: &str = "/api/esc/environments/crazy-adventures/website/dev/hooks";
const PREVIEW_ENVIRONMENT: &str = "/api/preview/environments/crazy-adventures/dev/hooks";

fn body(more: &Value) -> Value {
    let mut body = json!({
        "organizationName": ORGANIZATION, "displayName": "d", "payloadUrl": "https://a.example/", "active": true,
    });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    body
}

/// Creates, reads, lists, edits and imports a webhook with these fields. The fields must be equal in all responses.
async fn check_echo(world: &World, path: &str, fields: &Value) {
    let mut expected = fields.clone();
    if let Some(groups) = expected["groups"].as_array_mut() {
        groups.sort_by_key(|group| group.as_str().map(str::to_owned));
    }
    let assert_same = |answer: &Value, by: &str| {
        for (field, value) in
            expected.as_object().expect("fields").iter().filter(|(_, value)| !value.is_null())
        {
            assert_eq!(&answer[field], value, "{field} by {by} {path}");
        }
    };
    let created = world.admin("POST", path, body(fields)).await.expect(201);
    assert_same(&created, "POST");
    let one = format!("{path}/{}", created["name"].as_str().expect("a name"));
    assert_eq!(world.admin("GET", &one, Value::Null).await.expect(200), created);
    assert_eq!(
        world.admin("PATCH", &one, body(fields)).await.expect(200),
        created,
        "an edit that changes nothing"
    );
    assert_eq!(
        world.admin("PATCH", &one, created.clone()).await.expect(200),
        created,
        "what was read, sent back"
    );
    let other = json!({"displayName": "other", "filters": [], "groups": []});
    world.admin("PATCH", &one, other).await.expect(200);
    assert_same(&world.admin("PATCH", &one, body(fields)).await.expect(200), "PATCH");
    assert_eq!(world.admin("GET", path, Value::Null).await.expect(200), json!([created]));
    world.admin("DELETE", &one, Value::Null).await.expect_empty(204);
}

#[tokio::test]
async fn labels_come_back_as_they_were_sent() {
    let world = World::start().await;
    let (long, blanks) = ("é".repeat(256), " ".repeat(127));
    let labels = [
        " d",
        "d ",
        "  two  blanks  ",
        "\u{a0}no-break\u{a0}",
        "\u{3000}ideographic\u{3000}",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{1e9b}\u{323}",
        "\u{212b} \u{fb01}",
        "#ops 🍹 <b>&amp;\"'\\ \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "null",
        "0",
        &long,
        &format!("{blanks}d{blanks}"),
    ];
    for path in [HOOKS, STACK, ENVIRONMENT, PREVIEW_ENVIRONMENT] {
        for label in labels {
            check_echo(&world, path, &json!({"displayName": label})).await;
        }
    }
}

#[tokio::test]
async fn lists_come_back_with_their_doubles() {
    let world = World::start().await;
    let rows = [
        (STACK, json!(["update_failed", "preview_failed", "update_failed"]), json!([])),
        (STACK, json!([]), json!(["stacks", "deployments", "stacks", "policies", "deployments"])),
        (STACK, json!(["update_failed", "update_failed"]), json!(["stacks", "stacks"])),
        (
            HOOKS,
            json!(["stack_deleted", "stack_created", "stack_deleted"]),
            json!(["stacks", "change_requests", "stacks"]),
        ),
        (ENVIRONMENT, json!(vec!["environment_tag_updated"; 3]), json!(vec!["environments"; 2])),
        (PREVIEW_ENVIRONMENT, json!(vec!["environment_tag_updated"; 3]), json!(vec!["environments"; 2])),
        (HOOKS, json!([]), json!([])),
    ];
    for (path, filters, groups) in rows {
        check_echo(&world, path, &json!({"filters": filters, "groups": groups})).await;
    }
}

#[tokio::test]
async fn urls_come_back_byte_for_byte() {
    let world = World::start().await;
    let raw = [
        "https://a.example",
        "https://a.example/",
        "https://a.example//x//",
        "HTTPS://A.Example/Path",
        "https://a.example:443/",
        "http://a.example:80",
        "https://a.example:08443/",
        "https://a.example./",
        "https://a.example/a/../b/./c",
        "https://a.example/%7euser/%E2%82%ac?q=%20+&&=#",
        "https://a.example/ü?ä#ö",
        "https://bücher.example/",
        "https://BÜCHER.example/",
        "https://cafe\u{301}.example/cafe\u{301}",
        "https://user:p%40ss@a.example/",
        "https://a.example?x=[1]{2}|3",
        "http://bla.com",
        "https://localhost.local",
    ];
    for url in raw {
        for format in ["raw", "ms_teams"] {
            check_echo(&world, HOOKS, &json!({"payloadUrl": url, "format": format})).await;
        }
    }
    for url in ["https://hooks.slack.com/", "https://hooks.slack.com/services/T/B/x%2F?y"] {
        check_echo(&world, STACK, &json!({"payloadUrl": url, "format": "slack"})).await;
    }
    for target in ["web/prod", "Web_1/pr-od.x", "a/...", "_/-"] {
        for path in [STACK, ENVIRONMENT, PREVIEW_ENVIRONMENT] {
            check_echo(&world, path, &json!({"payloadUrl": target, "format": "pulumi_deployments"})).await;
        }
    }
}

/// Sends a field with `value` in a create and in an edit. Both must refuse it with `expected` in the message, and nothing may
/// change.
async fn check_refused(world: &World, path: &str, more: &Value, field: &str, value: &Value, expected: &str) {
    let mut refused = body(more);
    refused[field] = value.clone();
    let answer = world.admin("POST", path, refused.clone()).await;
    let message = answer.refusal(400);
    assert!(message.starts_with(&format!("{field} ")) && message.contains(expected), "{value}: {message}");
    assert_eq!(answer.details(), [format!("Webhook {field} invalid")], "{value}");
    let name = json!({"name": "kept"});
    let before = world.admin("POST", path, body(&name)).await.expect(201);
    let one = format!("{path}/kept");
    world.admin("PATCH", &one, refused).await.refusal(400);
    assert_eq!(world.admin("GET", &one, Value::Null).await.expect(200), before);
    world.admin("DELETE", &one, Value::Null).await.expect_empty(204);
}

#[tokio::test]
async fn labels_that_cannot_be_shown_are_refused() {
    let world = World::start().await;
    for label in [
        "",
        " ",
        "\t",
        "\u{3000}\u{a0}",
        "a\n",
        "\ta",
        "a\u{0}",
        "a\u{7f}",
        "a\u{9b}",
        "a\u{200b}",
        "\u{202e}a",
    ] {
        check_refused(&world, HOOKS, &json!({}), "displayName", &json!(label), "must").await;
    }
    check_refused(&world, STACK, &json!({}), "displayName", &json!("x".repeat(257)), "at most 256").await;
    let blanks = format!(" {}", "x".repeat(256));
    check_refused(&world, STACK, &json!({}), "displayName", &json!(blanks), "at most 256").await;
}

#[tokio::test]
async fn urls_that_lead_nowhere_are_refused() {
    let world = World::start().await;
    let hidden = "invisible characters";
    for c in [
        '\u{200b}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{202e}', '\u{2066}', '\u{7f}', '\u{9b}',
        ' ', '\n',
    ] {
        for url in [
            format!("{c}https://a.example/"),
            format!("https://a.exa{c}mple/"),
            format!("https://a.example/x{c}"),
            format!("https://u{c}@a.example/?x={c}"),
        ] {
            check_refused(&world, HOOKS, &json!({}), "payloadUrl", &json!(url), hidden).await;
        }
    }
    for url in [
        "https://./",
        "https://../x",
        "http://.",
        "https://a..example/",
        "https://a.example../",
        "https://.a/",
    ] {
        check_refused(&world, STACK, &json!({}), "payloadUrl", &json!(url), "host that can exist").await;
    }
    for (url, expected) in [
        ("https://%2e/", "'%' in its host"),
        ("https://a.exa%6dple/", "'%' in its host"),
        ("https://a.example\\@b.example/", "'\\' in its host"),
        ("https:a.example", "://"),
        ("https:///a.example", "://"),
    ] {
        check_refused(&world, ENVIRONMENT, &json!({}), "payloadUrl", &json!(url), expected).await;
    }
}

#[tokio::test]
async fn deployments_of_a_stack_that_cannot_exist_are_refused() {
    let world = World::start().await;
    let format = json!({"format": "pulumi_deployments"});
    for target in [
        "../..",
        ".",
        "..",
        "a/..",
        "../a",
        "./a",
        "a/.",
        "%2e%2e/%2e%2e",
        "a/%2e%2e",
        "a/b/..",
        "/",
        "a/",
        "/a",
        "a//b",
        "a/b?c",
        "a/b#c",
        "a\\b/c",
        " a/b",
        "a/b ",
        "a/\u{200b}b",
        "https://a.example/",
    ] {
        for path in [STACK, ENVIRONMENT] {
            check_refused(&world, path, &format, "payloadUrl", &json!(target), "project/stack").await;
        }
    }
}

#[tokio::test]
async fn secrets_that_libraries_would_read_differently_are_refused() {
    let world = World::start().await;
    for secret in [
        "whsec_",
        "whsec_dGVzdA",
        "whsec_dGVzdA=",
        "whsec_dGVzdB==",
        "whsec_-_-_",
        "whsec_no base64!",
        " whsec_dGVzdA==",
        "whsec_dGVzdA== ",
        "whsec_dGVzdA==\n",
        "whsec_ dGVzdA==",
        "whsec_dGVz\r\ndA==",
    ] {
        let expected = "standard base64 with padding";
        check_refused(&world, HOOKS, &json!({}), "secret", &json!(secret), expected).await;
        let answer = world.admin("POST", HOOKS, body(&json!({"secret": secret}))).await;
        assert!(!answer.text().contains("dGVz"), "{}", answer.text());
    }
    for secret in ["whsec_dGVzdA==", "whsec_+/+/", "WHSEC_x", " test\n", "test"] {
        let created = world.admin("POST", HOOKS, body(&json!({"secret": secret}))).await.expect(201);
        assert_eq!(created["hasSecret"], true);
    }
}

/// Messages must not refer to a file of this repository, because users of a client do not have it.
#[tokio::test]
async fn unknown_words_get_the_nearest_and_the_list_of_their_scope() {
    let world = World::start().await;
    let organization = "format must be one of raw, slack, ms_teams; unknown: 'Raw' (the nearest is 'raw')";
    let stack = "format must be one of raw, slack, ms_teams, pulumi_deployments; unknown: 'Raw' (the nearest is 'raw')";
    let misplaced = "format must be one of raw, slack, ms_teams; 'pulumi_deployments' cannot be used on organization webhooks";
    for (path, fields, expected) in [
        (HOOKS, json!({"format": "Raw"}), organization),
        (HOOKS, json!({"format": "pulumi_deployments"}), misplaced),
        (STACK, json!({"format": "Raw"}), stack),
        (
            ENVIRONMENT,
            json!({"groups": ["environment", "stacks"]}),
            "groups must be one of change_requests, environments; 'stacks' cannot be used on environment webhooks; unknown: \
             'environment' (the nearest is 'environments')",
        ),
    ] {
        assert_eq!(world.admin("POST", path, body(&fields)).await.refusal(400), expected);
    }
    for (path, first, absent) in [
        (HOOKS, "filters must be one of stack_created, stack_deleted, preview_succeeded,", ""),
        (STACK, "filters must be one of preview_succeeded,", "environment_tag_created"),
        (ENVIRONMENT, "filters must be one of environment_created,", "update_failed, "),
    ] {
        let answer = world.admin("POST", path, body(&json!({"filters": ["nothing"]}))).await;
        let message = answer.refusal(400);
        assert!(message.starts_with(first) && message.ends_with("; unknown: 'nothing'"), "{message}");
        assert!(absent.is_empty() || !message.contains(absent), "{message}");
    }
    let kind = format!("/v1/orgs/{ORGANIZATION}/deliveries?kind=stacks");
    let message = world.admin("GET", &kind, Value::Null).await.refusal(400);
    assert!(message.starts_with("kind must be one of ping, stack, stack_preview,"), "{message}");
    assert!(message.ends_with(", change_request"), "{message}");
}
