//! Health, metrics, the document, and surfaces.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use stackbell_http::Surface;

use crate::support::{Answer, World};

async fn get(world: &World, path: &str) -> Answer {
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
async fn metrics_and_document() {
    let world = World::start().await;
    let metrics = get(&world, "/metrics").await;
    assert_eq!(
        metrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(metrics.text().ends_with("# EOF\n"));
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
