//! The scope of webhooks that a path names.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use stackbell_app::auth::OrganizationCaller;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::error::HttpError;
use stackbell_http_kit::path::{InOrganization, PathTexts};
use stackbell_model::names::{EnvironmentName, NameError, ProjectName, StackName};
use stackbell_model::scope::Scope;

/// A caller who may see the organization, and the scope in it that the path names.
pub(crate) struct InScope {
    pub(crate) caller: OrganizationCaller,
    pub(crate) scope: Scope,
    path: PathTexts,
}

impl InScope {
    /// The webhook's name in the path.
    pub(crate) fn webhook(&self) -> &str {
        self.path.get("hookName")
    }

    /// The event's id in the path.
    pub(crate) fn event(&self) -> &str {
        self.path.get("event")
    }
}

impl<S> FromRequestParts<S> for InScope
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let InOrganization { caller, path } = InOrganization::from_request_parts(parts, state).await?;
        let scope = scope(&path)?;
        Ok(Self { caller, scope, path })
    }
}

/// The scope follows from the parameters that the route has.
fn scope(path: &PathTexts) -> Result<Scope, HttpError> {
    let project = || match path.find("projectName") {
        Some(text) => read("projectName", text, ProjectName::parse),
        // The deprecated routes of environments. Source: wire-facts.md#preview-environments.
        None => Ok(ProjectName::default_project()),
    };
    if let Some(stack) = path.find("stackName") {
        let (project, stack) = (project()?, read("stackName", stack, StackName::parse)?);
        return Ok(Scope::Stack { project, stack });
    }
    if let Some(environment) = path.find("envName") {
        let (project, environment) = (project()?, read("envName", environment, EnvironmentName::parse)?);
        return Ok(Scope::Environment { project, environment });
    }
    Ok(Scope::Organization)
}

fn read<T>(
    parameter: &'static str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, NameError>,
) -> Result<T, HttpError> {
    let refuse = |problem: &dyn Display| {
        HttpError::invalid("Webhook", parameter, format!("{parameter} in the path {problem}"))
    };
    parse(text).map_err(|error| refuse(&error))
}
