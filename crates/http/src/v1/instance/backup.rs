//! A backup, streamed. The time limit of other requests does not apply: the time depends on the disk and the reader. If the
//! reader goes away, the copy is removed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use stackbell_app::instance::backup::StoreCopy;
use stackbell_http_kit::auth::Authenticated;
use stackbell_http_kit::context::Context;
use stackbell_http_kit::description::Description;
use stackbell_http_kit::error::{HttpError, about};
use stackbell_http_kit::need::Need;
use stackbell_http_kit::query::QueryTexts;
use tokio_util::io::ReaderStream;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::{INSTANCE, TAGS};
use crate::Route;

/// The media type of the file. Source: the registry of media types, `application/vnd.sqlite3`.
pub(crate) const SQLITE: &str = "application/vnd.sqlite3";

/// Source: RFC 9530.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The bytes that are read from the disk at once.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) fn route() -> Route {
    let file = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
    let summary = "Get a copy of the store as of this moment, with its length and digest. It does not contain the master key. For operators.";
    let description = Description::new("BackUp", TAGS, summary)
        .guarded()
        .response(StatusCode::OK, "The file.", [(SQLITE, file.into())])
        .refuses(StatusCode::BAD_REQUEST, "A parameter is invalid.")
        .refuses(StatusCode::CONFLICT, "Another backup is being made or read, or the store makes none.");
    Route::unlimited(Method::POST, "/v1/instance/backup", Need::Operator, back_up).described(description)
}

async fn back_up(
    State(context): State<Arc<Context>>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, HttpError> {
    QueryTexts::only(&uri, &[])?;
    // The copy is completed, and then removed, even if the client hangs up. If it were dropped halfway, the store would
    // continue to write into a file of the next backup.
    let app = Arc::clone(&context.app);
    let making = context.settings.changes.spawn(async move { app.back_up(&caller).await });
    let made =
        making.await.map_err(|error| HttpError::internal("the backup was not read completely", error))?;
    Ok(answer(made.map_err(about(INSTANCE))?))
}

fn answer(copy: StoreCopy) -> Response {
    let StoreCopy { file, bytes, sha256, guard } = copy;
    let digest = format!("sha-256=:{}:", STANDARD.encode(sha256));
    let digest = HeaderValue::from_str(&digest).expect("base64 may be in a header");
    let file = tokio::fs::File::from_std(file);
    // The file is removed with the end of the stream.
    let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).map(move |chunk| {
        let _kept = &guard;
        chunk
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(SQLITE)),
        (CONTENT_LENGTH, HeaderValue::from(bytes)),
        (CONTENT_DIGEST, digest),
    ];
    (StatusCode::OK, headers, Body::from_stream(chunks)).into_response()
}
