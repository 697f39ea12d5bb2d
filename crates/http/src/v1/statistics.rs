//! Statistics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use stackbell_app::statistics::{Bucket, Interval, StatisticsRequest, StatisticsView, attempt_mean};
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::{Description, one};
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::media_type::JSON;
use stackbell_http_kit::need::Need;
use stackbell_http_kit::path::InOrganization;
use stackbell_http_kit::query::{MOMENT, QueryTexts};
use stackbell_http_kit::response;
use stackbell_model::ids::WebhookId;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::operation::{StatisticsBucket, StatisticsResponse, UsageResponse};
use stackbell_wire::rest::{read_rfc3339, rfc3339};
use utoipa::openapi::schema::Type;

use crate::Route;

const STATISTICS: &str = "Statistics";

pub(super) fn routes() -> [Route; 1] {
    let summary = "Get the statistics of an organization or of one of its webhooks, by hours or days in UTC, and the usage of the organization.";
    let description = Description::new("GetStatistics", &["Deliveries"], summary)
        .guarded()
        .query("webhook", "Only the webhook with this id.", Type::String)
        .query(
            "from",
            "The hour or day of this moment (RFC 3339) is the first; the last 24 hours or 30 days if absent.",
            Type::String,
        )
        .query("to", "Up to this moment (RFC 3339); now if absent.", Type::String)
        .query("interval", "`hour` (if absent; at most 31 days) or `day` (at most 366).", Type::String)
        .response(StatusCode::OK, "Success.", [(JSON, one::<StatisticsResponse>())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.");
    [Route::new(Method::GET, "/v1/orgs/{orgName}/statistics", Need::In(Permission::Read), get)
        .described(description)]
}

async fn get(
    State(context): State<Arc<Context>>,
    at: InOrganization,
    uri: Uri,
) -> Result<Response, HttpError> {
    let query = QueryTexts::only(&uri, &["webhook", "from", "to", "interval"])?;
    let interval = query.read(STATISTICS, "interval", Interval::parse, "'hour' or 'day'")?;
    let request = StatisticsRequest {
        webhook: query.read(STATISTICS, "webhook", WebhookId::parse, "the id of a webhook")?,
        from: query.read(STATISTICS, "from", read_rfc3339, MOMENT)?,
        to: query.read(STATISTICS, "to", read_rfc3339, MOMENT)?,
        interval: interval.unwrap_or(Interval::Hour),
    };
    let view = context.app.statistics(&at.caller, request).await;
    Ok(response::json(StatusCode::OK, &show(&view.map_err(about(STATISTICS))?)))
}

fn show(view: &StatisticsView) -> StatisticsResponse {
    StatisticsResponse {
        interval: view.interval.as_str(),
        buckets: view.buckets.iter().map(show_bucket).collect(),
        usage: UsageResponse {
            pending: view.usage.pending,
            pending_max: view.quota.pending_max,
            stored_bytes: view.usage.stored_bytes,
            stored_bytes_max: view.quota.stored_bytes_max,
        },
    }
}

fn show_bucket(Bucket { start, tally }: &Bucket) -> StatisticsBucket {
    let milliseconds = |mean: std::time::Duration| u64::try_from(mean.as_millis()).unwrap_or(u64::MAX);
    StatisticsBucket {
        start: rfc3339(*start),
        events: tally.events,
        made: tally.made,
        succeeded: tally.succeeded,
        failed: tally.failed,
        cancelled: tally.cancelled,
        attempts: tally.attempts,
        attempts_failed: tally.attempts_failed,
        attempt_mean_ms: attempt_mean(tally).map(milliseconds),
    }
}
