//! Identifiers. Each is its own type, so that one cannot be passed for another.

use std::fmt;

use uuid::Uuid;

use crate::{Entropy, Timestamp};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that was made elsewhere, as when read from a store.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Reads the usual text of a UUID, in either case; `None` when it is none.
            pub fn parse(text: &str) -> Option<Self> {
                // Braces and URNs are UUIDs to the library, and not to our readers.
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
            /// Makes a new one, ordered by `now`.
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
            /// Makes a new one, from chance alone.
            pub fn generate(entropy: &mut dyn Entropy) -> Self {
                Self(entropy.uuid_v4())
            }
        }
    };
}

ordered_id!(
    /// An organization, whatever its name becomes.
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
    /// A webhook, whatever its name; never used again after the webhook is deleted.
    WebhookId
);
ordered_id!(
    /// An event's row. Producers and receivers see its [`EventId`] instead.
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
    /// An entry of the audit log.
    AuditId
);
random_id!(
    /// What producers and receivers call an event by: any UUID, unique in its organization while the event is kept.
    /// A ping has one too. On the wire: `Pulumi-Webhook-Id`, and `id` of a `WebhookDelivery`.
    EventId
);
random_id!(
    /// A data key under the master key.
    DataKeyId
);
random_id!(
    /// Proof that its holder may record what became of a delivery. Random, so that a late holder cannot pass for the next.
    LeaseToken
);
random_id!(
    /// A group commit: what a store that lost its connection meanwhile finds out by whether it happened.
    BatchId
);
random_id!(
    /// A node at work, from its start to its end.
    NodeId
);
