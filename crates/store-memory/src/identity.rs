//! Organizations, users, memberships and tokens.

use async_trait::async_trait;
use stackbell_model::Timestamp;
use stackbell_model::identity::{Membership, Organization, Token, TokenHash, TokenOwner, User};
use stackbell_model::ids::{OrganizationId, TokenId, UserId};
use stackbell_model::names::{Login, OrganizationName};
use stackbell_model::permission::Role;
use stackbell_store::StoreError;
use stackbell_store::audit::AuditEntry;
use stackbell_store::identity::{
    Bootstrap, HeldMembership, Identity, RemoveMembership, SetMembership, TokenHolder,
};

use crate::MemoryStore;
use crate::tables::{OrganizationRow, Tables, TokenRow, missing_row, page};

#[async_trait]
impl Identity for MemoryStore {
    async fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.lock().nobody_is_there())
    }

    async fn bootstrap(&self, bootstrap: Bootstrap) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if !tables.nobody_is_there() {
            return Ok(false);
        }
        let Bootstrap { organization, user, token, token_hash, audit } = bootstrap;
        let (organization_id, user_id) = (organization.id, user.id);
        tables.insert_organization(organization);
        tables.users.insert(user_id, user);
        tables.memberships.insert((organization_id, user_id), Role::Admin);
        tables.tokens.insert(token.id, TokenRow { token, hash: token_hash });
        tables.write_audit(audit);
        Ok(true)
    }

    async fn create_organization(
        &self,
        organization: &Organization,
        admin: Option<UserId>,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if tables.organization_named(&organization.name).is_some() {
            return Ok(false);
        }
        if let Some(admin) = admin {
            tables.require_user(admin)?;
            tables.memberships.insert((organization.id, admin), Role::Admin);
        }
        tables.insert_organization(organization.clone());
        tables.write_audit(audit);
        Ok(true)
    }

    async fn find_organization(&self, name: &OrganizationName) -> Result<Option<Organization>, StoreError> {
        Ok(self.lock().organization_named(name).cloned())
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        Ok(self.lock().organizations.get(&id).map(|row| row.organization.clone()))
    }

    async fn list_organizations(
        &self,
        after: Option<&OrganizationName>,
        limit: u32,
    ) -> Result<Vec<Organization>, StoreError> {
        let tables = self.lock();
        let all = tables.organizations.values().map(|row| &row.organization);
        Ok(page_by(all, |organization| &organization.name, after, limit))
    }

    async fn create_user(
        &self,
        user: &User,
        token: &Token,
        hash: TokenHash,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if tables.user_named(&user.login).is_some() {
            return Ok(false);
        }
        tables.users.insert(user.id, user.clone());
        tables.tokens.insert(token.id, TokenRow { token: token.clone(), hash });
        tables.write_audit(audit);
        Ok(true)
    }

    async fn find_user(&self, login: &Login) -> Result<Option<User>, StoreError> {
        Ok(self.lock().user_named(login).cloned())
    }

    async fn list_users(&self, after: Option<&Login>, limit: u32) -> Result<Vec<User>, StoreError> {
        Ok(page_by(self.lock().users.values(), |user| &user.login, after, limit))
    }

    async fn set_membership(
        &self,
        membership: Membership,
        audit: AuditEntry,
    ) -> Result<SetMembership, StoreError> {
        let mut tables = self.lock();
        let Membership { organization, user, role } = membership;
        tables.require_user(user)?;
        if role != Role::Admin && tables.is_last_admin(organization, user) {
            return Ok(SetMembership::LastAdmin);
        }
        tables.bump_version(organization)?;
        tables.memberships.insert((organization, user), role);
        tables.write_audit(audit);
        Ok(SetMembership::Done)
    }

    async fn remove_membership(
        &self,
        organization: OrganizationId,
        user: UserId,
        audit: AuditEntry,
    ) -> Result<RemoveMembership, StoreError> {
        let mut tables = self.lock();
        if tables.is_last_admin(organization, user) {
            return Ok(RemoveMembership::LastAdmin);
        }
        if tables.memberships.remove(&(organization, user)).is_none() {
            return Ok(RemoveMembership::Missing);
        }
        tables.bump_version(organization)?;
        tables.write_audit(audit);
        Ok(RemoveMembership::Done)
    }

    async fn list_members(
        &self,
        organization: OrganizationId,
        after: Option<&Login>,
        limit: u32,
    ) -> Result<Vec<(User, Role)>, StoreError> {
        let tables = self.lock();
        let members =
            tables.users.values().filter(|user| tables.memberships.contains_key(&(organization, user.id)));
        let members = page_by(members, |user| &user.login, after, limit);
        let with_role = |user: User| {
            let role = tables.memberships[&(organization, user.id)];
            (user, role)
        };
        Ok(members.into_iter().map(with_role).collect())
    }

    async fn create_token(
        &self,
        token: &Token,
        hash: TokenHash,
        owner_max: u32,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        let owned = tables.tokens.values().filter(|row| row.token.owner == token.owner).count();
        if owned >= owner_max as usize {
            return Ok(false);
        }
        tables.bump_versions_of(token.owner)?;
        tables.tokens.insert(token.id, TokenRow { token: token.clone(), hash });
        tables.write_audit(audit);
        Ok(true)
    }

    async fn find_token(&self, hash: TokenHash) -> Result<Option<TokenHolder>, StoreError> {
        let tables = self.lock();
        let row = tables.tokens.values().find(|row| row.hash == hash);
        Ok(row.map(|row| tables.holder(&row.token)))
    }

    async fn list_memberships(&self, user: UserId) -> Result<Vec<HeldMembership>, StoreError> {
        let tables = self.lock();
        Ok(tables.held(tables.memberships_of(user)))
    }

    async fn list_tokens(
        &self,
        owner: TokenOwner,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError> {
        let tables = self.lock();
        let beyond = tables
            .tokens
            .values()
            .map(|row| &row.token)
            .filter(|token| token.owner == owner && after.is_none_or(|after| token.id > after));
        Ok(page(beyond.cloned(), limit))
    }

    async fn revoke_token(
        &self,
        owner: TokenOwner,
        token: TokenId,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        if tables.tokens.get(&token).is_none_or(|row| row.token.owner != owner) {
            return Ok(false);
        }
        tables.bump_versions_of(owner)?;
        tables.tokens.remove(&token);
        tables.write_audit(audit);
        Ok(true)
    }

    async fn touch_tokens(&self, used: &[(TokenId, Timestamp)]) -> Result<(), StoreError> {
        let mut tables = self.lock();
        for (id, at) in used {
            if let Some(row) = tables.tokens.get_mut(id) {
                row.token.last_used_at = row.token.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }
}

impl Tables {
    fn nobody_is_there(&self) -> bool {
        self.organizations.is_empty() && self.users.is_empty()
    }

    fn insert_organization(&mut self, organization: Organization) {
        self.organizations.insert(organization.id, OrganizationRow { organization, version: 1 });
    }

    fn organization_named(&self, name: &OrganizationName) -> Option<&Organization> {
        self.organizations
            .values()
            .map(|row| &row.organization)
            .find(|organization| organization.name == *name)
    }

    fn user_named(&self, login: &Login) -> Option<&User> {
        self.users.values().find(|user| user.login == *login)
    }

    fn require_user(&self, user: UserId) -> Result<(), StoreError> {
        self.users.get(&user).map(|_| ()).ok_or_else(|| missing_row("users", user.to_string()))
    }

    /// Increments the versions of the organizations in which an owner's tokens are valid.
    fn bump_versions_of(&mut self, owner: TokenOwner) -> Result<(), StoreError> {
        let organizations = match owner {
            TokenOwner::Organization(organization) => vec![organization],
            TokenOwner::User(user) => {
                self.require_user(user)?;
                self.memberships_of(user).map(|(organization, _)| organization).collect()
            }
        };
        organizations.into_iter().try_for_each(|organization| self.bump_version(organization))
    }

    fn is_last_admin(&self, organization: OrganizationId, user: UserId) -> bool {
        let of_it =
            self.memberships.iter().filter(|((of, _), role)| *of == organization && **role == Role::Admin);
        of_it.map(|((_, admin), _)| *admin).eq([user])
    }

    fn memberships_of(&self, user: UserId) -> impl Iterator<Item = (OrganizationId, Role)> {
        self.memberships
            .iter()
            .filter(move |((_, member), _)| *member == user)
            .map(|((organization, _), role)| (*organization, *role))
    }

    fn holder(&self, token: &Token) -> TokenHolder {
        let (user, memberships) = match token.owner {
            TokenOwner::User(user) => (self.users.get(&user).cloned(), self.held(self.memberships_of(user))),
            TokenOwner::Organization(organization) => (None, self.held([(organization, token.role)])),
        };
        TokenHolder { token: token.clone(), user, memberships }
    }

    fn held(&self, roles: impl IntoIterator<Item = (OrganizationId, Role)>) -> Vec<HeldMembership> {
        let held = |(organization, role)| {
            let row = &self.organizations[&organization];
            HeldMembership { organization: row.organization.clone(), role, version: row.version }
        };
        let mut memberships: Vec<_> = roles.into_iter().map(held).collect();
        memberships.sort_by(|one, other| one.organization.name.cmp(&other.organization.name));
        memberships
    }
}

/// The first `limit` rows by name, after `after`.
fn page_by<'rows, Row: Clone + 'rows, Name: Ord>(
    rows: impl Iterator<Item = &'rows Row>,
    name: impl Fn(&Row) -> &Name,
    after: Option<&Name>,
    limit: u32,
) -> Vec<Row> {
    let mut rows: Vec<&Row> = rows.filter(|row| after.is_none_or(|after| name(row) > after)).collect();
    rows.sort_by(|one, other| name(one).cmp(name(other)));
    page(rows.into_iter().cloned(), limit)
}
