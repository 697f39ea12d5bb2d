//! The right that a route needs. It is checked before the rest of a request is read, so that a caller without it learns
//! nothing from the way in which the request is refused.

use stackbell_app::auth::{Caller, OrganizationCaller};
use stackbell_model::permission::Permission;

use crate::error::{HttpError, about};

/// The right that a route needs of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// None. No token is looked at.
    Nothing,
    /// A valid token.
    Token,
    /// A user's token.
    User,
    /// An operator's token.
    Operator,
    /// A token that may do this in the organization in the path.
    In(Permission),
}

impl Need {
    /// Refuses a caller who may not use the route at all. The right in an organization is checked by
    /// [`check_in`](Self::check_in).
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

    /// Refuses a caller who may see the organization but not use the route there.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn check_in(self, caller: &OrganizationCaller) -> Result<(), HttpError> {
        match self {
            Self::Nothing | Self::Token | Self::User | Self::Operator => Ok(()),
            Self::In(permission) => caller.require(permission).map(|_| ()).map_err(about("Token")),
        }
    }
}
