//! Webhook operations of our own API: the list of all webhooks of an organization, options, the end of a suspension.

use stackbell_model::ids::WebhookId;
use stackbell_model::permission::Permission;
use stackbell_model::scope::{ScopeKind, ScopeNames};
use stackbell_model::webhook::{Format, Pace, PauseReason, Webhook, WebhookState};
use stackbell_store::webhooks::EditOutcome;
use stackbell_wire::rest::webhook_overview::WebhookOptions;

use super::{TRIES_MAX, WebhookView, edit_permission, edited_by_others, target, view};
use crate::auth::{Access, OrganizationCaller};
use crate::fields::Fields;
use crate::page::Page;
use crate::{App, Error};

/// The most webhooks of an organization on a page.
pub const WEBHOOKS_LISTED_MAX: usize = 100;

/// The number of webhooks that one query reads when a filter is applied.
const READ_MAX: u32 = 500;

/// The most webhooks that are read for one page.
const LOOKED_AT_MAX: u32 = 10_000;

/// A filter of webhooks: a webhook passes if every field that is set matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookFilter {
    /// The kind of the scope.
    pub scope: Option<ScopeKind>,
    /// The project of the stack or environment.
    pub project: Option<String>,
    /// The name of the stack.
    pub stack: Option<String>,
    /// The name of the environment.
    pub environment: Option<String>,
    /// Whether the webhook is active.
    pub active: Option<bool>,
    /// The state.
    pub state: Option<WebhookState>,
    /// The format.
    pub format: Option<Format>,
    /// A text in name, display name, or scheme and host of the payload URL; case does not matter.
    pub text: Option<String>,
}

impl WebhookFilter {
    fn passes(&self, webhook: &Webhook) -> bool {
        let ScopeNames { project, stack, environment } = webhook.scope.names();
        let is = |wanted: &Option<String>, actual: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| actual == Some(wanted))
        };
        self.scope.is_none_or(|scope| scope == webhook.scope.kind())
            && is(&self.project, project)
            && is(&self.stack, stack)
            && is(&self.environment, environment)
            && self.active.is_none_or(|active| active == webhook.active)
            && self.state.is_none_or(|state| state == webhook.state())
            && self.format.is_none_or(|format| format == webhook.format)
            && self.text.as_deref().is_none_or(|text| has_text(webhook, text))
    }
}

fn has_text(webhook: &Webhook, text: &str) -> bool {
    let text = text.to_lowercase();
    let shown = [webhook.name.as_str(), webhook.display_name.as_str(), &webhook.payload_url.redacted()];
    shown.iter().any(|shown| shown.to_lowercase().contains(&text))
}

impl App {
    /// The webhooks of an organization, of all scopes, that pass `filter`, oldest first: at most `limit`, newer than
    /// `after`. One request reads about 10,000 webhooks at most, so a page may be short or empty although there is a next one.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn list_all_webhooks(
        &self,
        caller: &OrganizationCaller,
        filter: &WebhookFilter,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Page<WebhookView, WebhookId>, Error> {
        let access = caller.require(Permission::Read)?;
        let limit = limit.clamp(1, WEBHOOKS_LISTED_MAX);
        let (mut found, mut last, mut looked_at) = (Vec::new(), after, 0);
        loop {
            let read = self.store.list_all_webhooks(access.organization.id, last, READ_MAX).await?;
            let is_end = read.len() < READ_MAX as usize;
            looked_at += READ_MAX;
            last = read.last().map(|webhook| webhook.id).or(last);
            found.extend(read.into_iter().filter(|webhook| filter.passes(webhook)));
            if is_end || found.len() > limit || looked_at >= LOOKED_AT_MAX {
                let page = Page::cut(found, limit, |webhook| webhook.id);
                let next = page.next.or(last.filter(|_| !is_end));
                let views = page.items.into_iter().map(|webhook| view(&access, webhook)).collect();
                return Ok(Page { items: self.with_breakers(views).await, next });
            }
        }
    }

    /// The webhook with this id, in any scope.
    ///
    /// # Errors
    /// [`crate::Code::NotFound`]; errors of access and store.
    pub async fn get_any_webhook(&self, caller: &OrganizationCaller, id: &str) -> Result<WebhookView, Error> {
        let access = caller.require(Permission::Read)?;
        let webhook = self.webhook_by_id(&access, id).await?;
        self.with_breaker(view(&access, webhook)).await
    }

