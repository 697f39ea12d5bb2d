//! Pulumi's API: eight operations on the webhooks of four kinds of scopes. Source: wire-facts.md#operations.

mod convert;
mod create;
mod delete;
mod deliveries;
mod get;
mod list;
mod ping;
mod redeliver;
mod update;

use axum::http::{Method, StatusCode};
use stackbell_http_kit::description::Description;
use stackbell_http_kit::need::Need;
use stackbell_model::permission::Permission;

use crate::Route;

/// The resource that errors name.
const WEBHOOK: &str = "Webhook";

/// The path of a kind of scope.
struct Prefix {
    path: &'static str,
    /// The parts of an operation id before and after its object, as in `ListStackWebhooks`.
    noun: &'static str,
    suffix: &'static str,
    tags: &'static [&'static str],
    is_deprecated: bool,
    /// The permission to edit the scope's webhooks.
    editing: Permission,
}

const ORGANIZATION: Prefix = Prefix {
    path: "/api/orgs/{orgName}",
    noun: "Organization",
    suffix: "",
    tags: &["Organizations", "Webhooks"],
    is_deprecated: false,
    editing: Permission::EditOrganizationWebhooks,
};
const STACK: Prefix = Prefix {
    path: "/api/stacks/{orgName}/{projectName}/{stackName}",
    noun: "Stack",
    suffix: "",
    tags: &["Stacks", "Webhooks"],
    is_deprecated: false,
    editing: Permission::EditScopedWebhooks,
};
const ENVIRONMENT: Prefix = Prefix {
    path: "/api/esc/environments/{orgName}/{projectName}/{envName}",
    noun: "",
    suffix: "_esc_environments",
    tags: &["Environments"],
    is_deprecated: false,
    editing: Permission::EditScopedWebhooks,
};
/// The path has no project. Source: wire-facts.md#preview-environments.
const PREVIEW_ENVIRONMENT: Prefix = Prefix {
    path: "/api/preview/environments/{orgName}/{envName}",
    noun: "",
    suffix: "_preview_environments",
    tags: &["Environments"],
    is_deprecated: true,
    editing: Permission::EditScopedWebhooks,
};

const PREFIXES: [Prefix; 4] = [ORGANIZATION, STACK, ENVIRONMENT, PREVIEW_ENVIRONMENT];

/// An operation on the webhooks of a scope.
struct Operation {
    method: Method,
    /// The path after the prefix.
    path: &'static str,
    /// The operation id is the verb, the prefix's noun, the object, the prefix's suffix.
    verb: &'static str,
    object: &'static str,
    summary: &'static str,
    /// Adds parameters, body and responses.
    describe: fn(Description) -> Description,
    act: Act,
    /// The route at a whole path, with its need.
    route: fn(Method, String, Need) -> Route,
}

/// The kind of an operation, as far as permissions differ.
#[derive(Clone, Copy)]
enum Act {
    Read,
    Edit,
    Redeliver,
}

impl Act {
    /// The need of the operation, if editing needs `editing`.
    const fn need(self, editing: Permission) -> Need {
        Need::In(match self {
            Self::Read => Permission::Read,
            Self::Edit => editing,
            Self::Redeliver => Permission::Redeliver,
        })
    }
}

const OPERATIONS: [Operation; 8] = [
    list::OPERATION,
    create::OPERATION,
    get::OPERATION,
    update::OPERATION,
    delete::OPERATION,
    ping::OPERATION,
    deliveries::OPERATION,
    redeliver::OPERATION,
];

/// All routes below `/api`.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    let documented = PREFIXES
        .into_iter()
        .flat_map(|prefix| OPERATIONS.into_iter().map(move |operation| route(&prefix, &operation)));
    documented.chain(misprinted())
}

fn route(prefix: &Prefix, operation: &Operation) -> Route {
    let Operation { method, path, verb, object, summary, describe, act, route } = operation;
    let id = format!("{verb}{}{object}{}", prefix.noun, prefix.suffix);
    let not_found = "No such organization, webhook or event that the caller may see.";
    let description = Description::new(id, prefix.tags, summary).guarded();
    let description = describe(description.refuses(StatusCode::NOT_FOUND, not_found));
    let description = if prefix.is_deprecated { description.deprecated() } else { description };
    let need = act.need(prefix.editing);
    route(method.clone(), format!("{}{path}", prefix.path), need).described(description)
}

/// Two paths that are misprinted in public examples. They collide with no other path and are in no document.
/// Source: wire-facts.md#operations.
fn misprinted() -> [Route; 2] {
    let delete = (delete::OPERATION.route)(
        Method::DELETE,
        "/api/{orgName}/{projectName}/{stackName}/hooks/{hookName}".to_owned(),
        delete::OPERATION.act.need(STACK.editing),
    );
    let create = (create::OPERATION.route)(
        Method::POST,
        "/api/orgs/{orgName}/{projectName}/{stackName}/hooks".to_owned(),
        create::OPERATION.act.need(STACK.editing),
    );
    [delete, create]
}
