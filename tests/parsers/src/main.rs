//! Fuzz targets for libFuzzer: every parser of outside bytes, with its properties.
//!
//! The properties are in the modules `properties` of our crates. The tests of those crates check them with the corpus in this
//! folder and with random inputs. `STACKBELL_FUZZ_TARGET` names the target; `scripts/fuzz` sets it and all options.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use stackbell_config::properties as config;
use stackbell_engine::outbound::properties as outbound;
use stackbell_http::properties as http;
use stackbell_keys::properties as keys;
use stackbell_model::properties as model;
use stackbell_payload::properties as payload;
use stackbell_store_sqlite::properties as sqlite;
use stackbell_wire::properties as wire;

/// A property, checked for each input.
#[derive(Clone, Copy)]
enum Property {
    Bytes(fn(&[u8])),
    /// Inputs that are not UTF-8 are skipped.
    Text(fn(&str)),
}

use Property::{Bytes, Text};

/// The targets, in the order of the table in `docs/fuzzing.md`.
const TARGETS: &[(&str, Property)] = &[
    ("payload", Text(payload::payload)),
    ("event", Text(payload::event)),
    ("event-body", Text(wire::event_body)),
    ("lines", Bytes(http::lines)),
    ("request-body", Text(wire::request_body)),
    ("query", Text(http::query)),
    ("cursor", Text(wire::cursor)),
    ("moment", Text(wire::moment)),
    ("authorization", Bytes(http::authorization)),
    ("forwarded", Bytes(http::forwarded)),
    ("names", Text(model::names)),
    ("words", Text(model::words)),
    ("payload-url", Text(model::payload_url)),
    ("endpoint", Text(outbound::endpoint)),
    ("address", Bytes(outbound::address)),
    ("dns-reply", Bytes(outbound::dns_reply)),
    ("answer", Bytes(outbound::answer)),
    ("head", Bytes(outbound::head)),
    ("retry-after", Text(model::retry_after)),
    ("allowance", Text(outbound::allowance)),
    ("credentials", Text(keys::credentials)),
    ("sealed", Bytes(keys::sealed)),
    ("compressed", Bytes(sqlite::compressed)),
    ("config", Text(config::file)),
    ("value", Text(config::value)),
];

static PROPERTY: OnceLock<Property> = OnceLock::new();

/// The property that the environment names.
#[expect(clippy::disallowed_methods, reason = "libFuzzer takes all arguments for its own")]
fn wanted() -> Property {
    let name = std::env::var("STACKBELL_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    found.map(|(_, property)| *property).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
        panic!("STACKBELL_FUZZ_TARGET must be one of {}", names.join(" "))
    })
}

fuzz_target!(|bytes: &[u8]| match PROPERTY.get_or_init(wanted) {
    Bytes(property) => property(bytes),
    Text(property) => {
        if let Ok(text) = std::str::from_utf8(bytes) {
            property(text);
        }
    }
});
