//! A name server's answer about one name in one family, in the terms of this resolver.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::outbound::resolve::Unanswered;

/// Further addresses of a family are ignored.
pub(super) const FAMILY_ADDRESSES_MAX: usize = 32;

/// The most aliases that are followed within an answer.
const ALIASES_MAX: usize = 16;

/// How long "there is none" holds if the answer does not say.
const NEGATIVE_TIME: Duration = Duration::from_secs(5);

/// The failure if no server answers.
pub(super) const SILENT: &str = "no name server answered in time";

/// The result of one question for one name in one family.
#[derive(Debug)]
pub(super) enum Reply {
    /// At least one address, and how long the addresses hold.
    Addresses(Vec<IpAddr>, Duration),
    /// The name has no records of this family. Holds for this time.
    NoData(Duration),
    /// The name leads to another record, such as an alias, but not to an address.
    NoAddress,
    /// The name does not exist. Holds for this time.
    NoName(Duration),
    /// The servers reported a failure (SERVFAIL).
    ServerFailed,
    /// The servers refused the question (REFUSED, NOTIMP), or referred to other servers.
    Refused,
    /// A server rejected the question as malformed (FORMERR), or sent an unexpected code.
    Rejected,
    /// No server answered in time.
    Silent,
    /// No server could be reached.
    Unasked(io::Error),
}

impl Reply {
    /// Interprets an answer to a question for `name` (absolute) in `family`.
    pub(super) fn read(message: &Message, name: &Name, family: RecordType) -> Self {
        match message.metadata.response_code {
            ResponseCode::NoError if !message.answers.is_empty() => addresses(&message.answers, name, family),
            ResponseCode::NoError if is_referral(message) => Self::Refused,
            ResponseCode::NoError => Self::NoData(negative_time(message)),
            ResponseCode::NXDomain => Self::NoName(negative_time(message)),
            ResponseCode::ServFail => Self::ServerFailed,
            ResponseCode::Refused | ResponseCode::NotImp => Self::Refused,
            _ => Self::Rejected,
        }
    }

    /// Why the question got no answer; `None` if it got one.
    pub(super) fn unanswered(&self, question: &'static str) -> Option<Unanswered> {
        let failure = match self {
            Self::Addresses(..) | Self::NoData(_) | Self::NoAddress | Self::NoName(_) => return None,
            Self::ServerFailed => "the name servers failed (SERVFAIL)",
            Self::Refused => "the name servers refused it (REFUSED)",
            Self::Rejected => "a name server rejected it",
            Self::Silent => SILENT,
            Self::Unasked(_) => "no name server could be asked",
        };
        Some(Unanswered { question, failure })
    }
}

/// Follows the aliases of a name to its addresses. Other records are ignored.
fn addresses(answers: &[Record], name: &Name, family: RecordType) -> Reply {
    let mut name = name;
    let mut time = Duration::MAX;
    for _ in 0..ALIASES_MAX {
        let of_name = || answers.iter().filter(|record| record.name == *name);
        let found = of_name().filter(|record| record.record_type() == family);
        let found = found.filter_map(|record| Some((record.data.ip_addr()?, record.ttl)));
        let (addresses, ttls): (Vec<_>, Vec<_>) = found.take(FAMILY_ADDRESSES_MAX).unzip();
        if let Some(ttl) = ttls.into_iter().min() {
            return Reply::Addresses(addresses, time.min(Duration::from_secs(ttl.into())));
        }
        let alias = of_name().find_map(|record| match &record.data {
            RData::CNAME(alias) => Some((&alias.0, record.ttl)),
            _ => None,
        });
        let Some((alias, ttl)) = alias else { break };
        time = time.min(Duration::from_secs(ttl.into()));
        name = alias;
    }
    Reply::NoAddress
}

/// Whether the answer is a referral, which a server sends if it does not do recursive lookups. glibc then asks the next server.
fn is_referral(message: &Message) -> bool {
    let flags = &message.metadata;
    !flags.authoritative
        && !flags.recursion_available
        && message.additionals.is_empty()
        && message.edns.is_none()
}

/// The TTL of a negative answer. Source: RFC 2308, section 5.
fn negative_time(message: &Message) -> Duration {
    let seconds = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(zone) => Some(record.ttl.min(zone.minimum)),
        _ => None,
    });
    seconds.map_or(NEGATIVE_TIME, |seconds| Duration::from_secs(seconds.into()))
}

/// For any answer about `hook.example`, the addresses are few and in the family of the question.
#[cfg(any(test, feature = "properties"))]
pub(in crate::outbound) fn property(bytes: &[u8]) {
    let Ok(message) = Message::from_vec(bytes) else { return };
    let name = Name::from_ascii("hook.example.").expect("a name");
    for family in [RecordType::A, RecordType::AAAA] {
        if let Reply::Addresses(addresses, time) = Reply::read(&message, &name, family) {
            assert!((1..=FAMILY_ADDRESSES_MAX).contains(&addresses.len()));
            assert!(addresses.iter().all(|address| address.is_ipv4() == (family == RecordType::A)));
            assert!(time <= Duration::from_secs(u32::MAX.into()));
        }
    }
}
