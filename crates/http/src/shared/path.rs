//! What a path says.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use stackbell_app::auth::Caller;

use super::auth::Authenticated;
use super::context::Context;
use super::error::{HttpError, about};
use super::need::Need;

/// The parameters of a path by their names in the route, percent-decoded.
pub(crate) struct PathTexts(RawPathParams);

impl PathTexts {
    /// A parameter; `None` where the route has no such one.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// A parameter that the handler's route has: a handler on another route is a defect that no test would miss.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).expect("the route of this handler has the parameter")
    }
}

impl FromRequestParts<Arc<Context>> for PathTexts {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, HttpError> {
        let texts = RawPathParams::from_request_parts(parts, context).await;
        texts.map(Self).map_err(|_| HttpError::bad_request("the path is not UTF-8 once it is decoded"))
    }
}

/// A caller who may know of the organization in the path, and use the route there. A caller who may not is refused before
/// anything else is looked at: 404 where the organization may not be known of (invariant 9), else 403.
pub(crate) struct InOrganization {
    pub(crate) caller: Caller,
    /// The organization's name.
    pub(crate) organization: String,
    pub(crate) path: PathTexts,
}

impl FromRequestParts<Arc<Context>> for InOrganization {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, HttpError> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, context).await?;
        let path = PathTexts::from_request_parts(parts, context).await?;
        let organization = path.get("orgName").to_owned();
        let access = caller.in_organization(&organization).map_err(about("Organization"))?;
        Need::of(parts).check_in(&access)?;
        Ok(Self { caller, organization, path })
    }
}
