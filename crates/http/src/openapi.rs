//! The OpenAPI document, built from the routes and the types of the wire.

use stackbell_wire::rest::delivery::{
    AttemptResponse, DeliveryDetail, DeliveryLastAttempt, DeliveryResponse, DeliveryWaiting, DeliveryWebhook,
};
use stackbell_wire::rest::error::ErrorBody;
use stackbell_wire::rest::event::{EventAccepted, EventRequest, EventResponse, EventsSummary, LineResult};
use stackbell_wire::rest::identity::{
    AuditResponse, MemberRequest, MemberResponse, OrganizationRequest, OrganizationResponse, TokenCreated,
    TokenRequest, TokenResponse, UserCreated, UserRequest, UserResponse,
};
use stackbell_wire::rest::operation::{
    DeploymentsRequest, DeploymentsResponse, HoldRequest, InstanceResponse, MasterKeyRotated,
    RecoveryRequest, RecoveryResponse, SendingResponse, StatisticsBucket, StatisticsResponse, UsageResponse,
};
use stackbell_wire::rest::webhook::{WebhookRequest, WebhookResponse};
use stackbell_wire::rest::webhook_delivery::WebhookDelivery;
use stackbell_wire::rest::webhook_overview::{
    WebhookBreaker, WebhookOptions, WebhookOverview, WebhookSuspension,
};
use utoipa::ToSchema;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, License, OpenApiBuilder, Paths, RefOr, SecurityRequirement,
};

use crate::{Route, Surface, operations, routes_of};

const SECURITY: &str = "accessToken";

/// The document of all routes, as indented JSON that ends with a line feed.
pub fn openapi() -> String {
    let document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Stackbell")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Webhooks for Pulumi: below /api Pulumi Cloud's webhook API, below /v1 our own.",
                ))
                .license(Some(License::new("Apache-2.0"))),
        )
        .paths(paths())
        .components(Some(components()))
        .build();
    let mut text = document.to_pretty_json().expect("strings, numbers and maps by strings alone");
    text.push('\n');
    text
}

fn paths() -> Paths {
    let open: Vec<String> = operations::routes().map(|route| route.path).collect();
    let mut paths = Paths::new();
    for Route { method, path, description, .. } in routes_of(Surface::Whole) {
        let Some(description) = description else { continue };
        let mut operation = description.of_path(&path, path_parameter);
        if !open.contains(&path) {
            operation.security = Some(vec![SecurityRequirement::new(SECURITY, [] as [&str; 0])]);
        }
        paths.add_path_operation(&path, vec![http_method(&method)], operation);
    }
    paths
}

/// The description of a path parameter by its name.
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

fn http_method(method: &axum::http::Method) -> HttpMethod {
    match method.as_str() {
        "GET" => HttpMethod::Get,
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        other => unreachable!("no route has the method {other}"),
    }
}

fn components() -> Components {
    let token = "`token <access token>`; `Bearer` is accepted, too.";
    let scheme =
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", token)));
    let schemas = [
        with_parts::<WebhookRequest>(),
        with_parts::<WebhookResponse>(),
        with_parts::<WebhookDelivery>(),
        with_parts::<WebhookOverview>(),
        with_parts::<WebhookSuspension>(),
        with_parts::<WebhookBreaker>(),
        with_parts::<WebhookOptions>(),
        with_parts::<ErrorBody>(),
        with_parts::<EventRequest<'_>>(),
        with_parts::<EventAccepted>(),
        with_parts::<EventsSummary>(),
        with_parts::<LineResult>(),
        with_parts::<EventResponse>(),
        with_parts::<OrganizationRequest>(),
        with_parts::<OrganizationResponse>(),
        with_parts::<UserRequest>(),
        with_parts::<UserResponse>(),
        with_parts::<UserCreated>(),
        with_parts::<MemberRequest>(),
        with_parts::<MemberResponse>(),
        with_parts::<TokenRequest>(),
        with_parts::<TokenResponse>(),
        with_parts::<TokenCreated>(),
        with_parts::<AuditResponse>(),
        with_parts::<DeliveryResponse>(),
        with_parts::<DeliveryWebhook>(),
        with_parts::<DeliveryLastAttempt>(),
        with_parts::<DeliveryWaiting>(),
        with_parts::<DeliveryDetail>(),
        with_parts::<AttemptResponse>(),
        with_parts::<RecoveryRequest>(),
        with_parts::<RecoveryResponse>(),
        with_parts::<StatisticsResponse>(),
        with_parts::<StatisticsBucket>(),
        with_parts::<UsageResponse>(),
        with_parts::<DeploymentsRequest>(),
        with_parts::<DeploymentsResponse>(),
        with_parts::<InstanceResponse>(),
        with_parts::<SendingResponse>(),
        with_parts::<HoldRequest>(),
        with_parts::<MasterKeyRotated>(),
    ];
    let components = ComponentsBuilder::new().security_scheme(SECURITY, scheme);
    components.schemas_from_iter(schemas.into_iter().flatten()).build()
}

/// The schemas of a type and of all types that it refers to.
fn with_parts<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}
