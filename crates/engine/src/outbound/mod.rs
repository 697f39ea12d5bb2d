//! The one HTTP client for addresses that others choose, and the policy of where it may go.
//!
//! - [`OutboundClient`]: sends one request and says what became of it; whatever a server does, it ends in time.
//! - [`OutboundPolicy`]: which addresses may be reached, built of the operator's [`Allowance`]s.
//! - [`Target`]: a URL made ready for sending, once.
//! - [`Resolve`]: where names come from, so that tests can play the ones that lie; [`DnsResolver`]: the one that does not.
//!
//! What it guarantees (invariant 7):
//! - The policy judges each resolved address at each connect, and only addresses that it allows are connected to. A name
//!   without an allowed address is refused, and the reason names its addresses.
//! - A connection is reused only by organizations that have the allowances under which it was made.
//! - Redirects are answers like any other, and no proxy is ever taken from the environment.
//! - A request is written to a connection at most once, and to a second one only where the first had served others and was
//!   closed before any byte of an answer: see [`OutboundClient::send`].
//!
//! What it does not promise: that an allowed server is the one that the operator meant (TLS says that), or
//! anything about a body beyond what the caller asked to keep.

mod address;
mod allowance;
mod client;
mod connect;
mod dial;
mod dns;
mod failure;
mod framing;
mod head;
mod policy;
mod pool;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod race;
mod reachability;
mod record;
mod request;
mod resolve;
mod spelling;
mod stream;
mod target;
mod text;
mod tls;

pub use address::Refusal;
pub use allowance::{Allowance, AllowanceError};
pub use client::{Exchange, OutboundClient, OutboundError, OutboundSettings};
pub use dns::DnsResolver;
pub use policy::OutboundPolicy;
pub use record::{BodyEnd, canonical_name};
pub use request::{Connections, OutboundRequest};
pub use resolve::{Resolve, ResolveError, Resolved, Unanswered};
pub use target::{Target, TargetError};
