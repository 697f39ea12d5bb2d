//! Properties of the parsers in this module, for any input. `stackbell_model::properties` says which tests use them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use stackbell_model::Timestamp;
use stackbell_model::names::OrganizationName;
use stackbell_model::webhook::{Format, PayloadUrl};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use url::Host;

use super::address::{classify, translated};
use super::allowance::Allowance;
use super::dial::literal;
use super::head::{Fed, HeadReader, LINE_BYTES_MAX};
use super::policy::OutboundPolicy;
use super::record::{self, KEPT_HEADER_BYTES_MAX};
use super::resolve::normal_host;
use super::stream::{AnswerStream, Exchanging};
use super::target::Target;

/// The kept bytes of a body in these properties.
const KEEP: usize = 100;

/// Metadata services of clouds. No wide network may open them.
const METADATA: [&str; 4] =
    ["169.254.169.254:80", "168.63.129.16:80", "[fd00:ec2::254]:80", "[::ffff:169.254.169.254]:80"];

fn acme() -> OrganizationName {
    OrganizationName::parse("acme").expect("a name")
}

/// Only an allowance of exactly a metadata address opens it, and no allowance closes a public address.
pub fn allowance(text: &str) {
    let Ok(allowance) = text.parse::<Allowance>() else { return };
    let policy = OutboundPolicy::new([allowance.clone()]);
    let acme = acme();
    for metadata in METADATA {
        let address: SocketAddr = metadata.parse().expect("an address");
        let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
        let names_it = allowance.covers_alone(plain) || allowance.covers_alone(address);
        assert!(policy.judge(address, &acme).is_err() || names_it, "{text} opens {metadata}");
    }
    for public in ["1.1.1.1:443", "[2606:4700::1111]:443"] {
        assert!(policy.judge(public.parse().expect("an address"), &acme).is_ok(), "{text} closes {public}");
    }
    let only = allowance.organization().is_some_and(|only| *only != acme);
    let loopback = "127.0.0.1:80".parse().expect("an address");
    assert!(!only || policy.judge(loopback, &acme).is_err(), "an allowance is its organization's alone");
}

/// A valid payload URL leads to no address that the policy forbids, and shows no more than scheme and host.
pub fn endpoint(text: &str) {
    let Ok(saved) = PayloadUrl::parse(text, Format::Raw, &[]) else { return };
    let url = saved.to_url().expect("what was accepted can be called");
    let Ok(target) = Target::new(&url) else { return };
    let origin = target.origin();
    let host = normal_host(&origin.host);
    assert_eq!(Some(origin.port), url.port_or_known_default(), "the port is the URL's");
    let sent = [target.host().as_bytes(), target.path().path().as_bytes()];
    assert!(target.path().authority().is_none(), "the request names its host in a header alone");
    assert!(!sent[0].contains(&b'@'), "no credential is in the request's host");
    let judged = OutboundPolicy::default().judge_literal(&url, &acme());
    // The dialer parses addresses in their usual spelling; the system's resolver may accept other spellings.
    match (literal(&host), Host::parse(&host)) {
        (Some(address), _) => assert_eq!(judged.err(), classify(address), "{text} leads to {address}"),
        (None, Ok(Host::Ipv4(v4))) => {
            assert_eq!(judged.err(), classify(v4.into()), "{text} may lead to {v4}");
        }
        (None, _) => {
            assert!(judged.is_ok(), "{text} is judged as an address, and dialled as the name {host}");
        }
    }
    assert!(!host.contains(['/', '?', '#', '@', '\\']), "{host} is more than a host");
    let shown = format!("{}://{host}:{}", url.scheme(), origin.port);
    assert_eq!(target.to_string(), shown, "only scheme, host and port are shown");
    assert_eq!(target.authorization().is_some(), !url.username().is_empty() || url.password().is_some());
}

/// For any response of an endpoint, the kept part is within its limits and is text.
pub fn answer(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(answer_with(bytes));
}

