//! What is copied from one store into another: other rows with what is beside them.

use stackbell_model::deployments::{DeploymentsCredential, StackReference};
use stackbell_model::identity::{Membership, TokenHash};
use stackbell_model::secret::Sealed;
use stackbell_model::source::SourceCursor;
use stackbell_model::webhook::Format;

use super::Columns;
use super::attempt::read_attempt;
use super::delivery::read_state;
use super::identity::{read_organization, read_role, read_token};
use super::recovery::read_recovery;
use super::webhook::read_webhook;
use crate::statistics::Tally;
use crate::transfer::rows::{
    CopiedAttempt, CopiedCursor, CopiedDelivery, CopiedOrganization, CopiedRecovery, CopiedTally,
    CopiedToken, CopiedWebhook, DeliverySubject,
};

/// [`organization_columns`](crate::organization_columns), then `version`.
///
/// # Errors
/// When the row does not make sense.
pub fn read_copied_organization<'row, C: Columns<'row>>(
    cursor: &mut C,
) -> Result<CopiedOrganization, C::Fault> {
    Ok(CopiedOrganization { organization: read_organization(cursor)?, version: cursor.count("version")? })
}

/// The ids of its organization and its user, then `role`.
///
/// # Errors
/// When the row does not make sense.
pub fn read_membership<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Membership, C::Fault> {
    cursor.enter("memberships");
    Ok(Membership {
        organization: cursor.id("organization_number")?,
        user: cursor.id("user_number")?,
        role: read_role(cursor)?,
    })
}

/// [`token_columns`](crate::token_columns), then `hash`.
///
/// # Errors
/// When the row does not make sense.
pub fn read_copied_token<'row, C: Columns<'row>>(cursor: &mut C) -> Result<CopiedToken, C::Fault> {
    cursor.enter("tokens");
    let token = read_token(cursor)?;
    let hash = cursor.digest_or_null("hash")?.ok_or_else(|| cursor.fault("hash", &"is null"))?;
    Ok(CopiedToken { token, hash: TokenHash(hash) })
}

/// Its organization's id, then `api_url` to `set_at`.
///
/// # Errors
/// When the row does not make sense.
pub fn read_credential<'row, C: Columns<'row>>(cursor: &mut C) -> Result<DeploymentsCredential, C::Fault> {
    cursor.enter("deployments_credentials");
    Ok(DeploymentsCredential {
        organization: cursor.id("organization_number")?,
        api_url: cursor.parsed("api_url", str::parse)?,
        token: Sealed { key: cursor.id("token_key")?, bytes: cursor.bytes("token")?.into() },
        stacks: cursor.words("stacks", StackReference::parse)?,
        set_at: cursor.time("set_at")?,
    })
}

/// The ids of its organization and its source, then `cursor`.
///
/// # Errors
/// When the row does not make sense.
pub fn read_copied_cursor<'row, C: Columns<'row>>(cursor: &mut C) -> Result<CopiedCursor, C::Fault> {
    cursor.enter("source_cursors");
    Ok(CopiedCursor {
        organization: cursor.id("organization_number")?,
        source: cursor.id("source")?,
        cursor: cursor.word("cursor", SourceCursor::parse)?,
    })
}

/// [`webhook_columns`](crate::webhook_columns), then `deleted_at` and `deleted_by`.
///
/// # Errors
/// When the row does not make sense.
pub fn read_copied_webhook<'row, C: Columns<'row>>(cursor: &mut C) -> Result<CopiedWebhook, C::Fault> {
    let webhook = read_webhook(cursor)?;
    let deleted_at = cursor.time_or_null("deleted_at")?;
    let deleted_by = cursor.text_or_null("deleted_by")?.map(Into::into);
    Ok(CopiedWebhook { webhook, deleted: deleted_at.zip(deleted_by) })
}

/// `id`, its webhook's id, its event's key or `ping_id`, then `format` to `attempts_spent`, its state's columns and `body`.
///
/// # Errors
/// When the row does not make sense.
pub fn read_copied_delivery<'row, C: Columns<'row>>(cursor: &mut C) -> Result<CopiedDelivery, C::Fault> {
    cursor.enter("deliveries");
    let id = cursor.id("id")?;
    let webhook = cursor.id("webhook_number")?;
    let event = cursor.id_or_null("event_number")?;
    let ping = cursor.id_or_null("ping_id")?;
    let subject = match (event, ping) {
        (Some(key), None) => DeliverySubject::Event(key),
        (None, Some(id)) => DeliverySubject::Ping(id),
        (Some(_), Some(_)) | (None, None) => {
            return Err(cursor.fault("event_number", &"there is neither its event nor a ping, or both"));
        }
    };
    Ok(CopiedDelivery {
        id,
        webhook,
        subject,
        format: cursor.word("format", Format::parse)?,
        created_at: cursor.time("created_at")?,
        rearmed_at: cursor.time_or_null("rearmed_at")?,
        attempts_spent: cursor.number("attempts_spent")?,
        state: read_state(cursor)?,
        body: cursor.unpacked_or_null("body")?,
    })
}

/// `number`, the ids of its delivery and its webhook, then [`attempt_columns`](crate::attempt_columns).
///
/// # Errors
/// When the row does not make sense.
pub fn read_copied_attempt<'row, C: Columns<'row>>(cursor: &mut C) -> Result<CopiedAttempt, C::Fault> {
    cursor.enter("attempts");
    Ok(CopiedAttempt {
        number: cursor.integer("number")?,
        delivery: cursor.id("delivery_number")?,
        webhook: cursor.id("webhook_number")?,
        attempt: read_attempt(cursor)?,
    })
}

/// [`recovery_columns`](crate::recovery_columns), then `after_created_at` and `after_id`, which is null before the first.
///
/// # Errors
/// When the row does not make sense.
pub fn read_copied_recovery<'row, C: Columns<'row>>(cursor: &mut C) -> Result<CopiedRecovery, C::Fault> {
    Ok(CopiedRecovery {
        recovery: read_recovery(cursor)?,
        after_created_at: cursor.time("after_created_at")?,
        after: cursor.id_or_null("after_id")?,
    })
}

/// `hour`, the ids of its organization and its webhook, then `events` to `attempts_took`.
///
/// # Errors
/// When the row does not make sense.
pub fn read_copied_tally<'row, C: Columns<'row>>(cursor: &mut C) -> Result<CopiedTally, C::Fault> {
    cursor.enter("tallies");
    Ok(CopiedTally {
        hour: cursor.time("hour")?,
        organization: cursor.id("organization_number")?,
        webhook: cursor.id_or_null("webhook_number")?,
        tally: Tally {
            events: cursor.count("events")?,
            made: cursor.count("made")?,
            succeeded: cursor.count("succeeded")?,
            failed: cursor.count("failed")?,
            cancelled: cursor.count("cancelled")?,
            attempts: cursor.count("attempts")?,
            attempts_failed: cursor.count("attempts_failed")?,
            attempts_took: cursor.duration("attempts_took")?,
        },
    })
}
