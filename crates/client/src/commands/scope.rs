//! The scope of a command: the webhooks of an organization, of one of its stacks, or of one of its environments.

use anyhow::bail;
use serde_json::Value;

use crate::Missing;
use crate::output::text;
use crate::verb::{Verb, text_at};

/// The project of an environment without a project. Source: wire-facts.md#transport.
const DEFAULT_PROJECT: &str = "default";

/// A project and a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InProject {
    /// The project.
    pub(crate) project: String,
    /// The stack or environment.
    pub(crate) name: String,
}

/// The scope of a webhook; the default is the organization itself.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ScopeArgs {
    /// The webhooks of this stack instead of the organization's own
    #[arg(long, value_name = "PROJECT/STACK", value_parser = stack, conflicts_with = "env")]
    pub(crate) stack: Option<InProject>,
    /// The webhooks of this environment; its project is `default` if it has none
    #[arg(long, value_name = "PROJECT/ENVIRONMENT", value_parser = environment)]
    pub(crate) env: Option<InProject>,
}

/// Parses `project/stack`.
///
/// # Errors
/// A text in words.
pub(crate) fn stack(text: &str) -> Result<InProject, String> {
    match text.split_once('/') {
        Some((project, name)) if !project.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(InProject { project: project.to_owned(), name: name.to_owned() })
        }
        _ => Err("must be two names with a slash between them, such as website/prod".to_owned()),
    }
}

/// Parses `project/environment`, or an environment of the default project.
///
/// # Errors
/// A text in words.
pub(crate) fn environment(text: &str) -> Result<InProject, String> {
    if text.is_empty() || text.contains('/') {
        return stack(text);
    }
    Ok(InProject { project: DEFAULT_PROJECT.to_owned(), name: text.to_owned() })
}

impl ScopeArgs {
    /// The path of this scope's webhooks in Pulumi's API.
    pub(crate) fn hooks<'a>(&'a self, organization: &'a str) -> Vec<&'a str> {
        match (&self.stack, &self.env) {
            (Some(stack), _) => vec!["api", "stacks", organization, &stack.project, &stack.name, "hooks"],
            (None, Some(environment)) => {
                vec![
                    "api",
                    "esc",
                    "environments",
                    organization,
                    &environment.project,
                    &environment.name,
                    "hooks",
                ]
            }
            (None, None) => vec!["api", "orgs", organization, "hooks"],
        }
    }

    /// The path of one webhook of this scope in Pulumi's API.
    pub(crate) fn hook<'a>(&'a self, organization: &'a str, name: &'a str) -> Vec<&'a str> {
        let mut path = self.hooks(organization);
        path.push(name);
        path
    }

    /// The scope as flags, each after a space, for command lines that people paste.
    pub(crate) fn flags(&self) -> String {
        match (&self.stack, &self.env) {
            (Some(stack), _) => format!(" --stack {}/{}", stack.project, stack.name),
            (None, Some(environment)) => format!(" --env {}/{}", environment.project, environment.name),
            (None, None) => String::new(),
        }
    }

    /// The scope as query parameters of our own API.
    fn query(&self) -> Vec<(&'static str, &str)> {
        match (&self.stack, &self.env) {
            (Some(stack), _) => {
                vec![("scope", "stack"), ("project", &stack.project), ("stack", &stack.name)]
            }
            (None, Some(environment)) => vec![
                ("scope", "environment"),
                ("project", &environment.project),
                ("environment", &environment.name),
            ],
            (None, None) => vec![("scope", "organization")],
        }
    }

    /// Whether a webhook from our own API has this scope.
    fn holds(&self, webhook: &Value) -> bool {
        let is = |pointer: &str, expected: &str| text_at(webhook, pointer) == expected;
        let (scope, within, name) = match (&self.stack, &self.env) {
            (Some(stack), _) => ("stack", Some(stack), "/stackName"),
            (None, Some(environment)) => ("environment", Some(environment), "/environmentName"),
            (None, None) => ("organization", None, ""),
        };
        is("/scope", scope)
            && within.is_none_or(|within| is("/projectName", &within.project) && is(name, &within.name))
    }

    /// Finds the webhook of this scope and name in our own API.
    ///
    /// # Errors
    /// If the request fails, or there is no such webhook.
    pub(crate) fn find(&self, verb: &Verb<'_>, organization: &str, name: &str) -> anyhow::Result<Value> {
        let mut query = self.query();
        // The server returns all webhooks whose texts contain the name; the exact match is found below.
        query.push(("text", name));
        let path = ["v1", "orgs", organization, "webhooks"];
        let mut found = verb.client.list_some(&path, &query, None)?.items.into_iter();
        let found = found.find(|webhook| text_at(webhook, "/name") == name && self.holds(webhook));
        found.ok_or_else(|| {
            Missing(format!("there is no webhook {name} in {}", self.place(organization))).into()
        })
    }

    /// The scope in words.
    pub(crate) fn place(&self, organization: &str) -> String {
        match (&self.stack, &self.env) {
            (Some(stack), _) => format!("stack {organization}/{}/{}", stack.project, stack.name),
            (None, Some(environment)) => {
                format!("environment {organization}/{}/{}", environment.project, environment.name)
            }
            (None, None) => format!("organization {organization}"),
        }
    }
}