async fn answer_with(bytes: &[u8]) {
    let (near, far) = tokio::io::duplex(bytes.len() + 4096);
    let exchanging = Arc::new(Exchanging::default());
    let stream = TokioIo::new(AnswerStream::new(near, Arc::clone(&exchanging)));
    let handshake = http1::Builder::new().handshake(stream).await;
    let (mut sender, connection) = handshake.expect("nothing was read yet");
    let exchange = async move {
        exchanging.begin();
        let response = sender.send_request(Request::new(Empty::<Bytes>::new())).await.ok()?;
        let head = exchanging.take_head().expect("hyper has read the one that was made of it");
        assert_eq!(response.status().as_u16(), head.status);
        let deadline = Instant::now() + Duration::from_secs(60);
        let now = Timestamp::from_millis(784_111_777_000);
        Some(record::read(head, response.into_body(), KEEP, deadline, now).await)
    };
    let (read, _, ()) = tokio::join!(exchange, connection, write(far, bytes));
    let Some((answer, _)) = read else { return };
    assert!((100..1000).contains(&answer.status));
    assert!(answer.body.len() <= KEEP, "{} bytes were kept", answer.body.len());
    assert!(answer.headers.len() <= KEPT_HEADER_BYTES_MAX);
    assert!(answer.headers.is_empty() || answer.headers.ends_with("\r\n"), "lines are kept whole");
    for line in answer.headers.split_terminator("\r\n") {
        let (name, _) = line.split_once(": ").expect("a name and a value");
        assert_eq!(record::canonical_name(name), name);
    }
}

/// A head reads the same in chunks of any size, its kept bytes are bounded, and hyper can parse the plain head.
pub fn head(bytes: &[u8]) {
    let mut whole = HeadReader::default();
    let at_once = whole.feed(bytes);
    assert!(whole.kept_bytes() <= 2 * LINE_BYTES_MAX, "{} bytes are kept", whole.kept_bytes());
    let mut in_pieces = HeadReader::default();
    for (index, byte) in bytes.iter().enumerate() {
        match (in_pieces.feed(std::slice::from_ref(byte)), &at_once) {
            (Ok(Fed::More), _) => {}
            (Ok(Fed::Done(head, 1)), Ok(Fed::Done(other, end))) => {
                assert_eq!((&head, index + 1), (other, *end));
                let mut plain = Vec::new();
                head.write_plain(&mut plain);
                let fed = HeadReader::default().feed(&plain);
                let Ok(Fed::Done(again, end)) = fed else { panic!("it reads again: {fed:?}") };
                assert_eq!((again.status, end), (head.status, plain.len()));
                return;
            }
            // Byte by byte, a wrong start or an exceeded limit is detected before the end of the line.
            (Err(_), Err(_)) => return,
            (fed, other) => panic!("{fed:?} at byte {index}, and {other:?} at once"),
        }
    }
    assert!(matches!(at_once, Ok(Fed::More)), "{at_once:?}");
}

/// Writes a response, and closes the stream.
async fn write(mut pipe: DuplexStream, bytes: &[u8]) {
    // The reader may have stopped reading.
    let _ = pipe.write_all(bytes).await;
    let _ = pipe.shutdown().await;
    // The stream stays open until the request is written, so that the response is read before the end.
    tokio::task::yield_now().await;
}

/// Checks for any address whether it is public: an address that is not IPv4 must not become one on the way.
pub fn address(bytes: &[u8]) {
    let Some(octets) = bytes.first_chunk::<16>() else { return };
    let address = IpAddr::from(*octets);
    let judged = translated(address);
    if judged != address {
        let IpAddr::V4(inner) = judged else { panic!("{address} leads to {judged}") };
        assert_eq!(octets[12..], inner.octets());
        assert_eq!(classify(address), classify(judged), "{address} leads to {judged}");
    } else if classify(address).is_none() {
        assert_eq!(octets[0] >> 5, 1, "{address} is not within 2000::/3");
        let embedded = super::address::embedded(std::net::Ipv6Addr::from(*octets));
        assert_eq!(embedded, None, "{address} leads to another address");
    }
}

