//! A name server's answer about a name in one family, in our terms.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::outbound::resolve::Unanswered;

/// Further addresses of one family are left out.
pub(super) const FAMILY_ADDRESSES_MAX: usize = 32;

/// Aliases are followed this far within an answer.
const ALIASES_MAX: usize = 16;

/// How long "there is none" holds where the answer does not say.
const NEGATIVE_TIME: Duration = Duration::from_secs(5);

/// The failure of servers that do not answer.
pub(super) const SILENT: &str = "no name server answered in time";

/// An answer about one name and one family, or why there is none.
#[derive(Debug)]
pub(super) enum Reply {
    /// At least one address, and how long they hold.
    Addresses(Vec<IpAddr>, Duration),
    /// The name has no records of this family, and how long that holds.
    NoData(Duration),
    /// The name leads to a record, such as an alias, and to no address.
    NoAddress,
    /// There is no such name, and how long that holds.
    NoName(Duration),
    /// Servers answered that they failed (SERVFAIL).
    ServerFailed,
    /// Servers answered that they do not tell (REFUSED, NOTIMP), or pointed elsewhere.
    Refused,
    /// A server answered that the question is wrong (FORMERR), or in a way that has no meaning here.
    Rejected,
    /// No server answered in time.
    Silent,
    /// No server could be reached.
    Unasked(io::Error),
}

impl Reply {
    /// Reads an answer to a question for `name` (absolute) in `family`.
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

    /// Why the question is not answered; `None` when it is.
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

/// The addresses of a name by way of its aliases. Other records are ignored.
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

/// A server that does not look names up for others points elsewhere. glibc asks the next server then.
fn is_referral(message: &Message) -> bool {
    let flags = &message.metadata;
    !flags.authoritative
        && !flags.recursion_available
        && message.additionals.is_empty()
        && message.edns.is_none()
}

/// Source: RFC 2308, section 5.
fn negative_time(message: &Message) -> Duration {
    let seconds = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(zone) => Some(record.ttl.min(zone.minimum)),
        _ => None,
    });
    seconds.map_or(NEGATIVE_TIME, |seconds| Duration::from_secs(seconds.into()))
}

/// Whatever a server answers about `hook.example`: the addresses are few, and of the family that was asked for.
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
