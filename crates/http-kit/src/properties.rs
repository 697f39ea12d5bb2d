//! Properties of the parsers here, for any input. See `stackbell_model::properties` for their callers.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, FORWARDED};
use axum::http::{HeaderMap, HeaderValue, Uri};

use crate::TrustedProxies;
use crate::auth::credential;
use crate::pagination::{CONTINUATION_TOKEN, PAGE_SIZE, PageRequest, id, name};
use crate::query::QueryTexts;
use crate::scheme::Schemes;
use crate::trusted_proxies::X_FORWARDED_FOR;

/// The most entries of a page here.
const SIZE_MAX: usize = 100;

/// A token is the last part of its header, without spaces around it.
pub fn authorization(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, value.clone())]);
    let token =
        |headers: &HeaderMap| credential(headers, Schemes::ACCESS_TOKEN).map(|(_, secret)| secret.to_owned());
    let found = token(&headers);
    if let Some(found) = found {
        assert!(!found.is_empty() && found.trim() == found);
        let text = value.to_str().expect("a token is text");
        assert!(text.trim_end().ends_with(&found), "{found:?} is not the end of {text:?}");
    }
    headers.append(AUTHORIZATION, value);
    assert_eq!(token(&headers), None, "two headers count as none");
}

/// A page has at most the allowed number of entries. A token is good for one kind of list only.
pub fn query(text: &str) {
    let Ok(uri) = format!("/v1/things?{text}").parse::<Uri>() else { return };
    let Ok(query) = QueryTexts::only(&uri, &[PAGE_SIZE, CONTINUATION_TOKEN, "state"]) else { return };
    let Ok(request) = PageRequest::read(&query, SIZE_MAX) else { return };
    assert!(request.size.is_none_or(|size| (1..=SIZE_MAX).contains(&size)));
    let by_id = request.after(id(|id| id));
    let by_name = request.after(name(|name| Ok::<_, ()>(name.to_owned())));
    let has_token = query.find(CONTINUATION_TOKEN).is_some();
    match (by_id, by_name) {
        (Ok(None), Ok(None)) => assert!(!has_token),
        (Ok(Some(_)), Err(_)) | (Err(_), Ok(Some(_))) => assert!(has_token),
        (by_id, by_name) => panic!("a token is good for one list: {:?} {:?}", by_id.is_ok(), by_name.is_ok()),
    }
}

/// The client is the address that the trusted proxy appended, whatever stands to the left of it. An untrusted peer is the
/// client itself.
pub fn forwarded(bytes: &[u8]) {
    const CLIENT: &str = "198.51.100.1";
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]);
    let (proxy, stranger) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([203, 0, 113, 9]));
    let client: IpAddr = CLIENT.parse().expect("an address");
    for (header, last) in [(X_FORWARDED_FOR, CLIENT.to_owned()), (FORWARDED, format!("for={CLIENT}"))] {
        let Ok(written) = HeaderValue::from_bytes(bytes) else { return };
        let alone = HeaderMap::from_iter([(header.clone(), written.clone())]);
        assert_eq!(proxies.client(stranger, &alone), stranger, "only a proxy is believed");
        proxies.client(proxy, &alone);

        let added = [bytes, b", ", last.as_bytes()].concat();
        let added =
            HeaderMap::from_iter([(header.clone(), HeaderValue::from_bytes(&added).expect("no new bytes"))]);
        let found = proxies.client(proxy, &added);
        // A header that is not text, or has an open quote, is not believed at all.
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
    fn hold_for_the_corpus() {
        corpus("authorization").iter().for_each(|bytes| authorization(bytes));
        corpus_texts("query").iter().for_each(|text| query(text));
        corpus("forwarded").iter().for_each(|bytes| forwarded(bytes));
    }

    proptest! {
        #[test]
        fn hold_for_headers(
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
        fn hold_for_queries(
            text in "((pageSize|continuationToken|state|other)=[A-Za-z0-9%_-]{0,12}&?){0,4}|[!-~]{0,40}",
            token in "[A-Za-z0-9 :]{0,12}",
        ) {
            query(&text);
            let token = stackbell_wire::rest::page::Cursor::Name(token).to_token();
            query(&format!("continuationToken={token}&{text}"));
        }
    }
}