/// Checks any message of a name server.
pub fn dns_reply(bytes: &[u8]) {
    super::dns::reply_property(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::properties::{corpus, corpus_texts};

    use super::*;

    #[test]
    fn hold_for_the_corpus() {
        corpus_texts("allowance").iter().for_each(|text| allowance(text));
        corpus_texts("endpoint").iter().for_each(|text| endpoint(text));
        corpus("answer").iter().for_each(|bytes| answer(bytes));
        corpus("head").iter().chain(&corpus("answer")).for_each(|bytes| head(bytes));
        corpus("address").iter().for_each(|bytes| address(bytes));
        corpus("dns-reply").iter().for_each(|bytes| dns_reply(bytes));
    }

    proptest! {
        #[test]
        fn hold_for_allowances(
            text in "\\[?[0-9a-f:.]{2,16}\\]?(/[0-9]{1,3})?(:[0-9]{1,5})?(@[a-z.]{1,5})?|(0.0.0.0|::|169.254.169.254|::ffff:a9fe:a9fe)(/[0-9]{1,3})?|.{0,30}",
        ) {
            allowance(&text);
        }

        #[test]
        fn hold_for_endpoints(
            text in "https?://([a-z%0-9]{0,4}(:[a-z%0-9]{0,4})?@)?([0-9a-fx.]{1,16}|\\[[0-9a-f:.]{2,20}\\]|[\\PC]{1,12})\\.{0,2}(:[0-9]{0,6})?[/?#\\\\]?[ -~é]{0,8}",
        ) {
            endpoint(&text);
        }

        #[test]
        fn hold_for_answers(
            head in "HTTP/1\\.[01] [0-9]{3}( [a-z]{0,4})?\r\n([A-Za-z-]{1,8}: ?[ -~]{0,12}\r?\n){0,4}",
            retry in "[0-9]{0,4}|[a-z]{0,4}",
            body in prop::collection::vec(any::<u8>(), 0..300),
            noise in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let head = format!("{head}Retry-After: {retry}\r\n\r\n");
            answer(&[head.as_bytes(), &body].concat());
            let chunked = format!("{}Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n{retry}\r\n", head.trim_end());
            answer(&[chunked.as_bytes(), &body].concat());
            answer(&noise);
        }

        #[test]
        fn hold_for_dns_replies(
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            noise in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            dns_reply(&noise);
            let seeds = corpus("dns-reply");
            let mut bytes = which.get(&seeds).clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            dns_reply(&bytes);
        }

        #[test]
        fn hold_for_heads(
            status in "(HTTP/1\\.1 1[0-9][0-9]\\r\\n\\r\\n){0,3}(http|HTTP)/[12](\\.[0-9])? {1,2}[0-9]{2,4}[ a-z]{0,3}\\r?\\n",
            lines in prop::collection::vec(
                "(content-length|transfer-encoding|connection|x)[ :]{1,3}([0-9]{1,3}|chunked|close|gzip|,| ){0,3}\\r?\\n|[ -~]{0,9}\\n",
                0..8,
            ),
            noise in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let text = format!("{status}{}\r\n", lines.concat());
            head(text.as_bytes());
            head(&[text.as_bytes(), &noise].concat());
            head(&[&noise[..], text.as_bytes()].concat());
            answer(&[text.as_bytes(), &noise].concat());
        }

        #[test]
        fn hold_for_addresses(bytes in any::<[u8; 16]>(), global in any::<bool>(), isatap in any::<bool>()) {
            let mut bytes = bytes;
            if global {
                bytes[0] = 0x20 | bytes[0] & 0x1f;
            }
            if isatap {
                bytes[8..12].copy_from_slice(&[0, 0, 0x5e, 0xfe]);
            }
            address(&bytes);
        }
    }
}
