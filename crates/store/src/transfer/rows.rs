//! What is copied: the model's types, and what a store keeps beside them.

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{Attempt, State};
use stackbell_model::deployments::DeploymentsCredential;
use stackbell_model::identity::{Membership, Organization, Token, TokenHash, User};
use stackbell_model::ids::{DeliveryId, EventId, EventKey, OrganizationId, SourceId, WebhookId};
use stackbell_model::recovery::Recovery;
use stackbell_model::secret::SealedDataKey;
use stackbell_model::source::SourceCursor;
use stackbell_model::webhook::{Format, Webhook};

use super::Noun;
use crate::audit::AuditRecord;
use crate::history::{StoredEvent, attempt_size};
use crate::statistics::Tally;

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedOrganization {
    /// The organization.
    pub organization: Organization,
    /// See [`crate::webhooks::OrganizationWebhooks::version`].
    pub version: u64,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedToken {
    /// The token.
    pub token: Token,
    /// What it is found by.
    pub hash: TokenHash,
}

/// The cursor of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedCursor {
    /// The organization that configured the source.
    pub organization: OrganizationId,
    /// The source.
    pub source: SourceId,
    /// Its cursor.
    pub cursor: SourceCursor,
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// When it was deleted, and by whom.
    pub deleted: Option<(Timestamp, Box<str>)>,
}

/// What a delivery is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverySubject {
    /// An event.
    Event(EventKey),
    /// A ping, by its id on the wire.
    Ping(EventId),
}

/// A delivery, without what can be read elsewhere: its event's payload and ids, its webhook's organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedDelivery {
    /// See [`stackbell_model::delivery::Delivery::id`].
    pub id: DeliveryId,
    /// See [`stackbell_model::delivery::Delivery::webhook`].
    pub webhook: WebhookId,
    /// What it is of.
    pub subject: DeliverySubject,
    /// See [`stackbell_model::delivery::Delivery::format`].
    pub format: Format,
    /// See [`stackbell_model::delivery::Delivery::created_at`].
    pub created_at: Timestamp,
    /// See [`stackbell_model::delivery::Delivery::rearmed_at`].
    pub rearmed_at: Option<Timestamp>,
    /// See [`stackbell_model::delivery::Delivery::attempts_spent`].
    pub attempts_spent: u32,
    /// See [`stackbell_model::delivery::Delivery::state`].
    pub state: State,
    /// See [`stackbell_model::delivery::Delivery::body`].
    pub body: Option<Bytes>,
}

/// An attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedAttempt {
    /// Its place among all attempts: later ones have greater numbers. The one number that stays, as it is nothing else.
    pub number: i64,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Its delivery's webhook.
    pub webhook: WebhookId,
    /// The attempt.
    pub attempt: Attempt,
}

/// A recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedRecovery {
    /// The recovery.
    pub recovery: Recovery,
    /// When the last delivery was made that it has looked at; its `since` before the first.
    pub after_created_at: Timestamp,
    /// That delivery; `None` before the first.
    pub after: Option<DeliveryId>,
}

/// What an hour saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedTally {
    /// When it began.
    pub hour: Timestamp,
    /// Of which organization.
    pub organization: OrganizationId,
    /// Of which webhook; `None` for the organization as a whole.
    pub webhook: Option<WebhookId>,
    /// What it saw.
    pub tally: Tally,
}

macro_rules! rows {
    ($($variant:ident($row:ty),)+) => {
        /// Rows of one noun.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is its noun's")]
        pub enum Rows {
            $($variant(Vec<$row>),)+
        }

        impl Rows {
            /// Of which noun.
            pub fn noun(&self) -> Noun {
                match self {
                    $(Self::$variant(_) => Noun::$variant,)+
                }
            }

            /// How many.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$variant(rows) => rows.len(),)+
                }
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Does something with each.
            pub(super) fn each(&self, mut with: impl FnMut(&dyn super::digest::Row)) {
                match self {
                    $(Self::$variant(rows) => rows.iter().for_each(|row| with(row)),)+
                }
            }
        }
    };
}

rows! {
    Organizations(CopiedOrganization),
    Users(User),
    Memberships(Membership),
    Tokens(CopiedToken),
    DataKeys(SealedDataKey),
    DeploymentsCredentials(DeploymentsCredential),
    SourceCursors(CopiedCursor),
    Webhooks(CopiedWebhook),
    Events(StoredEvent),
    Deliveries(CopiedDelivery),
    Attempts(CopiedAttempt),
    Recoveries(CopiedRecovery),
    Tallies(CopiedTally),
    Audit(AuditRecord),
}

impl CopiedDelivery {
    /// The bytes of what has no small limit: what a page of these is cut by.
    pub fn size(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.len() as u64)
    }
}

impl CopiedAttempt {
    /// The bytes of what has no small limit: what a page of these is cut by.
    pub fn size(&self) -> u64 {
        attempt_size(&self.attempt)
    }
}
