//! Organizations and their members.

use stackbell_model::identity::{Membership, Organization, User};
use stackbell_model::ids::OrganizationId;
use stackbell_model::names::{DisplayName, Login, OrganizationName};
use stackbell_model::permission::{Permission, Role};
use stackbell_store::identity::{RemoveMembership, SetMembership};
use stackbell_wire::rest::identity::OrganizationRequest;

use crate::auth::{Caller, OrganizationCaller};
use crate::fields::{Fields, taken};
use crate::page::{LISTED_MAX, Page, one_more};
use crate::tokens::more_than_own;
use crate::{App, Code, Error};

impl App {
    /// Makes an organization with its first admin. Operators only. The admin is a user, and the rights of each of the user's
    /// tokens are limited by its role.
    ///
    /// # Errors
    /// [`Code::Invalid`], [`Code::Conflict`], [`Code::Forbidden`]; errors of the store.
    pub async fn create_organization(
        &self,
        caller: &Caller,
        body: &OrganizationRequest,
    ) -> Result<Organization, Error> {
        let caller = &self.renew(caller).await?;
        caller.require_operator()?;
        let mut fields = Fields::default();
        let name = fields.read_required("name", body.name.as_deref(), OrganizationName::parse);
        let display_name = body.display_name.as_deref().or(body.name.as_deref());
        let display_name = fields.read_required("displayName", display_name, DisplayName::parse);
        let avatar_url = fields.read_text("avatarUrl", body.avatar_url.as_deref());
        let admin = match body.admin.as_deref().filter(|login| !login.is_empty()) {
            Some(login) => self.find_user_by(login).await?,
            None => caller.user().cloned(),
        };
        if admin.is_none() {
            fields.invalid("admin", "must be the login of a user");
        }
        let ((name, display_name), admin) = fields.finish(name.zip(display_name).zip(admin))?;
        let now = self.now();
        let id = self.chance(|entropy| OrganizationId::generate(now, entropy));
        let organization = Organization { id, name, display_name, avatar_url, created_at: now };
        let target = format!("organization {}, admin {}", organization.name, admin.login);
        let audit = self.audit(caller, Some(id), "organization.create", target, Vec::new());
        let created = self.store.create_organization(&organization, Some(admin.id), audit);
        if !self.sessions.changing(created).await? {
            return Err(taken("name", format!("Organization '{}' already exists", organization.name)));
        }
        Ok(organization)
    }

    /// The organizations that the caller may see, by name: all for an operator, else those that the caller belongs to.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn list_organizations(
        &self,
        caller: &Caller,
        after: Option<&OrganizationName>,
    ) -> Result<Page<Organization, OrganizationName>, Error> {
        let organizations = if caller.is_operator() {
            self.store.list_organizations(after, one_more(LISTED_MAX)).await?
        } else {
            let mut own: Vec<_> =
                caller.organizations().map(|(organization, _)| organization.clone()).collect();
            own.sort_by(|a, b| a.name.cmp(&b.name));
            own.retain(|organization| after.is_none_or(|after| organization.name > *after));
            own
        };
        Ok(Page::cut(organizations, LISTED_MAX, |organization| organization.name.clone()))
    }

    /// The members of an organization, by login.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn list_members(
        &self,
        caller: &OrganizationCaller,
        after: Option<&Login>,
    ) -> Result<Page<(User, Role), Login>, Error> {
        let access = caller.require(Permission::ReadMembers)?;
        let members = self.store.list_members(access.organization.id, after, one_more(LISTED_MAX)).await?;
        Ok(Page::cut(members, LISTED_MAX, |(user, _)| user.login.clone()))
    }

    /// Makes a user a member with this role, or changes the role.
    ///
    /// # Errors
    /// [`Code::Invalid`] for an unknown role, [`Code::NotFound`] for an unknown user, [`Code::Conflict`] for the last
    /// admin, whose role stays; errors of access and store.
    pub async fn set_member(
        &self,
        caller: &OrganizationCaller,
        login: &str,
        role: Option<&str>,
    ) -> Result<(User, Role), Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::EditMembers)?;
        let mut fields = Fields::default();
        let role = fields.read_role(role);
        if let Some(role) = role.filter(|role| !access.may_grant(*role)) {
            fields.invalid("role", more_than_own(role));
        }
        let role = fields.finish(role)?;
        let user = self.find_user_by(login).await?.ok_or_else(|| Error::not_found("User", login))?;
        let organization = access.organization.id;
        let membership = Membership { organization, user: user.id, role };
        let target = format!("member {} as {}", user.login, role.as_str());
        let audit = self.audit(caller, Some(organization), "member.set", target, vec!["role"]);
        let set = self.store.set_membership(membership, audit);
        match self.sessions.changing(set).await? {
            SetMembership::Done => Ok((user, role)),
            SetMembership::LastAdmin => Err(last_admin(&access.organization.name, &user.login)),
        }
    }

    /// Ends a membership.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::Conflict`] for the last admin, who stays a member; errors of access and store.
    pub async fn remove_member(&self, caller: &OrganizationCaller, login: &str) -> Result<(), Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::EditMembers)?;
        let not_found = || Error::not_found("Member", login);
        let user = self.find_user_by(login).await?.ok_or_else(not_found)?;
        let organization = access.organization.id;
        let target = format!("member {}", user.login);
        let audit = self.audit(caller, Some(organization), "member.remove", target, Vec::new());
        let removed = self.store.remove_membership(organization, user.id, audit);
        match self.sessions.changing(removed).await? {
            RemoveMembership::Done => Ok(()),
            RemoveMembership::Missing => Err(not_found()),
            RemoveMembership::LastAdmin => Err(last_admin(&access.organization.name, &user.login)),
        }
    }

    pub(crate) async fn find_user_by(&self, login: &str) -> Result<Option<User>, Error> {
        match Login::parse(login) {
            Ok(login) => Ok(self.store.find_user(&login).await?),
            Err(_) => Ok(None),
        }
    }
}

/// The error for the last admin. Without an admin, nobody could add members to the organization again.
fn last_admin(organization: &OrganizationName, login: &Login) -> Error {
    let message = format!("'{login}' is the last admin of '{organization}', make somebody else admin first");
    Error::new(Code::Conflict, message)
}
