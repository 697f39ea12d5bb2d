//! Organizations, users, members, tokens and the audit log. This API is ours alone, so unknown fields are
//! errors.

mod audit;
mod request;
mod response;

pub use audit::AuditResponse;
pub use request::{MemberRequest, OrganizationRequest, TokenRequest, UserRequest};
pub use response::{
    MemberResponse, OrganizationResponse, TokenCreated, TokenResponse, UserCreated, UserResponse,
};
