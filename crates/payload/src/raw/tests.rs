use std::path::Path;

use stackbell_model::filter::Filter;

use stackbell_model::event::PAYLOAD_BYTES_MAX;

use super::*;

const ORGANIZATION: Party<'static> =
    Party { name: "Crazy \"Adventures\"", login: "crazy-adventures", avatar_url: "" };
const USER: Party<'static> =
    Party { name: "Morty Smith", login: "morty", avatar_url: "https://a.example/m.png" };
const WITH_USER: Filling<'static> = Filling { organization: ORGANIZATION, user: Some(USER) };
const WITHOUT_USER: Filling<'static> = Filling { organization: ORGANIZATION, user: None };

const ORGANIZATION_JSON: &str =
    r#""organization":{"name":"Crazy \"Adventures\"","githubLogin":"crazy-adventures","avatarUrl":""}"#;
const USER_JSON: &str =
    r#""user":{"name":"Morty Smith","githubLogin":"morty","avatarUrl":"https://a.example/m.png"}"#;
const NAMES: &str = r#""action":"created","projectName":"web","stackName":"prod""#;

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/payloads");
    std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("a golden file for each filter")
}

fn words(filters: FilterSet) -> Vec<&'static str> {
    filters.iter().map(Filter::as_str).collect()
}

#[test]
fn each_sample_is_what_its_name_says() {
    for filter in Filter::ALL {
        let text = golden(filter.as_str());
        let classified = read_event(filter.kind().as_str(), &text, &WITH_USER, PAYLOAD_BYTES_MAX)
            .expect("a sample is valid");
        let expected = match filter {
            Filter::DriftDetected => vec!["drift_detected", "drift_detection_succeeded"],
            other => vec![other.as_str()],
        };
        assert_eq!(words(classified.filters), expected);
        assert_eq!(classified.kind, filter.kind());
        let compact: String = compact(&text);
        assert_eq!(classified.payload, compact.as_bytes(), "{filter}");
    }
}

/// Removes the white space of the samples: around their lines and after the colon of each key.
fn compact(text: &str) -> String {
    text.lines().map(str::trim).collect::<String>().replace("\": ", "\":")
}

#[test]
fn the_sample_of_a_ping_is_a_ping() {
    let at = stackbell_model::Timestamp::from_millis(1_778_653_144_000);
    let body = crate::ping::render(stackbell_model::webhook::Format::Raw, at);
    assert_eq!(body, compact(&golden("ping")).as_bytes());
}

fn check_filled(filling: &Filling<'_>, sent: &str, expected: &str) {
    let classified = read_event("stack", sent, filling, PAYLOAD_BYTES_MAX).expect(sent);
    assert_eq!(std::str::from_utf8(&classified.payload), Ok(expected), "{sent}");
    assert_eq!(words(classified.filters), ["stack_created"]);
}

