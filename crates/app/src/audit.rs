//! The audit log: makes and lists its entries.

use stackbell_model::identity::{Token, User};
use stackbell_model::ids::{AuditId, OrganizationId};
use stackbell_model::permission::Permission;
use stackbell_store::audit::AuditEntry;
pub use stackbell_store::audit::AuditRecord;

use crate::auth::{Caller, OrganizationCaller};
use crate::page::{Page, one_more};
use crate::{App, Error};

/// The most entries on a page.
pub const AUDIT_LISTED_MAX: usize = 100;

impl App {
    /// The entries of an organization, newest first: at most `limit`, older than `before`.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn list_audit(
        &self,
        caller: &OrganizationCaller,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Page<AuditRecord, AuditId>, Error> {
        let access = caller.require(Permission::ReadAudit)?;
        let limit = limit.clamp(1, AUDIT_LISTED_MAX);
        let records = self.store.list_audit(Some(access.organization.id), before, one_more(limit)).await?;
        Ok(Page::cut(records, limit, |record| record.id))
    }

    /// The entries of the instance as a whole, newest first: at most `limit`, older than `before`. Operators only.
    ///
    /// # Errors
    /// [`crate::Code::Forbidden`]; errors of the store.
    pub async fn list_instance_audit(
        &self,
        caller: &Caller,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Page<AuditRecord, AuditId>, Error> {
        caller.require_operator()?;
        let limit = limit.clamp(1, AUDIT_LISTED_MAX);
        let records = self.store.list_audit(None, before, one_more(limit)).await?;
        Ok(Page::cut(records, limit, |record| record.id))
    }

    /// Writes an entry for an act that does not change the store. Call it before the act: the entry records the request,
    /// whatever its result.
    ///
    /// # Errors
    /// Errors of the store. The act must not begin then.
    pub(crate) async fn audit_act(
        &self,
        caller: &Caller,
        organization: Option<OrganizationId>,
        action: &'static str,
        target: impl Into<Box<str>>,
    ) -> Result<(), Error> {
        let entry = self.audit(caller, organization, action, target, Vec::new());
        Ok(self.store.append_audit(entry).await?)
    }

    /// An entry for a change that `caller` makes now.
    pub(crate) fn audit(
        &self,
        caller: &Caller,
        organization: Option<OrganizationId>,
        action: &'static str,
        target: impl Into<Box<str>>,
        fields: Vec<&'static str>,
    ) -> AuditEntry {
        let at = self.now();
        AuditEntry {
            id: self.chance(|entropy| AuditId::generate(at, entropy)),
            at,
            organization,
            actor: caller.name().into(),
            token: Some(caller.token().id),
            remote: caller.remote().map(|address| address.to_string().into()),
            action,
            target: target.into(),
            fields,
        }
    }
}

/// A token in the words of the audit log, with the facts that an investigation needs.
pub(crate) fn token_in_words(token: &Token, owner: &str) -> String {
    let operator = if token.is_operator { ", may operate" } else { "" };
    let expiry = match token.expires_at.map(|at| jiff::Timestamp::from_millisecond(at.as_millis())) {
        None => "never expires".to_owned(),
        Some(Ok(at)) => format!("expires {at:.3}"),
        Some(Err(_)) => "expires beyond the calendar".to_owned(),
    };
    let role = token.role.as_str();
    format!("token {} '{}' of {owner}, role {role}{operator}, {expiry}", token.id, token.name)
}

/// A user in the words of the audit log.
pub(crate) fn user_in_words(user: &User) -> String {
    format!("user {}{}", user.login, if user.is_operator { ", operator" } else { "" })
}

#[cfg(test)]
mod tests {
    use stackbell_model::Timestamp;
    use stackbell_model::identity::TokenOwner;
    use stackbell_model::ids::{TokenId, UserId};
    use stackbell_model::names::{DisplayName, Login};
    use stackbell_model::permission::Role;

    use super::*;

    struct Zeros;

    impl stackbell_model::Entropy for Zeros {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    fn check(is_operator: bool, expires_at: Option<i64>, expected: &str) {
        let now = Timestamp::from_millis(0);
        let user = User {
            id: UserId::generate(now, &mut Zeros),
            login: Login::parse("auditor").expect("a login"),
            name: DisplayName::parse("Auditor").expect("a name"),
            email: String::new(),
            avatar_url: String::new(),
            is_operator,
            created_at: now,
        };
        let token = Token {
            id: TokenId::generate(now, &mut Zeros),
            owner: TokenOwner::User(user.id),
            name: DisplayName::parse("ci").expect("a name"),
            role: Role::Member,
            is_operator,
            created_at: now,
            expires_at: expires_at.map(Timestamp::from_millis),
            last_used_at: None,
        };
        let words = token_in_words(&token, &user_in_words(&user));
        assert_eq!(words.strip_prefix(&format!("token {} ", token.id)), Some(expected));
    }

    #[test]
    fn the_audit_log_says_whose_a_token_is_and_what_it_may() {
        check(false, None, "'ci' of user auditor, role member, never expires");
        check(
            true,
            Some(1_778_653_144_070),
            "'ci' of user auditor, operator, role member, may operate, expires 2026-05-13T06:19:04.070Z",
        );
        check(false, Some(i64::MAX), "'ci' of user auditor, role member, expires beyond the calendar");
    }
}
