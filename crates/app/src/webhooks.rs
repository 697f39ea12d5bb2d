//! Webhooks: create, list, get, edit, delete.

mod options;
mod secret;
mod settings;

use std::time::Duration;

use stackbell_model::health::Health;
use stackbell_model::ids::WebhookId;
use stackbell_model::names::{OrganizationName, WebhookName};
use stackbell_model::permission::Permission;
use stackbell_model::scope::{Scope, ScopeKind, ScopeNames};
use stackbell_model::webhook::Webhook;
use stackbell_store::webhooks::{CreateOutcome, EditOutcome};
use stackbell_wire::rest::webhook::WebhookRequest;

use crate::auth::{Access, Caller, OrganizationCaller};
use crate::breaker::Breaker;
use crate::fields::{Fields, taken};
use crate::page::{Page, one_more};
use crate::{App, Code, Error};

use settings::Settings;

pub use options::{WEBHOOKS_LISTED_MAX, WebhookFilter};

/// The most tries to generate a free name, and to repeat an edit after another edit came first.
const TRIES_MAX: u32 = 8;

/// A webhook, as the caller may see it.
#[derive(Clone, Debug)]
pub struct WebhookView {
    /// Its organization's name.
    pub organization: OrganizationName,
    /// The webhook.
    pub webhook: Webhook,
    /// Whether the caller may see its whole payload URL.
    pub credentials: bool,
    /// Its circuit breaker. `None` in Pulumi's API, and if the engine has ended.
    pub breaker: Option<Breaker>,
}

fn edit_permission(scope: &Scope) -> Permission {
    match scope.kind() {
        ScopeKind::Organization => Permission::EditOrganizationWebhooks,
        ScopeKind::Stack | ScopeKind::Environment => Permission::EditScopedWebhooks,
    }
}

fn view(access: &Access<'_>, webhook: Webhook) -> WebhookView {
    let credentials = access.may(Permission::SeeCredentials);
    WebhookView { organization: access.organization.name.clone(), webhook, credentials, breaker: None }
}