#[test]
fn absent_fields_are_filled_in() {
    let none = format!("{{{NAMES}}}");
    check_filled(&WITH_USER, &none, &format!("{{{USER_JSON},{ORGANIZATION_JSON},{NAMES}}}"));
    check_filled(&WITHOUT_USER, &none, &format!("{{{ORGANIZATION_JSON},{NAMES}}}"));
    let nulls = format!(r#"{{"organization":null,{NAMES},"user":null,"mine":null}}"#);
    check_filled(&WITHOUT_USER, &nulls, &format!(r#"{{{ORGANIZATION_JSON},{NAMES},"mine":null}}"#));
    check_filled(&WITH_USER, &nulls, &format!(r#"{{{USER_JSON},{ORGANIZATION_JSON},{NAMES},"mine":null}}"#));
    let own_user = format!(r#"{{{NAMES},"user":{{"name":"Rick"}},"x":1}}"#);
    let expected = format!(r#"{{{NAMES},"user":{{"name":"Rick"}},{ORGANIZATION_JSON},"x":1}}"#);
    check_filled(&WITH_USER, &own_user, &expected);
    let no_login = format!(r#"{{{NAMES},"organization":{{"githubLogin":null,"name":"C"}}}}"#);
    let login = r#""organization":{"name":"C","githubLogin":"crazy-adventures"}"#;
    check_filled(&WITHOUT_USER, &no_login, &format!("{{{NAMES},{login}}}"));
    check_filled(&WITH_USER, &no_login, &format!("{{{USER_JSON},{NAMES},{login}}}"));
    let empty = format!(r#"{{"organization":{{}},{NAMES}}}"#);
    let expected = format!(r#"{{"organization":{{"githubLogin":"crazy-adventures"}},{NAMES}}}"#);
    check_filled(&WITHOUT_USER, &empty, &expected);
    check_filled(&WITHOUT_USER, &expected, &expected);
}

#[test]
fn the_digest_is_of_what_was_sent() {
    let digest =
        |text: &str, filling| read_event("stack", text, filling, PAYLOAD_BYTES_MAX).expect(text).digest();
    let sent = format!("{{{NAMES}}}");
    assert_eq!(digest(&sent, &WITH_USER), digest(&format!(" {sent} "), &WITHOUT_USER));
    assert_ne!(digest(&sent, &WITH_USER), digest(&format!("{{{ORGANIZATION_JSON},{NAMES}}}"), &WITH_USER));
    let expected: [u8; 32] = Sha256::digest(format!("stack\0{sent}")).into();
    assert_eq!(digest(&sent, &WITH_USER), expected);
}

const STACK: &str = r#""projectName":"web","stackName":"prod""#;
const ENVIRONMENT: &str = r#""projectName":"web","environmentName":"prod""#;

fn check_filters(kind: &str, members: &str, expected: &[&str]) {
    let classified =
        read_event(kind, &format!("{{{members}}}"), &WITHOUT_USER, PAYLOAD_BYTES_MAX).expect(members);
    assert_eq!(words(classified.filters), expected, "{members}");
}

#[test]
fn filters() {
    let update = |kind: &str| format!(r#"{STACK},"kind":"{kind}","result":"failed""#);
    check_filters("stack_update", &update("resource-import"), &["import_failed"]);
    check_filters("stack_update", &update("update"), &["update_failed"]);
    let deployment = |status: &str| format!(r#"{STACK},"status":"{status}""#);
    check_filters("deployment", &deployment("queued"), &["deployment_queued"]);
    check_filters("deployment", &deployment("accepted"), &["deployment_queued"]);
    check_filters("deployment", &deployment("skipped"), &[]);
    let drift = |drift: bool, status: &str| format!(r#"{STACK},"driftDetected":{drift},"status":"{status}""#);
    check_filters("drift_detection", &drift(true, "failed"), &["drift_detected", "drift_detection_failed"]);
    check_filters("drift_detection", &drift(false, "failed"), &["drift_detection_failed"]);
    check_filters("deployment_file_ingestion", STACK, &["deployment_file_ingestion_failed"]);
    check_filters("imported_environment_changed", ENVIRONMENT, &["imported_environment_changed"]);
}

fn check_error(kind: &str, members: &str, path: &str, expected: &str) {
    let error =
        read_event(kind, &format!("{{{members}}}"), &WITH_USER, PAYLOAD_BYTES_MAX).expect_err(members);
    assert_eq!((error.path().as_str(), error.to_string().as_str()), (path, expected), "{members}");
}

#[test]
fn errors_about_fields() {
    let check = |kind: &str, members: &str, path: &str, problem: &str| {
        check_error(kind, members, path, &format!("{path} {problem}"));
    };
    let update = |rest: &str| format!(r#"{STACK},"kind":"update","result":"failed",{rest}"#);
    check("stack", r#""action":"created","projectName":"web""#, "payload.stackName", "is required");
    check(
        "stack",
        r#""action":"created","projectName":null,"stackName":"a""#,
        "payload.projectName",
        "is required",
    );
    check(
        "stack",
        r#""action":"created","projectName":"a/b","stackName":"a""#,
        "payload.projectName",
        "must consist of letters, digits, '.', '_' and '-'; '/' is not allowed",
    );
    check("stack", STACK, "payload.action", "is required");
    check(
        "stack",
        &format!(r#"{STACK},"action":"made""#),
        "payload.action",
        "must be one of 'created', 'deleted', not 'made'",
    );
    check(
        "stack",
        &format!(r#"{STACK},"action":true"#),
        "payload.action",
        "must be one of 'created', 'deleted', is a boolean (true)",
    );
    check(
        "stack",
        &format!(r#"{NAMES},"organization":{{"githubLogin":"Crazy-Adventures"}}"#),
        "payload.organization.githubLogin",
        "must be 'crazy-adventures', the organization that the event is sent to",
    );
    check("stack", &format!(r#"{NAMES},"user":"morty""#), "payload.user", "must be an object, is a string");
    check(
        "stack",
        &format!(r#"{NAMES},"user":{{"name":3}}"#),
        "payload.user.name",
        "must be a string, is a number (3)",
    );
    check(
        "stack_update",
        &update(r#""isPreview":true"#),
        "payload.isPreview",
        "must be false for this kind, is a boolean (true)",
    );
    check(
        "stack_preview",
        &format!(r#"{STACK},"result":"failed","isPreview":false"#),
        "payload.isPreview",
        "must be true for this kind, is a boolean (false)",
    );
    check("stack_preview", &format!(r#"{STACK},"result":"failed""#), "payload.isPreview", "is required");
    check(
        "stack_update",
        &update(r#""resourceChanges":[]"#),
        "payload.resourceChanges",
        "must be an object of whole numbers, is an array",
    );
    check(
        "stack_update",
        &update(r#""resourceChanges":{"same":1,"create":-1}"#),
        "payload.resourceChanges.create",
        "must be a whole number from 0, is a number (-1)",
    );
    check(
        "deployment",
        &format!(r#"{STACK},"status":"running","version":1.5"#),
        "payload.version",
        "must be a whole number from 0, is a number (1.5)",
    );
    check(
        "imported_environment_changed",
        &format!(r#"{ENVIRONMENT},"affectedRevisions":[1,"2"]"#),
        "payload.affectedRevisions[1]",
        "must be a whole number from 0, is a string",
    );
    check(
        "environment_rotation",
        &format!(r#"{ENVIRONMENT},"status":"failed","rotations":[{{"id":1}}]"#),
        "payload.rotations[0].id",
        "must be a string, is a number (1)",
    );
}

#[test]
fn other_errors() {
    let kinds = list(EventKind::ALL.iter().map(|kind| kind.as_str()));
    check_error("ping", "", "kind", &format!("kind must be one of {kinds}, not 'ping'"));
    check_error("stack", r#""a":1,"a":2"#, "payload.a", "payload: a: the same key twice (at byte 7)");
    check_error("stack", "]", "payload", "payload: found ']' where a key in quotes should be (at byte 1)");
    let long = |size: usize| {
        let head = format!(r#"{NAMES},"x":""#);
        format!("{head}{}\"", "x".repeat(size - head.len() - 3))
    };
    let too_large =
        read_event("stack", &format!("{{{}}}", long(PAYLOAD_BYTES_MAX)), &WITHOUT_USER, PAYLOAD_BYTES_MAX);
    assert_eq!(
        too_large,
        Err(PayloadError::TooLarge {
            bytes: PAYLOAD_BYTES_MAX + ORGANIZATION_JSON.len() + 1,
            bytes_max: PAYLOAD_BYTES_MAX
        })
    );
    let too_large = read_event(
        "stack",
        &format!("{{{}}}", long(PAYLOAD_BYTES_MAX + 1)),
        &WITHOUT_USER,
        PAYLOAD_BYTES_MAX,
    );
    assert!(matches!(too_large, Err(PayloadError::Json(_))));
}

#[test]
fn unknown_fields_pass_and_known_values_lose_exponents() {
    let sent = format!(
        r#"{{{ORGANIZATION_JSON},{STACK},"status":"running","version":1e2,"mine":{{"a":[1.50,null]}}}}"#
    );
    let classified = read_event("deployment", &sent, &WITHOUT_USER, PAYLOAD_BYTES_MAX).expect("valid");
    assert_eq!(classified.payload, sent.replace("1e2", "100").as_bytes());
}
