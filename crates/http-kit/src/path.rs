//! Path parameters, and the organization in the path.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use stackbell_app::auth::OrganizationCaller;

use crate::auth::Authenticated;
use crate::context::Context;
use crate::error::{HttpError, about};
use crate::route_rules::RouteRules;

/// The name of the path parameter that holds an organization, on every surface.
pub const ORGANIZATION: &str = "orgName";

/// The parameters of a path by their names in the route, percent-decoded.
pub struct PathTexts(RawPathParams);

impl PathTexts {
    /// A parameter; `None` if the route does not have it.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// A parameter that the route has.
    ///
    /// # Panics
    /// If the route does not have it: the handler is on the wrong route, and every test of that route fails.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).expect("the route of this handler has the parameter")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathTexts {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let texts = RawPathParams::from_request_parts(parts, state).await;
        texts.map(Self).map_err(|_| HttpError::bad_request("the path is not UTF-8 once it is decoded"))
    }
}

/// A caller who may see the organization in the path, and use the route there. Any other caller is refused before the rest
/// of the request is read: 404 if the caller may not see the organization (invariant 9), else 403.
pub struct InOrganization {
    /// The caller in the organization.
    pub caller: OrganizationCaller,
    /// The parameters of the path.
    pub path: PathTexts,
}

impl<S> FromRequestParts<S> for InOrganization
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, state).await?;
        let path = PathTexts::from_request_parts(parts, state).await?;
        let caller = caller.enter(path.get(ORGANIZATION)).map_err(about("Organization"))?;
        RouteRules::of(&parts.extensions).need().check_in(&caller)?;
        Ok(Self { caller, path })
    }
}
