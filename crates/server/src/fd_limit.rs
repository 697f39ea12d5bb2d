//! The limit of open files and sockets of this process (RLIMIT_NOFILE).
//!
//! Most systems start a process with a limit of 1,024, for programs that use `select`, and let it raise the limit.

use stackbell_config::DeliverySettings;

use crate::connection_slots::{CONNECTIONS_MAX, OPERATIONS_CONNECTIONS_MAX};

/// Descriptors for other uses: the store's files, the log, idle connections to endpoints.
const OTHERS: u64 = 512;

/// Descriptors for each attempt, on average. An attempt uses up to twelve for DNS queries while its host is resolved, and then
/// one for its connection. At most half of the attempts go to endpoints that are not known to respond.
const FOR_EACH_ATTEMPT: u64 = 7;

/// The number of descriptors that a server may need.
pub fn wanted(delivery: &DeliverySettings) -> u64 {
    let connections =
        u64::try_from(CONNECTIONS_MAX + OPERATIONS_CONNECTIONS_MAX).expect("a constant that is small");
    connections + FOR_EACH_ATTEMPT * u64::from(delivery.in_flight_max) + OTHERS
}

/// The most descriptors that this process may have; `None` if there is no limit.
pub fn most() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    #[cfg(not(unix))]
    None
}

/// Raises the limit as far as the system allows; warns in the log if that is not enough.
pub fn raise(delivery: &DeliverySettings) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
    let wanted = wanted(delivery);
    if let Some(most) = most().filter(|most| *most < wanted) {
        tracing::warn!(
            most,
            wanted,
            "the limit of open files is low (ulimit -n, LimitNOFILE): connections may fail"
        );
    }
}
