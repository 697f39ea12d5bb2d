//! Pages of lists: where a page begins, how large it is, and how a client asks for the next one.

use axum::http::header::LINK;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use stackbell_wire::rest::page::{BadToken, Cursor};

use crate::error::HttpError;
use crate::query::QueryTexts;
use crate::response;

/// The query parameter for the size of a page.
pub const PAGE_SIZE: &str = "pageSize";
/// The query parameter for the place where a page begins.
pub const CONTINUATION_TOKEN: &str = "continuationToken";

/// The resource that errors about these parameters name.
const PAGE: &str = "Page";

const CONTINUATION_HEADER: HeaderName = HeaderName::from_static("pulumi-continuation-token");

/// The page of a list that a request asks for.
pub struct PageRequest {
    /// The number of items, if the request gives it.
    pub size: Option<usize>,
    after: Option<Cursor>,
}

impl PageRequest {
    /// Reads both parameters; a page has at most `size_max` items.
    ///
    /// # Errors
    /// 400 that names the wrong parameter.
    pub fn read(query: &QueryTexts, size_max: usize) -> Result<Self, HttpError> {
        let size = query.find(PAGE_SIZE).map(|text| read_size(text, size_max)).transpose()?;
        let after = query.find(CONTINUATION_TOKEN).map(Cursor::from_token).transpose();
        Ok(Self { size, after: after.map_err(bad_token)? })
    }

    /// The item that the page begins after. `read` takes it from the kind of cursor that the list uses.
    ///
    /// # Errors
    /// 400 for a token of another list.
    pub fn after<T>(&self, read: impl Fn(&Cursor) -> Option<T>) -> Result<Option<T>, HttpError> {
        match &self.after {
            None => Ok(None),
            Some(cursor) => read(cursor).map(Some).ok_or_else(|| bad_token(BadToken)),
        }
    }

    /// The page as a response, with headers that lead to the next page if there is one.
    pub fn respond(&self, uri: &Uri, items: &[impl Serialize], next: Option<&Cursor>) -> Response {
        self.with_next(uri, response::json(StatusCode::OK, &items), next)
    }

    /// `response` with headers that lead to the next page, if there is one.
    pub fn with_next(&self, uri: &Uri, mut response: Response, next: Option<&Cursor>) -> Response {
        if let Some(next) = next {
            let token = next.to_token();
            let size = self.size.map(|size| format!("{PAGE_SIZE}={size}&")).unwrap_or_default();
            let link = format!("<{}?{size}{CONTINUATION_TOKEN}={token}>; rel=\"next\"", uri.path());
            let value =
                |text: &str| HeaderValue::from_str(text).expect("a path and a token are visible ASCII");
            response.headers_mut().insert(CONTINUATION_HEADER, value(&token));
            response.headers_mut().insert(LINK, value(&link));
        }
        response
    }
}

/// Takes the id out of a cursor.
pub fn id<T>(make: impl Fn(uuid::Uuid) -> T) -> impl Fn(&Cursor) -> Option<T> {
    move |cursor| match cursor {
        Cursor::Id(id) => Some(make(*id)),
        Cursor::Name(_) => None,
    }
}

/// Takes the name out of a cursor.
pub fn name<T, E>(parse: impl Fn(&str) -> Result<T, E>) -> impl Fn(&Cursor) -> Option<T> {
    move |cursor| match cursor {
        Cursor::Name(name) => parse(name).ok(),
        Cursor::Id(_) => None,
    }
}

fn read_size(text: &str, max: usize) -> Result<usize, HttpError> {
    let size = text.parse().ok().filter(|size| (1..=max).contains(size));
    let refuse =
        || HttpError::invalid(PAGE, PAGE_SIZE, format!("{PAGE_SIZE} must be a number from 1 to {max}"));
    size.ok_or_else(refuse)
}

fn bad_token(error: BadToken) -> HttpError {
    HttpError::invalid(PAGE, CONTINUATION_TOKEN, format!("{CONTINUATION_TOKEN} {error}"))
}
