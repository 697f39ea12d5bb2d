//! What people look after: recoveries, statistics, the deployments credential, the instance.

use std::fmt;

use serde::Serialize;
use stackbell_model::Timestamp;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::body::{Body, BodyError};
use super::read_rfc3339;
use crate::field::FieldError;

/// What is to be recovered.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct RecoveryRequest {
    /// Failed and cancelled deliveries made at this moment or later are tried again: RFC 3339.
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
    /// Of deliveries made at this moment or later: RFC 3339, UTC, milliseconds, as all moments here.
    #[schema(format = DateTime)]
    pub since: String,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who asked for it.
    pub created_by: String,
    /// `running`, `done` or `abandoned` (the webhook was deleted).
    pub state: &'static str,
    /// How many deliveries it was to be when it was asked for.
    pub total: u64,
    /// How many have been made pending again so far.
    pub rearmed: u64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub ended_at: Option<String>,
}

/// What was seen in a time, and what the organization keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsResponse {
    /// `hour` or `day`: how long a bucket is.
    pub interval: &'static str,
    /// Oldest first, without a gap.
    pub buckets: Vec<StatisticsBucket>,
    /// What the organization keeps now.
    pub usage: UsageResponse,
}

/// What an hour or a day saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsBucket {
    /// When it began: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub start: String,
    /// Events accepted; 0 where one webhook is asked for.
    pub events: u64,
    /// Deliveries made, pings included.
    pub made: u64,
    /// Deliveries that succeeded.
    pub succeeded: u64,
    /// Deliveries that failed.
    pub failed: u64,
    /// Deliveries that were cancelled.
    pub cancelled: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts that were not answered 2xx.
    pub attempts_failed: u64,
    /// How many milliseconds an attempt took on average; only where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    pub attempt_mean_ms: Option<u64>,
}

/// What an organization keeps, and what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageResponse {
    /// Pending deliveries.
    pub pending: u64,
    /// The most that there may be.
    pub pending_max: u64,
    /// Bytes of payloads, headers and answers, as they are stored.
    pub stored_bytes: u64,
    /// The most that there may be.
    pub stored_bytes_max: u64,
}

/// An organization's credential for starting deployments, as it is set.
#[derive(Clone, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct DeploymentsRequest {
    /// The Pulumi API that is asked to start deployments: `https://`, a host, perhaps a path.
    #[schema(value_type = String)]
    pub api_url: Option<String>,
    /// The access token for it; never shown again. May be left out where there is one for the same URL, which then stays.
    #[schema(value_type = Option<String>, required = false)]
    pub token: Option<Zeroizing<String>>,
    /// The stacks that may be started, each as `project/stack`; at most 1,000.
    #[schema(value_type = Vec<String>)]
    pub stacks: Option<Vec<String>>,
}

impl DeploymentsRequest {
    /// Reads a request's body. What has to be there is looked at later.
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
    /// The Pulumi API that is asked to start deployments.
    pub api_url: String,
    /// Whether there is a token for it.
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
    /// Whether anything is sent.
    pub sending: SendingResponse,
}

/// Whether anything is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SendingResponse {
    /// Whether sending is held: nothing goes out but pings and redeliveries.
    pub held: bool,
    /// Since when: RFC 3339, UTC, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    pub since: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub reason: Option<String>,
}

/// Why sending is to be held.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
pub struct HoldRequest {
    /// 1 to 256 characters, for people.
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

/// What was sealed with another master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MasterKeyRotated {
    /// How many data keys.
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