    /// Changes the options of a webhook that only our own API has.
    ///
    /// # Errors
    /// [`crate::Code::Invalid`] naming every wrong field, [`crate::Code::NotFound`]; errors of access and store.
    pub async fn set_webhook_options(
        &self,
        caller: &OrganizationCaller,
        id: &str,
        options: &WebhookOptions,
    ) -> Result<WebhookView, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::Read)?;
        for _ in 0..TRIES_MAX {
            let before = self.webhook_by_id(&access, id).await?;
            access.require(edit_permission(&before.scope))?;
            let after = with_options(&before, options)?;
            let after = Webhook { health: self.health_after(&before, &after), ..after };
            match self.replace(caller, &before, &after).await? {
                EditOutcome::Done => return self.with_breaker(view(&access, after)).await,
                EditOutcome::Missing => return Err(Error::not_found("Webhook", id)),
                EditOutcome::Outdated => {}
            }
        }
        Err(edited_by_others())
    }

    /// Checks that the caller may edit the webhook of this id. A webhook that does not exist passes the check.
    ///
    /// # Errors
    /// [`crate::Code::Forbidden`]; errors of access and store.
    pub async fn require_webhook_edit(&self, caller: &OrganizationCaller, id: &str) -> Result<(), Error> {
        let access = caller.require(Permission::Read)?;
        let Some(id) = WebhookId::parse(id) else { return Ok(()) };
        match self.store.webhook(access.organization.id, id).await? {
            Some(webhook) => access.require(edit_permission(&webhook.scope)),
            None => Ok(()),
        }
    }

    /// Ends a webhook's suspension; a webhook that is not suspended stays as it is.
    ///
    /// # Errors
    /// [`crate::Code::NotFound`]; errors of access and store.
    pub async fn resume_webhook(&self, caller: &OrganizationCaller, id: &str) -> Result<WebhookView, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(Permission::Redeliver)?;
        let webhook = self.webhook_by_id(&access, id).await?;
        if webhook.health.suspension.is_none() {
            return self.with_breaker(view(&access, webhook)).await;
        }
        let now = self.now();
        let organization = webhook.organization;
        let audit = self.audit(caller, Some(organization), "webhook.resume", target(&webhook), Vec::new());
        if !self.store.resume_webhook(webhook.id, now, audit).await? {
            return Err(Error::not_found("Webhook", id));
        }
        self.engine.webhook_set_going(organization, webhook.id).await;
        let health = webhook.health.resumed(now);
        self.with_breaker(view(&access, Webhook { health, ..webhook })).await
    }

    /// Adds the circuit breakers, without the reason why each is open.
    async fn with_breakers(&self, mut views: Vec<WebhookView>) -> Vec<WebhookView> {
        let webhooks = views.iter().map(|view| (view.webhook.id, view.webhook.health)).collect();
        let breakers = self.breakers(webhooks).await;
        for (view, breaker) in views.iter_mut().zip(breakers) {
            view.breaker = Some(breaker);
        }
        views
    }

    /// Adds the circuit breaker, with the reason why it is open.
    async fn with_breaker(&self, view: WebhookView) -> Result<WebhookView, Error> {
        let breaker = self.breaker(view.webhook.id, view.webhook.health).await?;
        Ok(WebhookView { breaker, ..view })
    }

    pub(crate) async fn webhook_by_id(&self, access: &Access<'_>, id: &str) -> Result<Webhook, Error> {
        let not_found = || Error::not_found("Webhook", id);
        let parsed = WebhookId::parse(id).ok_or_else(not_found)?;
        let found = self.store.webhook(access.organization.id, parsed).await?;
        found.ok_or_else(not_found)
    }
}

fn with_options(before: &Webhook, options: &WebhookOptions) -> Result<Webhook, Error> {
    let mut fields = Fields::default();
    let WebhookOptions { standard_headers, attempts_per_minute, active, pause_reason } = options;
    let active = active.unwrap_or(before.active);
    let pace = match attempts_per_minute {
        None => before.pace,
        Some(None) => None,
        Some(Some(attempts)) => read_pace(&mut fields, *attempts),
    };
    let pause_reason = match pause_reason {
        None => before.pause_reason.clone().filter(|_| !active),
        Some(None) => None,
        Some(Some(_)) if active => {
            fields.invalid("pauseReason", "is for a webhook that is not active: send it with active false");
            None
        }
        Some(Some(text)) => match &before.pause_reason {
            // Clients send the stored reason back. A reason that an earlier version allowed must not prevent a change.
            Some(stored) if stored.as_str() == text => Some(stored.clone()),
            _ => fields.read("pauseReason", PauseReason::parse(text)),
        },
    };
    let standard_headers = standard_headers.unwrap_or(before.standard_headers);
    fields.finish(Some(Webhook { standard_headers, pace, active, pause_reason, ..before.clone() }))
}

fn read_pace(fields: &mut Fields, attempts: u64) -> Option<Pace> {
    let pace = u32::try_from(attempts).ok().and_then(Pace::per_minute);
    if pace.is_none() {
        let rule = format!("must be 1 to {}, or null for the default of the format", Pace::PER_MINUTE_MAX);
        fields.invalid("attemptsPerMinute", rule);
    }
    pace
}

#[cfg(test)]
mod tests {
    use stackbell_model::Timestamp;
    use stackbell_model::filter::Subscription;
    use stackbell_model::health::Health;
    use stackbell_model::ids::OrganizationId;
    use stackbell_model::names::{DisplayName, WebhookName};
    use stackbell_model::scope::Scope;
    use stackbell_model::webhook::PayloadUrl;

    use super::*;

    const ID: &str = "00000000-0000-0000-0000-000000000000";

    fn inactive(pause_reason: &str) -> Webhook {
        Webhook {
            id: WebhookId::parse(ID).expect("an id"),
            organization: OrganizationId::parse(ID).expect("an id"),
            scope: Scope::Organization,
            name: WebhookName::parse("hook").expect("a name"),
            display_name: DisplayName::from_stored("Hook"),
            payload_url: PayloadUrl::from_stored("https://example.com/hook"),
            active: false,
            format: Format::Raw,
            subscription: Subscription::default(),
            secret: None,
            standard_headers: true,
            pace: None,
            pause_reason: Some(PauseReason::from_stored(pause_reason)),
            created_at: Timestamp::from_millis(0),
            revision: 1,
            health: Health::default(),
        }
    }

    #[test]
    fn a_stored_reason_may_be_sent_again() {
        let sent = |text: &str| WebhookOptions {
            pause_reason: Some(Some(text.to_owned())),
            ..WebhookOptions::default()
        };
        for stored in ["ad\u{200b}min", "", "\t", &"x".repeat(257)] {
            let before = inactive(stored);
            assert_eq!(with_options(&before, &sent(stored)).expect("as stored"), before);
            let other = with_options(&before, &sent("x\u{200b}")).expect_err("another one").message;
            assert!(other.starts_with("pauseReason must"), "{other}");
        }
    }
}