impl App {
    /// Registers a webhook.
    ///
    /// # Errors
    /// [`Code::Invalid`] naming every wrong field, [`Code::Conflict`] for a name that is taken; errors of access and store.
    pub async fn create_webhook(
        &self,
        caller: &OrganizationCaller,
        scope: Scope,
        body: &WebhookRequest,
    ) -> Result<WebhookView, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(edit_permission(&scope))?;
        let mut fields = Fields::default();
        match &body.organization_name {
            Some(name) if !name.is_empty() => {
                let organization = access.organization.name.as_str();
                fields.matches_url("organizationName", Some(name), Some(organization));
            }
            Some(_) | None => fields.required("organizationName"),
        }
        self.check_place(&mut fields, &scope, body);
        let name = body.name.as_deref().filter(|name| !name.is_empty());
        let name = name.and_then(|name| fields.read("name", WebhookName::parse(name)));
        let id = self.chance(|entropy| WebhookId::generate(self.now(), entropy));
        let settings = self.read_settings(&mut fields, &access, id, &scope, body, None);
        let Settings { display_name, payload_url, active, format, subscription, secret } =
            fields.finish(settings)?;
        let webhook = Webhook {
            id,
            organization: access.organization.id,
            scope,
            name: name.clone().unwrap_or_else(|| self.generate_name()),
            display_name,
            payload_url,
            active,
            format,
            subscription,
            secret,
            standard_headers: true,
            pace: None,
            pause_reason: None,
            created_at: self.now(),
            revision: 1,
            health: Health::default(),
        };
        self.insert(caller, &access, webhook, name.is_some()).await
    }

    async fn insert(
        &self,
        caller: &Caller,
        access: &Access<'_>,
        mut webhook: Webhook,
        is_name_given: bool,
    ) -> Result<WebhookView, Error> {
        let scope_max = self.limits.webhooks_in_scope_max;
        for _ in 0..TRIES_MAX {
            let audit = self.audit(
                caller,
                Some(webhook.organization),
                "webhook.create",
                target(&webhook),
                Vec::new(),
            );
            match self.store.create_webhook(&webhook, scope_max, audit).await? {
                CreateOutcome::Done => {
                    self.engine.webhook_changed(webhook.organization, webhook.id).await;
                    return Ok(view(access, webhook));
                }
                CreateOutcome::NameTaken if is_name_given => return Err(name_taken(&webhook.name)),
                CreateOutcome::NameTaken => webhook.name = self.generate_name(),
                CreateOutcome::TooMany => {
                    let message = format!(
                        "there are {scope_max} webhooks in this scope, the most that one may have (the setting webhooks_in_scope_max)"
                    );
                    return Err(Error::new(Code::Invalid, message));
                }
            }
        }
        Err(Error::new(Code::Internal, "no free name was found for the webhook"))
    }

    /// The most webhooks that a scope may have.
    pub fn webhooks_in_scope_max(&self) -> usize {
        self.limits.webhooks_in_scope_max as usize
    }

    /// The webhooks of a scope, oldest first: at most `limit`, newer than `after`.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn list_webhooks(
        &self,
        caller: &OrganizationCaller,
        scope: &Scope,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Page<WebhookView, WebhookId>, Error> {
        let access = caller.require(Permission::Read)?;
        let limit = limit.clamp(1, self.webhooks_in_scope_max());
        let webhooks =
            self.store.list_webhooks(access.organization.id, scope, after, one_more(limit)).await?;
        Ok(Page::cut(webhooks, limit, |webhook| webhook.id).map(|webhook| view(&access, webhook)))
    }

    /// One webhook.
    ///
    /// # Errors
    /// [`Code::NotFound`]; errors of access and store.
    pub async fn get_webhook(
        &self,
        caller: &OrganizationCaller,
        scope: &Scope,
        name: &str,
    ) -> Result<WebhookView, Error> {
        let access = caller.require(Permission::Read)?;
        let webhook = self.find_webhook(&access, scope, name).await?;
        Ok(view(&access, webhook))
    }

    /// Changes a webhook. A body with every required field replaces all settings; any other body changes only the fields it has.
    /// Source of the rule: wire-facts.md#update-rule.
    ///
    /// # Errors
    /// [`Code::Invalid`] naming every wrong field, [`Code::NotFound`]; errors of access and store.
    pub async fn edit_webhook(
        &self,
        caller: &OrganizationCaller,
        scope: &Scope,
        name: &str,
        body: &WebhookRequest,
    ) -> Result<WebhookView, Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(edit_permission(scope))?;
        for _ in 0..TRIES_MAX {
            let before = self.find_webhook(&access, scope, name).await?;
            let after = self.edited(&access, &before, body)?;
            let after = Webhook { health: self.health_after(&before, &after), ..after };
            match self.replace(caller, &before, &after).await? {
                EditOutcome::Done => return Ok(view(&access, after)),
                EditOutcome::Missing => return Err(Error::not_found("Webhook", name)),
                EditOutcome::Outdated => {}
            }
        }
        Err(edited_by_others())
    }

    /// The health of a webhook after an edit, as the store will have it.
    fn health_after(&self, before: &Webhook, after: &Webhook) -> Health {
        let edit = after.edit_of(before.active, before.endpoint());
        before.health.edited(edit, self.now())
    }

    /// Replaces `before` with `after`, if they differ.
    async fn replace(
        &self,
        caller: &Caller,
        before: &Webhook,
        after: &Webhook,
    ) -> Result<EditOutcome, Error> {
        let changed = changed_fields(before, after);
        if changed.is_empty() {
            return Ok(EditOutcome::Done);
        }
        let audit = self.audit(caller, Some(after.organization), "webhook.edit", target(after), changed);
        let outcome = self.store.edit_webhook(after, audit).await?;
        if outcome == EditOutcome::Done {
            let (organization, id) = (after.organization, after.id);
            if after.health == before.health {
                self.engine.webhook_changed(organization, id).await;
            } else {
                self.engine.webhook_set_going(organization, id).await;
            }
        }
        Ok(outcome)
    }

    /// Deletes a webhook. If it does not exist, nothing happens. Source: wire-facts.md#delete.
    ///
    /// # Errors
    /// Errors of access and store.
    pub async fn delete_webhook(
        &self,
        caller: &OrganizationCaller,
        scope: &Scope,
        name: &str,
    ) -> Result<(), Error> {
        let caller = &self.renew_in(caller).await?;
        let access = caller.require(edit_permission(scope))?;
        let Ok(name) = WebhookName::parse(name) else { return Ok(()) };
        let organization = access.organization.id;
        let audit = self.audit(caller, Some(organization), "webhook.delete", place(scope, &name), Vec::new());
        if let Some(id) = self.store.delete_webhook(organization, scope, &name, audit).await? {
            self.engine.webhook_deleted(organization, id).await;
        }
        Ok(())
    }

    pub(crate) async fn find_webhook(
        &self,
        access: &Access<'_>,
        scope: &Scope,
        name: &str,
    ) -> Result<Webhook, Error> {
        let not_found = || Error::not_found("Webhook", name);
        let parsed = WebhookName::parse(name).map_err(|_| not_found())?;
        let found = self.store.find_webhook(access.organization.id, scope, &parsed).await?;
        found.ok_or_else(not_found)
    }

    fn edited(&self, access: &Access<'_>, before: &Webhook, body: &WebhookRequest) -> Result<Webhook, Error> {
        let mut fields = Fields::default();
        let organization = access.organization.name.as_str();
        fields.matches_url("organizationName", body.organization_name.as_deref(), Some(organization));
        self.check_place(&mut fields, &before.scope, body);
        fields.matches_url("name", body.name.as_deref(), Some(before.name.as_str()));
        let settings = self.read_settings(&mut fields, access, before.id, &before.scope, body, Some(before));
        let Settings { display_name, payload_url, active, format, subscription, secret } =
            fields.finish(settings)?;
        let pause_reason = before.pause_reason.clone().filter(|_| !active);
        let before = before.clone();
        Ok(Webhook {
            display_name,
            payload_url,
            active,
            format,
            subscription,
            secret,
            pause_reason,
            ..before
        })
    }

    /// Eight lowercase hex digits. Source: wire-facts.md#webhook-name.
    fn generate_name(&self) -> WebhookName {
        let number = self.chance(|entropy| entropy.next_u64()) >> 32;
        WebhookName::parse(&format!("{number:08x}")).expect("hex digits are a name")
    }

    fn check_place(&self, fields: &mut Fields, scope: &Scope, body: &WebhookRequest) {
        let ScopeNames { project, stack, environment } = scope.names();
        fields.matches_url("projectName", body.project_name.as_deref(), project);
        fields.matches_url("stackName", body.stack_name.as_deref(), stack);
        fields.matches_url("envName", body.env_name.as_deref(), environment);
    }
}

