//! The one HTTP client for untrusted addresses, and the policy that says which of them it may reach.
//!
//! - [`OutboundClient`]: sends one request and returns the outcome. It finishes in time, whatever a server does.
//! - [`OutboundPolicy`]: the addresses that may be reached, with the operator's [`Allowance`]s
//! - [`Target`]: a URL that is prepared once for many requests
//! - [`Resolve`]: name resolution, a trait so that tests can simulate hostile names; [`DnsResolver`]: the real one
//!
//! Guarantees (invariant 7):
//! - The policy judges each resolved address at each connect, and only allowed addresses are connected to. A name without an
//!   allowed address is refused, and the reason lists its addresses.
//! - A connection is reused only by organizations with the allowances under which it was made.
//! - Redirects are responses like any other, and no proxy is taken from the environment.
//! - A request is written to a connection at most once. It is written to a second connection only if the first was reused and
//!   was closed before the first byte of a response; see [`OutboundClient::send`].
//!
//! It does not promise that an allowed server is the one that the operator meant; TLS verifies that. It promises nothing about
//! the part of a body that the caller did not ask to keep.

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
