//! Lists in pages: where to begin, how much, and how to go on.

use axum::http::header::LINK;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use stackbell_wire::rest::page::{BadToken, Cursor};

use super::answer;
use super::error::HttpError;
use super::query::QueryTexts;

pub(crate) const PAGE_SIZE: &str = "pageSize";
pub(crate) const CONTINUATION_TOKEN: &str = "continuationToken";

/// What errors call the thing that these parameters are about.
const PAGE: &str = "Page";

const CONTINUATION_HEADER: HeaderName = HeaderName::from_static("pulumi-continuation-token");

/// Which part of a list is asked for.
pub(crate) struct PageAsked {
    /// How many, where that was said.
    pub(crate) size: Option<usize>,
    after: Option<Cursor>,
}

impl PageAsked {
    /// Reads both parameters; a page has at most `size_max`.
    ///
    /// # Errors
    /// 400 that names the one that is wrong.
    pub(crate) fn read(query: &QueryTexts, size_max: usize) -> Result<Self, HttpError> {
        let size = query.find(PAGE_SIZE).map(|text| read_size(text, size_max)).transpose()?;
        let after = query.find(CONTINUATION_TOKEN).map(Cursor::from_token).transpose();
        Ok(Self { size, after: after.map_err(bad_token)? })
    }

    /// What the list begins after, read by `read` from the kind of cursor that the list has.
    ///
    /// # Errors
    /// 400 for a token of another list.
    pub(crate) fn after<T>(&self, read: impl Fn(&Cursor) -> Option<T>) -> Result<Option<T>, HttpError> {
        match &self.after {
            None => Ok(None),
            Some(cursor) => read(cursor).map(Some).ok_or_else(|| bad_token(BadToken)),
        }
    }

    /// The page, with what the next one is asked for by, if there is one.
    pub(crate) fn answer(&self, uri: &Uri, items: &[impl Serialize], next: Option<&Cursor>) -> Response {
        self.lead_on(uri, answer::json(StatusCode::OK, &items), next)
    }

    /// The answer with what the next page is asked for by, if there is one.
    pub(crate) fn lead_on(&self, uri: &Uri, mut response: Response, next: Option<&Cursor>) -> Response {
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

/// The id in a cursor.
pub(crate) fn id<T>(make: impl Fn(uuid::Uuid) -> T) -> impl Fn(&Cursor) -> Option<T> {
    move |cursor| match cursor {
        Cursor::Id(id) => Some(make(*id)),
        Cursor::Name(_) => None,
    }
}

/// The name in a cursor.
pub(crate) fn name<T, E>(parse: impl Fn(&str) -> Result<T, E>) -> impl Fn(&Cursor) -> Option<T> {
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
