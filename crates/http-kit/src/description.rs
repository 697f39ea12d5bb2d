//! Routes as the OpenAPI document describes them.

use axum::http::StatusCode;
use stackbell_wire::rest::error::ErrorBody;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Deprecated, Ref, RefOr, Required, ResponseBuilder};

use crate::media_type::JSON;
use crate::pagination::{CONTINUATION_TOKEN, PAGE_SIZE};

/// The description of one operation.
pub struct Description {
    operation: OperationBuilder,
    /// The query parameters. The document lists the path's before them.
    parameters: Vec<Parameter>,
}

/// A reference to the schema of `T`.
pub fn one<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// An array of `T`.
pub fn many<T: ToSchema>() -> RefOr<Schema> {
    ArrayBuilder::new().items(one::<T>()).into()
}

impl Description {
    /// An operation with its id, tags and summary.
    pub fn new(id: impl Into<String>, tags: &[&str], summary: &str) -> Self {
        let operation = OperationBuilder::new()
            .operation_id(Some(id))
            .tags(Some(tags.iter().copied()))
            .summary(Some(summary));
        Self { operation, parameters: Vec::new() }
    }

    fn map(self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        Self { operation: change(self.operation), ..self }
    }

    /// Marks the operation as deprecated.
    #[must_use]
    pub fn deprecated(self) -> Self {
        self.map(|operation| operation.deprecated(Some(Deprecated::True)))
    }

    /// Adds an optional query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, text: &str, kind: Type) -> Self {
        self.parameters.push(parameter(name, text, ParameterIn::Query, kind));
        self
    }

    /// Adds both parameters of pages. `size` describes the page size.
    #[must_use]
    pub fn paged(self, size: &str) -> Self {
        self.query(PAGE_SIZE, size, Type::Integer).continued()
    }

    /// Adds the parameter of a list that goes on in further requests.
    #[must_use]
    pub fn continued(self) -> Self {
        let text = "The Pulumi-Continuation-Token header of the previous response.";
        self.query(CONTINUATION_TOKEN, text, Type::String)
    }

    /// Adds a request body in these media types, and the errors of every route that reads a body.
    #[must_use]
    pub fn request(self, contents: impl IntoIterator<Item = (&'static str, RefOr<Schema>)>) -> Self {
        let body = RequestBodyBuilder::new().required(Some(Required::True));
        let body = contents.into_iter().fold(body, |body, (media_type, schema)| {
            body.content(media_type, ContentBuilder::new().schema(Some(schema)).build())
        });
        self.map(|operation| operation.request_body(Some(body.build())))
            .refuses(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time.")
            .refuses(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.")
            .refuses(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The Content-Encoding is not accepted: only gzip, or none.",
            )
    }

    /// Adds a response without a body.
    #[must_use]
    pub fn empty(self, status: StatusCode, text: &str) -> Self {
        let response = ResponseBuilder::new().description(text).build();
        self.map(|operation| operation.response(status.as_str(), response))
    }

    /// Adds a response with a body in these media types.
    #[must_use]
    pub fn response(
        self,
        status: StatusCode,
        text: &str,
        contents: impl IntoIterator<Item = (&'static str, RefOr<Schema>)>,
    ) -> Self {
        let response = ResponseBuilder::new().description(text);
        let response = contents.into_iter().fold(response, |response, (media_type, schema)| {
            response.content(media_type, ContentBuilder::new().schema(Some(schema)).build())
        });
        self.map(|operation| operation.response(status.as_str(), response.build()))
    }

    /// Adds an error response.
    #[must_use]
    pub fn refuses(self, status: StatusCode, text: &str) -> Self {
        self.response(status, text, [(JSON, one::<ErrorBody>())])
    }

    /// Adds the error responses of every route that needs a token. A later description of one of these statuses replaces it.
    #[must_use]
    pub fn guarded(self) -> Self {
        self.refuses(StatusCode::BAD_REQUEST, "The path or a parameter is invalid.")
            .refuses(StatusCode::UNAUTHORIZED, "No token, or an invalid one.")
            .refuses(StatusCode::FORBIDDEN, "The token may not do this.")
            .refuses(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests, or a quota is reached: try again after `Retry-After` seconds.",
            )
            .refuses(
                StatusCode::SERVICE_UNAVAILABLE,
                "Temporarily unavailable: try again after `Retry-After` seconds.",
            )
    }

    /// The operation at a path. `describe` gives the description of each path parameter by its name.
    pub fn of_path(self, path: &str, describe: impl Fn(&str) -> &'static str) -> Operation {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let of_path = names.map(|name| parameter(name, describe(name), ParameterIn::Path, Type::String));
        let parameters: Vec<_> = of_path.chain(self.parameters).collect();
        let operation = parameters.into_iter().fold(self.operation, OperationBuilder::parameter);
        operation.build()
    }
}

fn parameter(name: &str, text: &str, place: ParameterIn, kind: Type) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .description(Some(text))
        .parameter_in(place)
        .required(required)
        .schema(Some(ObjectBuilder::new().schema_type(kind)))
        .build()
}
