//! The first records of an empty store: an organization, a token, and a user who is admin of the organization and operator of the
//! instance.

use stackbell_keys::Keyring;
use stackbell_model::identity::{Organization, Token, TokenOwner, User};
use stackbell_model::ids::{AuditId, OrganizationId, TokenId, UserId};
use stackbell_model::names::{DisplayName, Login, OrganizationName};
use stackbell_model::permission::Role;
use stackbell_model::{Entropy, Timestamp};
use stackbell_store::audit::AuditEntry;
use stackbell_store::identity::Bootstrap;

/// Makes the records for [`stackbell_store::identity::Identity::bootstrap`]. `token` is the token in plain text.
pub fn bootstrap(
    organization: OrganizationName,
    login: Login,
    token: &str,
    keyring: &Keyring,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Bootstrap {
    let called = |name: &str| DisplayName::parse(name).expect("a name for URLs is a display name");
    let organization = Organization {
        id: OrganizationId::generate(now, entropy),
        display_name: called(organization.as_str()),
        name: organization,
        avatar_url: String::new(),
        created_at: now,
    };
    let user = User {
        id: UserId::generate(now, entropy),
        name: called(login.as_str()),
        login,
        email: String::new(),
        avatar_url: String::new(),
        is_operator: true,
        created_at: now,
    };
    let audit = AuditEntry {
        id: AuditId::generate(now, entropy),
        at: now,
        organization: Some(organization.id),
        actor: "stackbell".into(),
        token: None,
        remote: None,
        action: "instance.begin",
        target: format!("organization {}, user {}", organization.name, user.login).into(),
        fields: Vec::new(),
    };
    let token_hash = keyring.token_hash(token);
    let token = Token {
        id: TokenId::generate(now, entropy),
        owner: TokenOwner::User(user.id),
        name: called("bootstrap"),
        role: Role::Admin,
        is_operator: true,
        created_at: now,
        expires_at: None,
        last_used_at: None,
    };
    Bootstrap { organization, user, token, token_hash, audit }
}
