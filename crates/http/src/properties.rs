//! What holds of the parsers here, whatever they are given: see `stackbell_model::properties` for who asks.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, FORWARDED};
use axum::http::{HeaderMap, HeaderValue, Uri};

use crate::TrustedProxies;
use crate::shared::auth::token;
use crate::shared::pages::{CONTINUATION_TOKEN, PAGE_SIZE, PageAsked, id, name};
use crate::shared::proxies::X_FORWARDED_FOR;
use crate::shared::query::QueryTexts;

pub use crate::v1::events::properties::lines;

/// The most entries of a page here.
const SIZE_MAX: usize = 100;

/// A token is one word of the header that it was in.
pub fn authorization(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, value.clone())]);
    let found = token(&headers).map(str::to_owned);
    if let Some(found) = found {
        assert!(!found.is_empty() && found.trim() == found);
        let text = value.to_str().expect("a token is text");
        assert!(text.trim_end().ends_with(&found), "{found:?} is not the end of {text:?}");
    }
    headers.append(AUTHORIZATION, value);
    assert_eq!(token(&headers), None, "of two headers neither counts");
}

/// A page has at most as many entries as it may, and begins where a token of its own list says.
pub fn query(text: &str) {
    let Ok(uri) = format!("/v1/things?{text}").parse::<Uri>() else { return };
    let Ok(query) = QueryTexts::only(&uri, &[PAGE_SIZE, CONTINUATION_TOKEN, "state"]) else { return };
    let Ok(asked) = PageAsked::read(&query, SIZE_MAX) else { return };
    assert!(asked.size.is_none_or(|size| (1..=SIZE_MAX).contains(&size)));
    let by_id = asked.after(id(|id| id));
    let by_name = asked.after(name(|name| Ok::<_, ()>(name.to_owned())));
    let is_asked = query.find(CONTINUATION_TOKEN).is_some();
    match (by_id, by_name) {
        (Ok(None), Ok(None)) => assert!(!is_asked),
        (Ok(Some(_)), Err(_)) | (Err(_), Ok(Some(_))) => assert!(is_asked),
        (by_id, by_name) => panic!("a token is of one list: {:?} {:?}", by_id.is_ok(), by_name.is_ok()),
    }
}

/// Whatever stands to the left of what a trusted proxy wrote, the client is who the proxy says; and who is no proxy says
/// nothing.
pub fn forwarded(bytes: &[u8]) {
    const CLIENT: &str = "198.51.100.1";
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]);
    let (proxy, stranger) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([203, 0, 113, 9]));
    let client: IpAddr = CLIENT.parse().expect("an address");
    for (header, last) in [(X_FORWARDED_FOR, CLIENT.to_owned()), (FORWARDED, format!("for={CLIENT}"))] {
        let Ok(written) = HeaderValue::from_bytes(bytes) else { return };
        let alone = HeaderMap::from_iter([(header.clone(), written.clone())]);
        assert_eq!(proxies.client(stranger, &alone), stranger, "who is no proxy is not believed");
        proxies.client(proxy, &alone);

        let added = [bytes, b", ", last.as_bytes()].concat();
        let added =
            HeaderMap::from_iter([(header.clone(), HeaderValue::from_bytes(&added).expect("no new bytes"))]);
        let found = proxies.client(proxy, &added);
        // What is no text, or has a quote that is not closed, is believed in no part of it.
        let is_whole = written.to_str().is_ok() && !bytes.contains(&b'"');
        assert!(found == client || (!is_whole && found == proxy), "{found} is neither client nor proxy");

        let mut two = alone.clone();
        two.append(header, HeaderValue::from_str(&last).expect("visible"));
        assert_eq!(proxies.client(proxy, &two), client, "a header of its own cannot be swallowed");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::properties::{corpus, corpus_texts};

    use super::*;

    #[test]
    fn hold_of_the_corpus() {
        corpus("authorization").iter().for_each(|bytes| authorization(bytes));
        corpus_texts("query").iter().for_each(|text| query(text));
        corpus("forwarded").iter().for_each(|bytes| forwarded(bytes));
        corpus("lines").iter().for_each(|bytes| lines(bytes));
    }

    proptest! {
        #[test]
        fn hold_of_headers(
            text in "(token|Bearer|bearer|TOKEN)? {0,2}[ -~]{0,12}[ \t]{0,2}",
            hops in "((for|by|For)=)?\"?\\[?[0-9a-f:.]{0,16}\\]?\"?[,; \\\\\"]{0,3}([ -~]{0,12})",
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            authorization(text.as_bytes());
            authorization(&bytes);
            forwarded(hops.as_bytes());
            forwarded(&bytes);
        }

        #[test]
        fn hold_of_queries(
            text in "((pageSize|continuationToken|state|other)=[A-Za-z0-9%_-]{0,12}&?){0,4}|[!-~]{0,40}",
            token in "[A-Za-z0-9 :]{0,12}",
        ) {
            query(&text);
            let token = stackbell_wire::rest::page::Cursor::Name(token).to_token();
            query(&format!("continuationToken={token}&{text}"));
        }

        #[test]
        fn hold_of_lines(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), any::<u8>()], 0..200),
            long in 0_usize..40,
        ) {
            lines(&bytes);
            // Beyond what a line may have.
            lines(&[&bytes[..], &vec![b'x'; long], b"\n", &bytes[..]].concat());
        }
    }
}
