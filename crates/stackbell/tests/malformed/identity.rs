//! Organizations, users, members, tokens.

use http::Method;
use serde_json::json;

use crate::cases::Case;

pub(crate) fn cases() -> Vec<Case> {
    [organizations(), users(), members(), tokens()].concat()
}

fn organizations() -> Vec<Case> {
    let path = "/v1/orgs";
    vec![
        Case::post(path, &json!({}), "name is required"),
        Case::post(path, &json!({"name": 1}), "name must be a string"),
        Case::post(path, &json!({"name": "a b"}), "name"),
        Case::post(path, &json!({"name": ""}), "name"),
        Case::post(path, &json!({"name": "o".repeat(101)}), "name"),
        Case::post(path, &json!({"name": "b", "displayName": "\u{7}"}), "displayName"),
        Case::post(path, &json!({"name": "b", "admin": "nobody"}), "admin must be the login of a user"),
        Case::post(path, &json!({"name": "b", "Name": "b"}), "'displayName'"),
        Case::post(path, &json!({"name": "acme"}), "acme").status(409),
    ]
}

fn users() -> Vec<Case> {
    let path = "/v1/users";
    vec![
        Case::post(path, &json!({}), "login is required"),
        Case::post(path, &json!({"login": "a b"}), "login"),
        Case::post(path, &json!({"login": ["a"]}), "login must be a string"),
        Case::post(path, &json!({"login": "b", "operator": "yes"}), "operator"),
        Case::post(path, &json!({"login": "b", "password": "x"}), "password"),
        Case::post(path, &json!({"login": "b", "role": "king"}), "'king'"),
        Case::post(path, &json!({"login": "b", "role": 1}), "role must be a string"),
        Case::post(path, &json!({"login": "b", "expiresAt": "soon"}), "expiresAt must be a moment"),
        Case::post(path, &json!({"login": "b", "expiresAt": "2000-01-01T00:00:00Z"}), "expiresAt"),
        Case::post(path, &json!({"login": "rick"}), "rick").status(409),
    ]
}

fn members() -> Vec<Case> {
    let put = |login: &str, body: serde_json::Value, part: &str| {
        Case::new(Method::PUT, &format!("/v1/orgs/acme/members/{login}"), body.to_string(), part)
    };
    vec![
        put("rick", json!({}), "role is required"),
        put("rick", json!({"role": "king"}), "'king'"),
        put("rick", json!({"role": 1}), "role must be a string"),
        put("nobody", json!({"role": "viewer"}), "nobody").status(404),
        put("a%20b", json!({"role": "viewer"}), "").status(404),
    ]
}

fn tokens() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["/v1/user/tokens", "/v1/orgs/acme/tokens"] {
        cases.extend([
            Case::post(path, &json!({}), "name is required"),
            Case::post(path, &json!({"name": ""}), "name"),
            Case::post(path, &json!({"name": 7, "role": "viewer"}), "name must be a string"),
            Case::post(path, &json!({"name": "a", "role": "king"}), "'king'"),
            Case::post(path, &json!({"name": "a", "role": "viewer", "operator": 1}), "operator"),
            Case::post(path, &json!({"name": "a", "role": "viewer", "expiresAt": "soon"}), "expiresAt"),
            Case::post(
                path,
                &json!({"name": "a", "role": "viewer", "expiresAt": 1_800_000_000}),
                "expiresAt",
            ),
            Case::post(
                path,
                &json!({"name": "a", "role": "viewer", "expiresAt": "2001-01-01T00:00:00Z"}),
                "expiresAt",
            ),
            Case::post(path, &json!({"name": "a", "role": "viewer", "scope": "all"}), "scope"),
            Case::new(Method::DELETE, &format!("{path}/x"), "", "not found").status(404),
            Case::new(
                Method::DELETE,
                &format!("{path}/22222222-2222-4222-8222-222222222222"),
                "",
                "not found",
            )
            .status(404),
        ]);
    }
    cases
}