/// The fields that an edit changed, by their names on the wire. An edit without any is not stored.
fn changed_fields(before: &Webhook, after: &Webhook) -> Vec<&'static str> {
    // A new field of webhooks does not compile until it is named here: it can be edited, or it cannot.
    let Webhook {
        id: _,
        organization: _,
        scope: _,
        name: _,
        display_name,
        payload_url,
        active,
        format,
        subscription,
        secret,
        standard_headers,
        pace,
        pause_reason,
        created_at: _,
        revision: _,
        health: _,
    } = after;
    let fields = [
        ("displayName", before.display_name == *display_name),
        ("payloadUrl", before.payload_url == *payload_url),
        ("active", before.active == *active),
        ("format", before.format == *format),
        ("filters", before.subscription.filters() == subscription.filters()),
        ("groups", before.subscription.groups().eq(subscription.groups())),
        ("secret", before.secret == *secret),
        ("standardHeaders", before.standard_headers == *standard_headers),
        ("attemptsPerMinute", before.pace == *pace),
        ("pauseReason", before.pause_reason == *pause_reason),
    ];
    fields.into_iter().filter(|(_, is_same)| !is_same).map(|(field, _)| field).collect()
}

pub(crate) fn target(webhook: &Webhook) -> String {
    place(&webhook.scope, &webhook.name)
}

fn place(scope: &Scope, name: &WebhookName) -> String {
    match scope {
        Scope::Organization => format!("webhook {name}"),
        Scope::Stack { project, stack } => format!("webhook {name} of stack {project}/{stack}"),
        Scope::Environment { project, environment } => {
            format!("webhook {name} of environment {project}/{environment}")
        }
    }
}

fn edited_by_others() -> Error {
    let message = "others edited the webhook at the same time, try again";
    Error { retry_after: Some(Duration::from_secs(1)), ..Error::new(Code::Unavailable, message) }
}

fn name_taken(name: &WebhookName) -> Error {
    taken("name", format!("Webhook '{name}' already exists"))
}
