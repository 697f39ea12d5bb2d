//! The right that a route needs. It is checked before the rest of a request is looked at: a caller without it learns nothing
//! of what the request would have to say.

use axum::http::request::Parts;
use stackbell_app::auth::{Access, Caller};
use stackbell_model::permission::Permission;

use super::error::{HttpError, about};

/// The right that a route needs of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// None. No token is looked at.
    Nothing,
    /// A good token.
    Token,
    /// A user's token.
    User,
    /// An operator's token.
    Operator,
    /// A token that may do this in the organization in the path.
    In(Permission),
}

impl Need {
    /// The need of the route that a request has come to.
    pub(crate) fn of(parts: &Parts) -> Self {
        *parts.extensions.get().expect("every route says what it needs")
    }

    /// Refuses a caller who may not use the route at all. What is needed in an organization is
    /// [checked there](Self::check_in).
    ///
    /// # Errors
    /// 403.
    pub(crate) fn check(self, caller: &Caller) -> Result<(), HttpError> {
        match self {
            Self::Nothing | Self::Token | Self::In(_) => Ok(()),
            Self::User => caller.require_user().map(|_| ()).map_err(about("Token")),
            Self::Operator => caller.require_operator().map_err(about("Token")),
        }
    }

    /// Refuses a caller who may see the organization and not use the route there.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn check_in(self, access: &Access<'_>) -> Result<(), HttpError> {
        match self {
            Self::Nothing | Self::Token | Self::User | Self::Operator => Ok(()),
            Self::In(permission) => access.require(permission).map_err(about("Token")),
        }
    }
}
