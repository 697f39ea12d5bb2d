//! From settings to what the crates below are made of.

use std::sync::Arc;
use std::time::Duration;

use stackbell_config::{LimitSettings, Settings, StoreSettings};
use stackbell_engine::core::CoreConfig;
use stackbell_engine::outbound::{DnsResolver, OutboundClient, OutboundPolicy, OutboundSettings};
use stackbell_engine::shell::Retention;
use stackbell_model::retry::RetryPolicy;
use stackbell_system::SystemClock;

/// How many organizations at the least can be served at full width at once.
const ORGANIZATIONS_AT_ONCE: u32 = 4;

/// The engine's limits.
pub(crate) fn core_config(settings: &Settings) -> CoreConfig {
    let delivery = &settings.delivery;
    CoreConfig {
        retry: RetryPolicy { waits: delivery.retry_waits.clone(), ..RetryPolicy::default() },
        in_flight_max: delivery.in_flight_max,
        organization_in_flight_max: delivery.in_flight_max.div_ceil(ORGANIZATIONS_AT_ONCE),
        quota: settings.limits.quota,
        // What a node had under way that is gone waits as long for another.
        lease_for: delivery.exchange_time + RECORDING_TIME,
        ..core_config_for(&settings.storage.store)
    }
}

/// How long the store may take to commit an outcome, beyond the exchange that it is of, before the delivery is anybody's.
const RECORDING_TIME: Duration = Duration::from_secs(15);

/// What the engine's limits depend on: how long a commit takes, and who else may have put something into the store.
fn core_config_for(store: &StoreSettings) -> CoreConfig {
    match store {
        StoreSettings::Embedded(_) => CoreConfig::default(),
        StoreSettings::Postgres(_) => CoreConfig::default().shared(),
    }
}

/// The control plane's limits.
pub(crate) fn app_limits(limits: &LimitSettings) -> stackbell_app::Limits {
    stackbell_app::Limits { webhooks_in_scope_max: limits.webhooks_in_scope_max, quota: limits.quota }
}

/// The limits of one request.
pub(crate) fn http_limits(limits: &LimitSettings) -> stackbell_http::Limits {
    stackbell_http::Limits {
        request_bytes_max: limits.request_bytes_max,
        payload_bytes_max: limits.payload_bytes_max,
        events_in_request_max: limits.events_in_request_max,
    }
}

/// How long things are kept.
pub(crate) fn retention(settings: &Settings) -> Retention {
    Retention { finished: settings.retention.finished, audit: settings.retention.audit }
}

/// The one client for endpoints.
///
/// # Errors
/// When the authorities to trust cannot be read.
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

    /// What nobody sets is what the crates below have by themselves.
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
        assert_eq!(http_limits(&settings.limits), stackbell_http::Limits::default());
        assert_eq!(settings.delivery.exchange_time, OutboundSettings::default().exchange_time);
    }
}
