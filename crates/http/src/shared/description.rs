//! What the OpenAPI document says of a route.

use axum::http::StatusCode;
use stackbell_wire::rest::error::ErrorBody;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Deprecated, Ref, RefOr, Required, ResponseBuilder};

use super::pages::{CONTINUATION_TOKEN, PAGE_SIZE};

pub(crate) const JSON: &str = "application/json";

/// An operation, being described.
pub(crate) struct Description {
    operation: OperationBuilder,
    /// Those of the query; the path's come before them.
    parameters: Vec<Parameter>,
}

/// `T` as it is referred to.
pub(crate) fn one<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// An array of `T`.
pub(crate) fn many<T: ToSchema>() -> RefOr<Schema> {
    ArrayBuilder::new().items(one::<T>()).into()
}

impl Description {
    pub(crate) fn new(id: impl Into<String>, tags: &[&str], summary: &str) -> Self {
        let operation = OperationBuilder::new()
            .operation_id(Some(id))
            .tags(Some(tags.iter().copied()))
            .summary(Some(summary));
        Self { operation, parameters: Vec::new() }
    }

    fn map(self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        Self { operation: change(self.operation), ..self }
    }

    #[must_use]
    pub(crate) fn deprecated(self) -> Self {
        self.map(|operation| operation.deprecated(Some(Deprecated::True)))
    }

    /// A query parameter that may be left out.
    #[must_use]
    pub(crate) fn query(mut self, name: &str, text: &str, kind: Type) -> Self {
        self.parameters.push(parameter(name, text, ParameterIn::Query, kind));
        self
    }

    /// A list whose parts can be asked for one by one.
    #[must_use]
    pub(crate) fn paged(self, size: &str) -> Self {
        self.query(PAGE_SIZE, size, Type::Integer).continued()
    }

    /// A list that goes on in further requests where it is long.
    #[must_use]
    pub(crate) fn continued(self) -> Self {
        let text = "The Pulumi-Continuation-Token header of the answer before.";
        self.query(CONTINUATION_TOKEN, text, Type::String)
    }

    /// The body that a request has in each of these media types, with the refusals of every route that reads one.
    #[must_use]
    pub(crate) fn request(self, contents: impl IntoIterator<Item = (&'static str, RefOr<Schema>)>) -> Self {
        let body = RequestBodyBuilder::new().required(Some(Required::True));
        let body = contents.into_iter().fold(body, |body, (media_type, schema)| {
            body.content(media_type, ContentBuilder::new().schema(Some(schema)).build())
        });
        self.map(|operation| operation.request_body(Some(body.build())))
            .refuses(StatusCode::REQUEST_TIMEOUT, "The body did not come in time.")
            .refuses(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.")
            .refuses(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is encoded; send it as it is.")
    }

    /// An answer without a body.
    #[must_use]
    pub(crate) fn empty(self, status: StatusCode, text: &str) -> Self {
        let response = ResponseBuilder::new().description(text).build();
        self.map(|operation| operation.response(status.as_str(), response))
    }

    /// An answer with a body in each of these media types.
    #[must_use]
    pub(crate) fn answer(
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

    /// A refusal.
    #[must_use]
    pub(crate) fn refuses(self, status: StatusCode, text: &str) -> Self {
        self.answer(status, text, [(JSON, one::<ErrorBody>())])
    }

    /// The refusals of every route that needs a token. What a route says of the same status itself replaces it.
    #[must_use]
    pub(crate) fn guarded(self) -> Self {
        self.refuses(StatusCode::BAD_REQUEST, "The path or a parameter is invalid.")
            .refuses(StatusCode::UNAUTHORIZED, "No token, or one that is not good.")
            .refuses(StatusCode::FORBIDDEN, "The token may not do this.")
            .refuses(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many, or too much: try again after `Retry-After` seconds.",
            )
            .refuses(StatusCode::SERVICE_UNAVAILABLE, "Not now: try again after `Retry-After` seconds.")
    }

    /// The operation, with the parameters of its path.
    pub(crate) fn of_path(self, path: &str) -> Operation {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let of_path =
            names.map(|name| parameter(name, path_parameter(name), ParameterIn::Path, Type::String));
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

fn path_parameter(name: &str) -> &'static str {
    match name {
        "orgName" => "Organization.",
        "projectName" => "Project.",
        "stackName" => "Stack.",
        "envName" => "Environment.",
        "hookName" => "Webhook.",
        "webhookId" => "Webhook id.",
        "event" | "eventId" => "Event id.",
        "login" => "Login of a user.",
        "tokenId" => "Token id.",
        "deliveryId" => "Delivery id.",
        "recoveryId" => "Recovery id.",
        _ => "",
    }
}
