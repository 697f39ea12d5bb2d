//! A call of every route of both APIs, built from the routes themselves. A new route without a call here fails every test that
//! walks the routes.

use serde_json::{Value, json};
use stackbell_http::{Surface, paths};

use super::{event, webhook};

/// An id that does not exist.
pub(crate) const UNKNOWN_ID: &str = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";

/// The values of path parameters.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) organization: String,
    pub(crate) hook: String,
    pub(crate) webhook: String,
    /// A suspended webhook.
    pub(crate) suspended: String,
    pub(crate) stack_event: String,
    pub(crate) environment_event: String,
    /// An event about an environment of the default project.
    pub(crate) preview_event: String,
    pub(crate) delivery: String,
    pub(crate) recovery: String,
    pub(crate) login: String,
    pub(crate) own_token: String,
    pub(crate) user_token: String,
    pub(crate) service_token: String,
}

impl Names {
    /// Names that do not exist in this organization.
    pub(crate) fn unknown(organization: &str) -> Self {
        let id = || UNKNOWN_ID.to_owned();
        Self {
            organization: organization.to_owned(),
            hook: "unknown".to_owned(),
            webhook: id(),
            suspended: id(),
            stack_event: id(),
            environment_event: id(),
            preview_event: id(),
            delivery: id(),
            recovery: id(),
            login: "unknown".to_owned(),
            own_token: id(),
            user_token: id(),
            service_token: id(),
        }
    }

    fn find(&self, route: &str, parameter: &str) -> &str {
        match parameter {
            "orgName" => &self.organization,
            "projectName" => "website",
            "stackName" => "prod",
            "envName" => "dev",
            "hookName" => &self.hook,
            "webhookId" if route.ends_with("/resume") => &self.suspended,
            "webhookId" => &self.webhook,
            "event" if route.starts_with("/api/esc/") => &self.environment_event,
            "event" if route.starts_with("/api/preview/") => &self.preview_event,
            "event" | "eventId" => &self.stack_event,
            "deliveryId" => &self.delivery,
            "recoveryId" => &self.recovery,
            "login" => &self.login,
            "tokenId" if route.starts_with("/v1/orgs/") => &self.service_token,
            "tokenId" if route.starts_with("/v1/users/") => &self.user_token,
            "tokenId" => &self.own_token,
            unknown => panic!("{route} has a parameter {unknown}: say here what it stands for"),
        }
    }
}

/// A complete request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The path with its parameters' names.
    pub(crate) route: String,
    pub(crate) path: String,
    /// The body; null if the route reads none.
    pub(crate) body: Value,
}

impl Call {
    /// Whether the path of the route names an organization.
    pub(crate) fn is_in_organization(&self) -> bool {
        self.route.contains("{orgName}")
    }
}

/// A valid call of every route of both APIs.
pub(crate) fn calls(names: &Names) -> Vec<Call> {
    let call = |(method, route): (axum::http::Method, String)| {
        let fill = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(parameter) => names.find(&route, parameter).to_owned(),
            None => part.to_owned(),
        };
        let path = route.split('/').map(fill).collect::<Vec<_>>().join("/");
        let body = body(method.as_str(), &route);
        Call { method: method.to_string(), path, body, route }
    };
    paths(Surface::Apis).into_iter().map(call).collect()
}

fn body(method: &str, route: &str) -> Value {
    let ends = |ends: &[&str]| ends.iter().any(|end| route.ends_with(end));
    match method {
        "GET" | "DELETE" => Value::Null,
        "POST" if ends(&["/ping", "/redeliver", "/resume", "/cancel", "/retry", "/rotate", "/backup"]) => {
            Value::Null
        }
        "POST" if ends(&["/hooks"]) => webhook("made", "https://a.example/"),
        "PATCH" if ends(&["/hooks/{hookName}"]) => json!({"displayName": "edited"}),
        "PATCH" if ends(&["/webhooks/{webhookId}"]) => json!({"standardHeaders": false}),
        "POST" if ends(&["/events"]) => event(None),
        "POST" if ends(&["/recoveries"]) => json!({"since": "2020-01-01T00:00:00Z"}),
        "POST" if ends(&["/tokens"]) => json!({"name": "made", "role": "viewer"}),
        "PUT" if ends(&["/members/{login}"]) => json!({"role": "publisher"}),
        "PUT" if ends(&["/deployments"]) => {
            json!({"apiUrl": "https://api.example/", "token": "pul-1", "stacks": ["website/prod"]})
        }
        "POST" if ends(&["/v1/orgs"]) => json!({"name": "made"}),
        "POST" if ends(&["/v1/users"]) => json!({"login": "made"}),
        "POST" if ends(&["/sending/hold"]) => json!({"reason": "a test"}),
        _ => panic!("{method} {route} has no body here: say what it takes"),
    }
}
