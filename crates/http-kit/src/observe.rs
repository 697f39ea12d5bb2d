//! One span, one request id and one line of the log for each request. The log never has a query, a body or a credential.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::Instrument;

use crate::auth::{CallerSeen, client};
use crate::context::Context;
use crate::error::{Fault, HttpError, Lasting};

/// Source: wire-facts.md#errors.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-pulumi-request-id");

/// The outermost layer.
pub(crate) async fn observe(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = CallerSeen::default();
    request.extensions_mut().insert(caller.clone());
    let id = context.request_id();
    let client = client(request.extensions(), request.headers(), &context);
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        request.id = id.to_str().unwrap_or_default(),
        http.method = request.method().as_str(),
        http.route = route,
        client.address = client.map(tracing::field::display),
    );
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = begun.elapsed();
    context.settings.requests.count(route, response.status(), took);
    context.refusals.log_left_out();
    span.in_scope(|| log(&response, took, &caller, &context));
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn log(response: &Response, took: Duration, caller: &CallerSeen, context: &Context) {
    let status = response.status();
    let duration_ms = took.as_secs_f64() * 1000.0;
    let code = status.as_u16();
    match response.extensions().get::<Lasting>() {
        Some(Lasting(reason)) if context.lasting_reasons.next_line().is_some() => {
            tracing::warn!(
                http.status = code,
                error = &**reason,
                "requests are refused (logged at most once a minute)"
            );
        }
        None if status.is_client_error() || status.is_server_error() => {
            // A publisher's token is verified late: after a 401 the caller was not known.
            let is_known = caller.is_known() && status != StatusCode::UNAUTHORIZED;
            if let Some(left_out) = context.refusals.of(is_known).next_line() {
                let left_out = (left_out > 0).then_some(left_out);
                match response.extensions().get::<Fault>() {
                    Some(fault) => fault.log(Some(duration_ms), left_out),
                    None => tracing::info!(http.status = code, duration_ms, left_out, "refused"),
                }
            }
        }
        Some(_) | None => tracing::debug!(http.status = code, duration_ms, "answered"),
    }
}

/// The response after a panic in a handler.
pub(crate) fn panic_response(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("of another type"), "a handler panicked");
    HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the server, see its log").into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_json() {
        let response = panic_response(&"oh".to_owned());
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(response.into_body(), 1024).await.expect("a short body");
        let expected =
            br#"{"code":500,"message":"Internal Server Error: a defect of the server, see its log"}"#;
        assert_eq!(body.as_ref(), expected);
    }
}
