//! Users, members and tokens in the store. Tests compare them with responses, and store some that no request can create.

use stackbell_keys::AccessToken;
use stackbell_model::Timestamp;
use stackbell_model::identity::{Token, TokenOwner};
use stackbell_model::ids::TokenId;
use stackbell_model::names::{DisplayName, Login, OrganizationName};
use stackbell_model::permission::Role;
use stackbell_store::identity::{Identity, TokenHolder};

use super::World;

/// A limit above the number that any test makes.
const TOKENS_MAX: u32 = 100_000;

/// A token that no request makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planted {
    pub(crate) owner: TokenOwner,
    pub(crate) role: Role,
    pub(crate) is_operator: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

impl World {
    /// The owner of a user's tokens.
    pub(crate) async fn user_owner(&self, login: &str) -> TokenOwner {
        let login = Login::parse(login).expect("a login");
        let user = self.base.store.find_user(&login).await.expect("the store works");
        TokenOwner::User(user.expect("the user is there").id)
    }

    /// The owner of an organization's service tokens.
    pub(crate) async fn organization_owner(&self, name: &str) -> TokenOwner {
        let name = OrganizationName::parse(name).expect("a name");
        let found = self.base.store.find_organization(&name).await.expect("the store works");
        TokenOwner::Organization(found.expect("the organization is there").id)
    }

    /// Puts a token into the store without any check of rights.
    pub(crate) async fn plant(&self, planted: Planted) -> String {
        let Planted { owner, role, is_operator, expires_at } = planted;
        let (secret, id, at) = self
            .base
            .fresh(|entropy, at| (AccessToken::generate(entropy), TokenId::generate(at, entropy), at));
        let token = Token {
            id,
            owner,
            name: DisplayName::parse("planted").expect("a name"),
            role,
            is_operator,
            created_at: at,
            expires_at,
            last_used_at: None,
        };
        let hash = self.base.keyring.token_hash(secret.expose());
        let created = self.base.store.create_token(&token, hash, TOKENS_MAX, self.base.entry());
        assert!(created.await.expect("the store works"));
        secret.expose().to_owned()
    }

    /// Revokes a token without any check of rights.
    pub(crate) async fn uproot(&self, token: &Token) {
        let revoked = self.base.store.revoke_token(token.owner, token.id, self.base.entry());
        assert!(revoked.await.expect("the store works"));
    }

    /// A token in the store; `None` once it is revoked.
    pub(crate) async fn holder(&self, token: &str) -> Option<TokenHolder> {
        let hash = self.base.keyring.token_hash(token);
        self.base.store.find_token(hash).await.expect("the store works")
    }

    /// The members of an organization, with their roles.
    pub(crate) async fn members(&self, organization: &str) -> Vec<(String, Role)> {
        let name = OrganizationName::parse(organization).expect("a name");
        let found = self.base.store.find_organization(&name).await.expect("the store works");
        let id = found.expect("the organization is there").id;
        let members = self.base.store.list_members(id, None, 1000).await.expect("the store works");
        members.into_iter().map(|(user, role)| (user.login.to_string(), role)).collect()
    }
}
