//! Identifiers. Each has its own type, so one cannot be passed for another.

use std::fmt;

use uuid::Uuid;

use crate::{Entropy, Timestamp};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps an existing UUID, for example one read from a store.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Parses the usual text form of a UUID, in either case; `None` when the text has another form.
            pub fn parse(text: &str) -> Option<Self> {
                // The library also accepts braces and URNs; our API does not.
                (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().map(Self)
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }
    };
}

macro_rules! ordered_id {
    ($(#[$doc:meta])* $name:ident) => {
        id!($(#[$doc])* $name);

        impl $name {
            /// Generates a new id, ordered by `now`.
            pub fn generate(now: Timestamp, entropy: &mut dyn Entropy) -> Self {
                Self(entropy.uuid_v7(now))
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        id!($(#[$doc])* $name);

        impl $name {
            /// Generates a new random id.
            pub fn generate(entropy: &mut dyn Entropy) -> Self {
                Self(entropy.uuid_v4())
            }
        }
    };
}

ordered_id!(
    /// An organization. Its id stays when the name changes.
    OrganizationId
);
ordered_id!(
    /// A user.
    UserId
);
ordered_id!(
    /// An access token (its row, not its secret).
    TokenId
);
ordered_id!(
    /// A webhook. Its id stays when the name changes, and is never reused after the webhook is deleted.
    WebhookId
);
ordered_id!(
    /// An event's row. Producers and receivers see the [`EventId`] instead.
    EventKey
);
ordered_id!(
    /// A delivery.
    DeliveryId
);
ordered_id!(
    /// A recovery of a webhook's deliveries.
    RecoveryId
);
ordered_id!(
    /// An entry in the audit log.
    AuditId
);
ordered_id!(
    /// A source of events that an organization configured.
    SourceId
);
random_id!(
    /// The public id of an event: any UUID, unique in its organization while the event is kept.
    /// A ping has one too. On the wire: `Pulumi-Webhook-Id`, and `id` of a `WebhookDelivery`.
    EventId
);
random_id!(
    /// A data key, sealed by the master key.
    DataKeyId
);
random_id!(
    /// The token of a lease. Its holder may record the outcome of the delivery. It is random, so a late
    /// holder cannot pass for a newer one.
    LeaseToken
);
random_id!(
    /// A group commit. After losing its connection, a store uses the id to find out whether the commit
    /// happened.
    BatchId
);
random_id!(
    /// A running node, from its start to its end.
    NodeId
);
