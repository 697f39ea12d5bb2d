//! Publishes events: one, an array, or lines of NDJSON.

use axum::extract::{FromRequest as _, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use stackbell_http_kit::body::RequestBody;
use stackbell_http_kit::description::{Description, many, one};
use stackbell_http_kit::error::HttpError;
use stackbell_http_kit::media_type::{JSON, NDJSON, NDJSON_NAMES};
use stackbell_http_kit::need::Need;
use stackbell_http_kit::query::QueryTexts;
use stackbell_http_kit::response;
use stackbell_http_kit::timeout::within_time;
use stackbell_model::permission::Permission;
use stackbell_wire::rest::event::{EventAccepted, EventRequest, EventsSummary, LineResult};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AnyOfBuilder, OneOfBuilder, Schema, Type};

use super::producer::{Producer, accepted};
use super::read::{NewEvents, read_events};
use super::{EVENT, PATH, TAGS, stream};
use crate::Route;

const RESULTS: &str = "results";

pub(super) fn route() -> Route {
    let summary = "Publish events: one, an array (all or none), or NDJSON (each line on its own).";
    let events: RefOr<Schema> =
        OneOfBuilder::new().item(one::<EventRequest<'_>>()).item(many::<EventRequest<'_>>()).into();
    let responses = AnyOfBuilder::new()
        .item(one::<EventAccepted>())
        .item(many::<EventAccepted>())
        .item(one::<EventsSummary>());
    let description = Description::new("PublishEvents", TAGS, summary)
        .guarded()
        .query(
            RESULTS,
            "For NDJSON: `summary` (the default), or `lines` for the result of each line.",
            Type::String,
        )
        .request([(JSON, events), (NDJSON, one::<EventRequest<'_>>())])
        .response(
            StatusCode::ACCEPTED,
            "Committed. For NDJSON: the body was read to its end; each line has its own result.",
            [(JSON, responses.into()), (NDJSON, one::<LineResult>())],
        )
        .refuses(StatusCode::BAD_REQUEST, "An event is invalid; the message names it and the problem.")
        .refuses(StatusCode::NOT_FOUND, "No such organization that the caller may see.")
        .refuses(StatusCode::CONFLICT, "An id belongs to an event with other content.");
    Route::unlimited(Method::POST, PATH, Need::In(Permission::Publish), publish)
        .self_checked()
        .described(description)
}

/// The form of the response to NDJSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Results {
    Summary,
    Lines,
}

async fn publish(producer: Producer, request: Request) -> Result<Response, HttpError> {
    let results = read_results(&QueryTexts::only(request.uri(), &[RESULTS])?)?;
    let is_ndjson = is_ndjson(request.headers());
    let body = RequestBody::from_request(request, producer.context()).await?;
    if is_ndjson {
        // All lines may be refused as invalid, so that no commit checks the right to publish.
        producer.confirm().await?;
    }
    match (is_ndjson, results) {
        (true, None | Some(Results::Summary)) => stream::summarize(producer, body.stream()).await,
        (true, Some(Results::Lines)) => Ok(stream::line_by_line(producer, body.stream())),
        (false, None) => within_time(publish_json(&producer, body.text())).await?,
        (false, Some(_)) => Err(wrong_results(&format!("is for {NDJSON} alone"))),
    }
}

async fn publish_json(
    producer: &Producer,
    text: impl Future<Output = Result<String, HttpError>>,
) -> Result<Response, HttpError> {
    let events = match producer.read(text.await?, read_events).await {
        Ok(events) => events,
        Err(error) => {
            producer.confirm().await?;
            return Err(error);
        }
    };
    let (events, is_array) = match events {
        NewEvents::One(event) => (vec![event], false),
        NewEvents::Many(events) => (events, true),
    };
    let shown: Vec<_> = producer.accept(events).await?.iter().map(accepted).collect();
    Ok(match shown.as_slice() {
        [one] if !is_array => response::json(StatusCode::ACCEPTED, one),
        all => response::json(StatusCode::ACCEPTED, &all),
    })
}

fn read_results(query: &QueryTexts) -> Result<Option<Results>, HttpError> {
    match query.find(RESULTS) {
        None => Ok(None),
        Some("summary") => Ok(Some(Results::Summary)),
        Some("lines") => Ok(Some(Results::Lines)),
        Some(_) => Err(wrong_results("must be 'summary' or 'lines'")),
    }
}

fn wrong_results(rule: &str) -> HttpError {
    HttpError::invalid(EVENT, RESULTS, format!("{RESULTS} {rule}"))
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default();
    NDJSON_NAMES.iter().any(|name| media_type.trim().eq_ignore_ascii_case(name))
}