/// The place of a webhook from our own API: `-` for the organization, else project and name.
pub(crate) fn place(webhook: &Value) -> String {
    let within = ["/stackName", "/environmentName", "/envName"];
    let Some(name) = within.iter().find_map(|pointer| webhook.pointer(pointer).and_then(Value::as_str))
    else {
        return "-".to_owned();
    };
    format!("{}/{name}", text(webhook.pointer("/projectName")))
}

/// The subject of an event or a delivery: `project/stack` or `project/environment`; `-` if it has none.
pub(crate) fn subject(item: &Value) -> String {
    let names = ["/stackName", "/environmentName"];
    let name = names.iter().find_map(|pointer| item.pointer(pointer).and_then(Value::as_str));
    match (text_at(item, "/projectName"), name) {
        ("", None) => "-".to_owned(),
        (project, None) => project.to_owned(),
        ("", Some(name)) => name.to_owned(),
        (project, Some(name)) => format!("{project}/{name}"),
    }
}

/// The id of the webhook with this name in any scope, or with this id.
///
/// # Errors
/// If the request fails, there is no such webhook, or there are several.
pub(crate) fn webhook_id(verb: &Verb<'_>, organization: &str, asked: &str) -> anyhow::Result<String> {
    // A name has at most 32 characters, so no name looks like an id.
    if asked.len() == 36 {
        return Ok(asked.to_owned());
    }
    let webhooks = verb.client.list(&["v1", "orgs", organization, "webhooks"])?;
    let named: Vec<&Value> = webhooks.iter().filter(|webhook| text_at(webhook, "/name") == asked).collect();
    match named.as_slice() {
        [] => Err(Missing(format!("there is no webhook {asked} in {organization}")).into()),
        [webhook] => Ok(text_at(webhook, "/id").to_owned()),
        several => {
            let tell = |webhook: &&Value| {
                format!("\n  {}  {} {}", text_at(webhook, "/id"), text_at(webhook, "/scope"), place(webhook))
            };
            let told: String = several.iter().map(tell).collect();
            bail!("several webhooks of {organization} are called {asked}; name one by its id:{told}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pair(project: &str, name: &str) -> InProject {
        InProject { project: project.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn stacks_and_environments_are_read() {
        assert_eq!(stack("website/prod"), Ok(pair("website", "prod")));
        assert_eq!(environment("website/prod"), Ok(pair("website", "prod")));
        assert_eq!(environment("prod"), Ok(pair("default", "prod")));
        for bad in ["", "/", "a/", "/b", "a/b/c"] {
            assert!(stack(bad).is_err() && environment(bad).is_err(), "{bad}");
        }
        assert!(stack("prod").is_err());
    }

    fn check(scope: &ScopeArgs, path: &str, webhook: &Value, flags: &str) {
        assert_eq!(scope.hook("o", "n").join("/"), path);
        assert!(scope.holds(webhook), "{path}");
        assert!(!scope.holds(&json!({"scope": "other"})), "{path}");
        assert_eq!(scope.flags(), flags);
    }

    #[test]
    fn subjects_are_read() {
        let check = |item: Value, expected: &str| assert_eq!(subject(&item), expected);
        check(json!({"projectName": "p", "stackName": "s"}), "p/s");
        check(json!({"projectName": "p", "environmentName": "e"}), "p/e");
        check(json!({"projectName": "p"}), "p");
        check(json!({}), "-");
    }

    #[test]
    fn scopes_have_paths() {
        let stack = ScopeArgs { stack: Some(pair("p", "s")), env: None };
        let environment = ScopeArgs { stack: None, env: Some(pair("p", "e")) };
        check(&ScopeArgs::default(), "api/orgs/o/hooks/n", &json!({"scope": "organization"}), "");
        let of_stack = json!({"scope": "stack", "projectName": "p", "stackName": "s"});
        check(&stack, "api/stacks/o/p/s/hooks/n", &of_stack, " --stack p/s");
        let of_environment = json!({"scope": "environment", "projectName": "p", "environmentName": "e"});
        check(&environment, "api/esc/environments/o/p/e/hooks/n", &of_environment, " --env p/e");
        assert!(!stack.holds(&json!({"scope": "stack", "projectName": "p", "stackName": "t"})));
        assert_eq!((place(&of_stack), place(&json!({}))), ("p/s".to_owned(), "-".to_owned()));
    }
}
