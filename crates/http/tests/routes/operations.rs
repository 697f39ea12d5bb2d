//! Health, metrics, the OpenAPI document, and surfaces.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use stackbell_http::Surface;

use crate::support::{TestResponse, World};

async fn get(world: &World, path: &str) -> TestResponse {
    world.send(Request::get(path).body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn health() {
    let world = World::start().await;
    assert_eq!(get(&world, "/healthz").await.expect(200), json!({"status": "ok"}));
    assert_eq!(get(&world, "/readyz").await.expect(200), json!({"status": "ok"}));
    world.is_serving.store(false, Ordering::SeqCst);
    assert_eq!(get(&world, "/healthz").await.expect(200), json!({"status": "ok"}));
    assert_eq!(get(&world, "/readyz").await.expect(503), json!({"status": "not serving"}));
}

#[tokio::test]
async fn readiness_ends_with_the_data_folder() {
    let world = World::start().await;
    world.has_folder.store(false, Ordering::SeqCst);
    assert_eq!(get(&world, "/readyz").await.expect(503), json!({"status": "data folder gone"}));
    assert_eq!(get(&world, "/healthz").await.expect(200), json!({"status": "ok"}));
}

#[tokio::test]
async fn metrics_are_open_metrics_for_those_who_ask_for_it() {
    let world = World::start().await;
    let classic = get(&world, "/metrics").await;
    assert_eq!(classic.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(classic.header("vary").map(|vary| vary.contains("accept")), Some(true));
    assert!(classic.text().contains("# TYPE stackbell_attempts_total counter\n"), "{}", classic.text());
    assert!(!classic.text().contains("# EOF"));
    let request = Request::get("/metrics").header("accept", "application/openmetrics-text;version=1.0.0");
    let open_metrics = world.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(
        open_metrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open_metrics.text().contains("# TYPE stackbell_attempts counter\n"), "{}", open_metrics.text());
    assert!(open_metrics.text().ends_with("# EOF\n"));
}

/// No label contains a path or a name, because clients choose them.
#[tokio::test]
async fn requests_are_counted_by_class_and_never_by_name() {
    let world = World::start().await;
    let series = |text: &str| text.lines().filter(|line| line.starts_with("stackbell_http_")).count();
    let before = series(get(&world, "/metrics").await.text());
    get(&world, "/v1/orgs/secret-name/webhooks").await.expect(401);
    get(&world, "/api/orgs/secret-name/hooks").await.expect(401);
    get(&world, "/secret-name").await.expect(404);
    world.send(Request::put("/healthz").body(Body::empty()).expect("a request")).await.expect(405);
    let metrics = get(&world, "/metrics").await;
    for counted in [
        r#"stackbell_http_requests_total{route="v1",status="4xx",code="401"} 1"#,
        r#"stackbell_http_requests_total{route="api",status="4xx",code="401"} 1"#,
        r#"stackbell_http_requests_total{route="unknown",status="4xx",code="404"} 1"#,
        r#"stackbell_http_requests_total{route="operations",status="4xx",code="405"} 1"#,
        r#"stackbell_http_requests_total{route="operations",status="2xx",code="200"} 1"#,
        r#"stackbell_http_request_duration_seconds_count{route="v1",status="4xx"} 1"#,
    ] {
        assert!(metrics.text().lines().any(|line| line == counted), "{counted}\n{}", metrics.text());
    }
    assert!(!metrics.text().contains("secret-name"), "{}", metrics.text());
    assert_eq!(series(metrics.text()), before, "no request adds a series");
}

#[tokio::test]
async fn the_document() {
    let world = World::start().await;
    let document = get(&world, "/openapi.json").await;
    assert_eq!(document.expect(200)["openapi"], "3.1.0");
    assert_eq!(document.text(), stackbell_http::openapi());
}

#[tokio::test]
async fn surfaces() {
    let apis = World::of_surface(Surface::Apis).await;
    get(&apis, "/healthz").await.expect(404);
    get(&apis, "/v1/orgs").await.expect(401);
    let operations = World::of_surface(Surface::Operations).await;
    get(&operations, "/healthz").await.expect(200);
    get(&operations, "/v1/orgs").await.expect(404);
}
