//! Payloads of events: the rules that admit them, and their bytes in each format.
//!
//! - [`json`]: converts any JSON text to the canonical form that is stored, signed and sent
//! - [`raw`]: checks, fills in and classifies a producer's payload, limits its size and digests it
//! - [`render`]: renders an event in each format; both chat formats write one message (`chat`)
//! - [`ping`]: renders the body of a ping
//! - [`calendar`]: converts times for formatting
//!
//! This crate does no IO and knows no transport: every source of events uses it through the control plane.

pub mod calendar;
mod chat;
pub mod json;
mod ms_teams;
pub mod ping;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod pulumi_deployments;
pub mod raw;
mod slack;

use bytes::Bytes;
use stackbell_model::event::Event;
use stackbell_model::webhook::Format;
use url::Url;

/// The body of a delivery of `event` in `format`; `None` where that is the event's payload itself.
///
/// An event always gives the same bytes, independent of the time and the webhook. Chat messages contain the payload's links if
/// they are https or below `public_url`, which may be plain http. Infallible: a message leaves out facts that the payload does
/// not have.
pub fn render(format: Format, event: &Event, public_url: Option<&Url>) -> Option<Bytes> {
    match format {
        Format::Raw => None,
        Format::Slack => Some(slack::render(&chat::message(event, public_url))),
        Format::MsTeams => Some(ms_teams::render(&chat::message(event, public_url))),
        Format::PulumiDeployments => Some(pulumi_deployments::BODY),
    }
}
