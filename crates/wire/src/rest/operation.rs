//! Operations: recoveries, statistics, the deployments credential, the instance.

use std::fmt;

use serde::Serialize;
use stackbell_model::Timestamp;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::body::{Body, BodyError};
use super::read_rfc3339;
use stackbell_model::field::FieldError;

/// A recovery to start.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct RecoveryRequest {
    /// Failed and cancelled deliveries created at this time or later are retried: RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl RecoveryRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is missing, unknown or wrong.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["since"])?;
        let since = body.text("since")?.ok_or_else(|| FieldError::missing("since"))?;
        let moment = read_rfc3339(&since);
        let since = moment
            .ok_or_else(|| FieldError::invalid("since", "must be a moment like 2026-05-13T06:19:04Z"))?;
        Ok(Self { since })
    }
}

/// A recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryResponse {
    /// Its id.
    pub id: String,
    /// The id of the webhook.
    pub webhook: String,
    /// Deliveries created at this time or later are retried: RFC 3339, UTC, milliseconds, like all times
    /// here.
    #[schema(format = DateTime)]
    pub since: String,
    /// When it was requested.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The user or service token that requested it.
    pub created_by: String,
    /// `running`, `done` or `abandoned` (the webhook was deleted).
    pub state: &'static str,
    /// The number of matching deliveries when it was requested.
    pub total: u64,
    /// The number of deliveries made pending again so far.
    pub rearmed: u64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub ended_at: Option<String>,
}

/// Statistics of a time span, and the organization's usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsResponse {
    /// `hour` or `day`: the length of a bucket.
    pub interval: &'static str,
    /// Oldest first, without gaps.
    pub buckets: Vec<StatisticsBucket>,
    /// The current usage of the organization.
    pub usage: UsageResponse,
}

/// The statistics of an hour or a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsBucket {
    /// Its start: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub start: String,
    /// Events accepted; 0 in the statistics of one webhook.
    pub events: u64,
    /// Deliveries created, including pings.
    pub made: u64,
    /// Deliveries that succeeded.
    pub succeeded: u64,
    /// Deliveries that failed.
    pub failed: u64,
    /// Deliveries that were cancelled.
    pub cancelled: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts without a 2xx.
    pub attempts_failed: u64,
    /// The mean duration of an attempt in milliseconds; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    pub attempt_mean_ms: Option<u64>,
}

/// The usage of an organization, and its quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageResponse {
    /// Pending deliveries.
    pub pending: u64,
    /// The maximum number of pending deliveries.
    pub pending_max: u64,
    /// Bytes of payloads, headers and responses, as they are stored.
    pub stored_bytes: u64,
    /// The maximum number of stored bytes.
    pub stored_bytes_max: u64,
}

/// An organization's credential for starting deployments, as it is set.
#[derive(Clone, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct DeploymentsRequest {
    /// The Pulumi API that starts deployments: `https://`, a host, and an optional path.
    #[schema(value_type = String)]
    pub api_url: Option<String>,
    /// The access token for it; never shown again. If absent, an existing token for the same URL is kept.
    #[schema(value_type = Option<String>, required = false)]
    pub token: Option<Zeroizing<String>>,
    /// The stacks that may be started, each as `project/stack`; at most 1,000.
    #[schema(value_type = Vec<String>)]
    pub stacks: Option<Vec<String>>,
}

impl DeploymentsRequest {
    /// Reads a request's body. Required fields are checked later.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is unknown or of the wrong type.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["apiUrl", "token", "stacks"])?;
        let token = body.text("token")?.map(Zeroizing::new);
        Ok(Self { api_url: body.text("apiUrl")?, token, stacks: body.texts("stacks")? })
    }
}

/// Hides the token.
impl fmt::Debug for DeploymentsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeploymentsRequest").field("stacks", &self.stacks).finish_non_exhaustive()
    }
}

/// An organization's credential for starting deployments, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentsResponse {
    /// The Pulumi API that starts deployments.
    pub api_url: String,
    /// Whether a token is set.
    pub has_token: bool,
    /// The stacks that may be started, each as `project/stack`.
    pub stacks: Vec<String>,
    /// When it was last set: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub set_at: String,
}

/// The installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InstanceResponse {
    /// The version of the server.
    pub version: &'static str,
    /// Whether deliveries are sent.
    pub sending: SendingResponse,
}

/// Whether deliveries are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SendingResponse {
    /// Whether sending is on hold: only pings and redeliveries are sent.
    pub held: bool,
    /// When the hold began: RFC 3339, UTC, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub since: Option<String>,
    /// The reason for the hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub reason: Option<String>,
}

/// The reason for holding all sending.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct HoldRequest {
    /// 1 to 256 characters, for users.
    #[schema(value_type = String)]
    pub reason: Option<String>,
}

impl HoldRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`BodyError`], naming the field that is unknown or of the wrong type.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        let body = Body::read(text)?;
        body.only(&["reason"])?;
        Ok(Self { reason: body.text("reason")? })
    }
}

/// The result of a rotation of the master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MasterKeyRotated {
    /// The number of data keys that were sealed again.
    pub data_keys: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_needs_a_moment() {
        let read = |text| RecoveryRequest::read(text).map_err(|error| error.to_string());
        let since = Timestamp::from_millis(1_778_653_144_000);
        assert_eq!(read(r#"{"since":"2026-05-13T06:19:04Z"}"#), Ok(RecoveryRequest { since }));
        assert_eq!(read("{}"), Err("since is required".to_owned()));
        let wrong = "since must be a moment like 2026-05-13T06:19:04Z";
        assert_eq!(read(r#"{"since":"yesterday"}"#), Err(wrong.to_owned()));
        assert!(read(r#"{"since":"2026-05-13T06:19:04Z","until":"x"}"#).is_err());
    }

    #[test]
    fn a_credential_hides_its_token() {
        let text = r#"{"apiUrl":"https://api.example","token":"pul-1","stacks":["a/b"]}"#;
        let read = DeploymentsRequest::read(text).expect("valid");
        assert_eq!(read.token.as_ref().map(|token| token.as_str()), Some("pul-1"));
        assert!(!format!("{read:?}").contains("pul-1"));
        assert!(DeploymentsRequest::read(r#"{"tokens":"x"}"#).is_err());
    }

    #[test]
    fn sending_says_why_it_is_held() {
        let shown = |sending| serde_json::to_string(&sending).expect("plain data");
        let on = SendingResponse { held: false, since: None, reason: None };
        assert_eq!(shown(on), r#"{"held":false}"#);
        let since = Some("2026-05-13T06:19:04.000Z".to_owned());
        let held = SendingResponse { held: true, since, reason: Some("restored".to_owned()) };
        let expected = r#"{"held":true,"since":"2026-05-13T06:19:04.000Z","reason":"restored"}"#;
        assert_eq!(shown(held), expected);
        assert_eq!(HoldRequest::read("{}"), Ok(HoldRequest { reason: None }));
    }
}
