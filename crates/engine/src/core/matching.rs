//! Matches events with webhooks, and renders the messages.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use stackbell_model::event::Event;
use stackbell_model::filter::Selection;
use stackbell_model::scope::{Scope, Subject};
use stackbell_model::webhook::{Format, Webhook};
use stackbell_payload::render;
use stackbell_store::webhooks::OrganizationWebhooks;
use url::Url;

use super::messages::Authority;

#[derive(Debug)]
struct Listener {
    webhook: Arc<Webhook>,
    selection: Selection,
}

/// An organization's active webhooks, indexed by scope, so that matching reads only webhooks whose scope covers the event.
#[derive(Debug)]
pub(super) struct Snapshot {
    version: u64,
    whole_organization: Vec<Listener>,
    one_subject: HashMap<Subject, Vec<Listener>>,
}

/// A right to publish, compared with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The right is valid while the snapshot is current. The commit checks that.
    Holds,
    /// The right is newer than the snapshot.
    Unknown,
    /// The right is older than the snapshot, and may have ended.
    Outdated,
}

impl Snapshot {
    pub(super) fn new(webhooks: OrganizationWebhooks) -> Self {
        let mut snapshot =
            Self { version: webhooks.version, whole_organization: Vec::new(), one_subject: HashMap::new() };
        for webhook in webhooks.webhooks.into_iter().filter(|webhook| webhook.active) {
            let listeners = match webhook.scope.clone() {
                Scope::Organization => &mut snapshot.whole_organization,
                Scope::Stack { project, stack } => {
                    snapshot.one_subject.entry(Subject::Stack { project, stack }).or_default()
                }
                Scope::Environment { project, environment } => {
                    snapshot.one_subject.entry(Subject::Environment { project, environment }).or_default()
                }
            };
            listeners
                .push(Listener { selection: webhook.subscription.selection(), webhook: Arc::new(webhook) });
        }
        snapshot
    }

    /// The version of the organization's webhooks.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Compares a right to publish with the snapshot.
    pub(super) fn judge(&self, authority: Authority) -> Standing {
        match authority {
            Authority::Own => Standing::Holds,
            Authority::AsOf { version } => match version.cmp(&self.version) {
                Ordering::Equal => Standing::Holds,
                Ordering::Greater => Standing::Unknown,
                Ordering::Less => Standing::Outdated,
            },
        }
    }

    /// The webhooks that subscribe to `event`, each once.
    pub(super) fn listeners(&self, event: &Event) -> impl Iterator<Item = &Arc<Webhook>> {
        let filters = event.filters;
        let of_subject = self.one_subject.get(&event.subject).into_iter().flatten();
        self.whole_organization
            .iter()
            .chain(of_subject)
            .filter(move |listener| listener.selection.selects(filters))
            .map(|listener| &listener.webhook)
    }
}

/// The messages of one event, one for each format.
#[derive(Debug, Default)]
pub(super) struct Rendered(Vec<(Format, Bytes)>);

impl Rendered {
    pub(super) fn body(&mut self, format: Format, event: &Event, public_url: Option<&Url>) -> Option<Bytes> {
        if let Some((_, body)) = self.0.iter().find(|(known, _)| *known == format) {
            return Some(body.clone());
        }
        let body = render(format, event, public_url)?;
        self.0.push((format, body.clone()));
        Some(body)
    }
}
