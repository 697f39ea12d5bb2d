//! How many files and sockets this process may have open.
//!
//! Most systems begin every process with 1,024, which is for programs that use `select`, and let it ask for more.

use crate::config::DeliverySettings;
use crate::places::{CONNECTIONS_MAX, OPERATIONS_CONNECTIONS_MAX};

/// Beside connections: the store's files, the log, idle connections to endpoints.
const OTHERS: u64 = 512;

/// An attempt has a connection, and before that, while its host's name is looked up, up to twelve questions on their way. Half
/// of them at the most are to endpoints of which it is not known that they answer.
const FOR_EACH_ATTEMPT: u64 = 7;

/// How many a server may need.
pub(crate) fn wanted(delivery: &DeliverySettings) -> u64 {
    let connections =
        u64::try_from(CONNECTIONS_MAX + OPERATIONS_CONNECTIONS_MAX).expect("a constant that is small");
    connections + FOR_EACH_ATTEMPT * u64::from(delivery.in_flight_max) + OTHERS
}

/// How many this process could have at the most; `None` for no limit, or where there is none to ask for.
pub(crate) fn most() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    #[cfg(not(unix))]
    None
}

/// Asks for as many as there may be, and says so in the log where they are not enough.
pub(crate) fn raise(delivery: &DeliverySettings) {
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
