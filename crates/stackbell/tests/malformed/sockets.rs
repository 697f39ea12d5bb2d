//! Bytes that are not a valid request. The response is 4xx, or the connection ends.

use std::net::SocketAddr;

use stackbell_testkit::raw;

pub(crate) async fn check(address: SocketAddr, token: &str) {
    let head = format!("Authorization: token {token}\r\nHost: a\r\n");
    let get = "GET /api/orgs/acme/hooks HTTP/1.1\r\n";
    let post = "POST /api/orgs/acme/hooks HTTP/1.1\r\n";
    let many_headers = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    let long = "x".repeat(1024 * 1024);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("garbage", b"garbage\r\n\r\n".to_vec()),
        ("bytes", [&[0, 1, 2, 255, 254][..], b"\r\n\r\n"].concat()),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a version", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("no version", b"GET /\r\n\r\n".to_vec()),
        ("no path", b"GET HTTP/1.1\r\n\r\n".to_vec()),
        ("a lower-case method", b"get / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("a space in the path", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("a header without colon", format!("{get}{head}nonsense\r\n\r\n").into_bytes()),
        ("a header name with a space", format!("{get}{head}x y: 1\r\n\r\n").into_bytes()),
        ("a folded header", format!("{get}{head}x: 1\r\n  2\r\n\r\n").into_bytes()),
        ("a NUL in a header", format!("{get}{head}x: a\0b\r\n\r\n").into_bytes()),
        ("a bare return in a header", format!("{get}{head}x: a\rb\r\n\r\n").into_bytes()),
        ("200 headers", format!("{get}{head}{many_headers}\r\n").into_bytes()),
        ("a header of a megabyte", format!("{get}{head}x: {long}\r\n\r\n").into_bytes()),
        ("a path of a megabyte", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()),
        ("a negative length", format!("{post}{head}Content-Length: -1\r\n\r\n{{}}").into_bytes()),
        ("no number", format!("{post}{head}Content-Length: two\r\n\r\n{{}}").into_bytes()),
        (
            "a length beyond 64 bits",
            format!("{post}{head}Content-Length: 99999999999999999999\r\n\r\n").into_bytes(),
        ),
        ("more than allowed", format!("{post}{head}Content-Length: 99999999999\r\n\r\n").into_bytes()),
        (
            "two lengths",
            format!("{post}{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}").into_bytes(),
        ),
        (
            "length and chunks",
            format!(
                "{post}{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
            )
            .into_bytes(),
        ),
        ("a bad chunk", format!("{post}{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n").into_bytes()),
        ("an unknown transfer", format!("{post}{head}Transfer-Encoding: gzip\r\n\r\n{{}}").into_bytes()),
        (
            "an unknown expectation",
            format!("{post}{head}Expect: wonders\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes(),
        ),
        ("CONNECT", b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("a proxy's request", b"GET http://127.0.0.1:22/ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (
            "a token that is no text",
            [get.as_bytes(), b"Host: a\r\nAuthorization: token \xff\xfe\r\n\r\n"].concat(),
        ),
    ];
    for (name, bytes) in rows {
        let answer = raw(address, &bytes).await;
        let is_refused =
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4");
        assert!(is_refused, "{name}: {answer}");
    } // The response comes before all bytes are sent, so the connection may be closed first.
    for path in ["/api/orgs/acme/hooks", "/v1/orgs/acme/events"] {
        let request = format!("POST {path} HTTP/1.1\r\n{head}Content-Length: 4194305\r\n\r\n");
        let answer = raw(address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("at most 4194304 bytes"), "{answer}");
    }
}
