//! Converts settings into the configuration of the crates below.

use std::sync::Arc;
use std::time::Duration;

use stackbell_config::{LimitSettings, Settings, StoreSettings};
use stackbell_engine::core::CoreConfig;
use stackbell_engine::outbound::{DnsResolver, OutboundClient, OutboundPolicy, OutboundSettings};
use stackbell_engine::shell::Retention;
use stackbell_model::retry::RetryPolicy;
use stackbell_system::SystemClock;

/// The number of organizations that can use their full share of attempts at once.
const ORGANIZATIONS_AT_ONCE: u32 = 4;

/// The engine's limits.
pub(crate) fn core_config(settings: &Settings) -> CoreConfig {
    let delivery = &settings.delivery;
    CoreConfig {
        retry: RetryPolicy { waits: delivery.retry_waits.clone(), ..RetryPolicy::default() },
        in_flight_max: delivery.in_flight_max,
        organization_in_flight_max: delivery.in_flight_max.div_ceil(ORGANIZATIONS_AT_ONCE),
        quota: settings.limits.quota,
        // After a node crashed, its deliveries wait at most this long until another node takes them.
        lease_for: delivery.exchange_time + RECORDING_TIME,
        ..core_config_for(&settings.storage.store)
    }
}

/// The time for recording an outcome after the exchange, before another node may take the delivery.
const RECORDING_TIME: Duration = Duration::from_secs(15);

/// The engine's limits that depend on the store: on its commit time, and on other nodes.
fn core_config_for(store: &StoreSettings) -> CoreConfig {
    match store {
        StoreSettings::Embedded(_) => CoreConfig::default(),
        StoreSettings::Postgres(_) => CoreConfig::default().shared(),
    }
}

/// The control plane's limits.
pub(crate) fn app_limits(limits: &LimitSettings) -> stackbell_app::Limits {
    stackbell_app::Limits {
        webhooks_in_scope_max: limits.webhooks_in_scope_max,
        quota: limits.quota,
        payload_bytes_max: limits.payload_bytes_max,
    }
}

/// The limits of one request.
pub(crate) fn http_limits(limits: &LimitSettings) -> stackbell_http::Limits {
    stackbell_http::Limits {
        request_bytes_max: limits.request_bytes_max,
        events_in_request_max: limits.events_in_request_max,
    }
}

/// The retention times.
pub(crate) fn retention(settings: &Settings) -> Retention {
    Retention { finished: settings.retention.finished, audit: settings.retention.audit }
}

/// The one client for endpoints.
///
/// # Errors
/// If the trusted authorities cannot be read.
pub async fn outbound_client(settings: &Settings, policy: &OutboundPolicy) -> anyhow::Result<OutboundClient> {
    let settings = OutboundSettings {
        exchange_time: settings.delivery.exchange_time,
        ca_file: settings.outbound.ca_file.clone(),
        ..OutboundSettings::default()
    };
    let resolver = Arc::new(DnsResolver::default());
    Ok(OutboundClient::new(&settings, policy, resolver, Arc::new(SystemClock)).await?)
}

#[cfg(test)]
mod tests {
    use stackbell_config::{Found, SettingFlags};
    use stackbell_system::Environment;

    use super::*;

    /// The defaults of the settings equal those of the crates below.
    #[test]
    fn defaults_are_the_same_everywhere() {
        let found = Found::collect(&SettingFlags::default(), &Environment::default(), &[]);
        let settings = found.and_then(|found| found.settings()).expect("valid");
        let (core, expected) = (core_config(&settings), CoreConfig::default());
        assert_eq!(core.retry, expected.retry);
        assert_eq!(core.in_flight_max, expected.in_flight_max);
        assert_eq!(core.organization_in_flight_max, expected.organization_in_flight_max);
        assert_eq!(core.quota, expected.quota);
        let app = app_limits(&settings.limits);
        assert_eq!(app.webhooks_in_scope_max, stackbell_app::Limits::default().webhooks_in_scope_max);
        assert_eq!(app.payload_bytes_max, stackbell_app::Limits::default().payload_bytes_max);
        assert_eq!(http_limits(&settings.limits), stackbell_http::Limits::default());
        assert_eq!(settings.delivery.exchange_time, OutboundSettings::default().exchange_time);
    }
}
