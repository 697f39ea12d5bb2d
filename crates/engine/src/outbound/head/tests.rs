//! Heads as servers write them. Each was also tested by hand with curl 7.88.1; comments note the differences.

use super::*;

/// Parses a head. Returns it with the head that hyper gets.
fn read(bytes: &[u8]) -> Result<(Head, String), HeadError> {
    match HeadReader::default().feed(bytes)? {
        Fed::Done(head, end) => {
            assert_eq!(end, bytes.len(), "nothing follows");
            let mut plain = Vec::new();
            head.write_plain(&mut plain);
            Ok((head, String::from_utf8(plain).expect("text")))
        }
        Fed::More => panic!("not at its end: {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// `lines` are the lines between the status line and the blank line, each ended by CRLF.
#[track_caller]
fn check(lines: &[u8], kept: &str, framing: &str) {
    let (head, plain) = read(&[b"HTTP/1.1 200 OK\r\n", lines, b"\r\n"].concat()).expect("an answer");
    assert_eq!(head.lines.into_sorted(), kept, "{:?}", String::from_utf8_lossy(lines));
    assert_eq!(plain, format!("HTTP/1.1 200 \r\n{framing}\r\n"), "{:?}", String::from_utf8_lossy(lines));
}

#[test]
fn status_lines() {
    let check = |line: &str, expected: Option<(u16, &str)>| {
        let read = read(format!("{line}\r\ncontent-length: 2\r\n\r\n").as_bytes());
        let actual =
            read.as_ref().map(|(head, plain)| (head.status, plain.split_once("2\r\n").expect("a length").1));
        assert_eq!(actual, expected.ok_or(&HeadError::NotHttp), "{line}");
    };
    for line in ["HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.1 200 ", "http/1.1 200 OK", "HTTP/1.1  200 OK"] {
        check(line, Some((200, "\r\n")));
    }
    for line in ["HTTP/1.1 200OK", "HTTP/1.1 200-OK", "HTTP/1.1 200 Är", "HTTP/1.1 200 O\u{1}K", "HTTP/2 200"]
    {
        check(line, Some((200, "\r\n")));
    }
    for line in ["HTTP/1.1 200 a\rb", "HTTP/2.0 200 OK"] {
        check(line, Some((200, "\r\n")));
    }
    // curl refuses these.
    for line in ["HTTP/1.1\t200 OK", "HTTP/1.2 200 OK", "HTTP/1.1 200 a\0b", "\r\n\r\nHTTP/1.1 200 OK"] {
        check(line, Some((200, "\r\n")));
    }
    check("HTTP/1.0 200 OK", Some((200, "connection: close\r\n\r\n")));
    check("HTTP/1.1 100 OK\r\nX: y\r\n\r\nHTTP/1.1 503 Busy", Some((503, "\r\n")));
    check("HTTP/1.1 199 x\n\nHTTP/1.1 102 y\n\nHTTP/1.1 600 z", Some((600, "\r\n")));
    check("HTTP/1.1 999 OK", Some((999, "\r\n")));
    for line in
        ["HTTP/1.1 2000 OK", "HTTP/1.1 20 OK", "HTTP/1.1 099 OK", "HTTP/1.1 000 OK", "HTTP/1.1 -20 OK"]
    {
        check(line, None);
    }
    for line in
        ["HTTP/1.10 200 OK", "HTTP/3 200 OK", "HTTP 200 OK", " HTTP/1.1 200 OK", "ICY 200 OK", "HTTP/1.1"]
    {
        check(line, None);
    }
    for line in ["SSH-2.0-OpenSSH", "<html>", "200 OK", "HTTP/1.1x200 OK", "HTTP/.1 200", "HTTP/1. 200"] {
        check(line, None);
    }
}

#[test]
fn an_endpoint_that_speaks_something_else_is_not_waited_for() {
    let check = |bytes: &[u8], expected: Result<Fed, HeadError>| {
        assert_eq!(HeadReader::default().feed(bytes), expected, "{bytes:?}");
    };
    check(b"", Ok(Fed::More));
    check(b"\r\n\r\n", Ok(Fed::More));
    check(b"H", Ok(Fed::More));
    check(b"http/1.1 200", Ok(Fed::More));
    check(b"HTML", Err(HeadError::NotHttp));
    check(b"SS", Err(HeadError::NotHttp));
    check(&[21, 3, 3, 0, 2, 2, 70], Err(HeadError::Tls));
    check(&[22, 3, 1, 0, 2], Err(HeadError::Tls));
    check(&[0xff; 512], Err(HeadError::NotHttp));
}

#[test]
fn untidy_lines_are_dropped_and_the_others_kept() {
    const CLOSE: &str = "connection: close\r\n";
    check(b"Server : x\r\nx-a:1\r\n", "Server: x\r\nX-A: 1\r\n", CLOSE);
    check(b"no colon here\r\nX: y\r\n", "X: y\r\n", CLOSE);
    check(b": x\r\nB[]@ d: x\r\nX: y\r\n", "X: y\r\n", CLOSE);
    check(b"X: a\0b\r\nX: a\x01b\r\nX: a\rb\r\nX: a\x7fb\r\nX: y\r\n", "X: y\r\n", CLOSE);
    check(b"X: a\xffb\r\nY:\ta\tb \r\n", "X: a\u{fffd}b\r\nY: a\tb\r\n", CLOSE);
    check(b"X: a\nY: b\n", "X: a\r\nY: b\r\n", CLOSE);
    check(b"X:\r\n", "X: \r\n", CLOSE);
    check(b"X: a\r\n b\r\n\tc\r\nY: d\r\n", "X: a b c\r\nY: d\r\n", CLOSE);
    // curl refuses this one.
    check(b" a\r\nX: y\r\n", "X: y\r\n", CLOSE);
    check(b"no colon\r\n X: y\r\nX: z\r\n", "X: z\r\n", CLOSE);
}

#[test]
fn many_and_long_lines_are_kept_as_far_as_they_fit() {
    let (head, _) =
        read(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)).as_bytes()).expect("read");
    assert_eq!(head.lines.into_sorted().len(), 101 * 6);
    let long = format!("X-Long: {}\r\n", "y".repeat(100_000));
    let last =
        "Retry-After: 7\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n";
    for lines in
        [long.clone(), format!("{long}Y: z\r\n"), "X: y\r\n".repeat(40_000), format!("{long} folded\r\n")]
    {
        let (head, plain) = read(format!("HTTP/1.1 200 OK\r\n{lines}{last}\r\n").as_bytes()).expect("read");
        assert_eq!(plain, "HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n");
        assert_eq!(
            (head.retry_after.as_deref(), head.content_type.as_deref()),
            (Some("7"), Some("text/plain"))
        );
        assert_eq!(head.codings, ["gzip".into()]);
        let kept = head.lines.into_sorted();
        assert!(kept.len() <= crate::outbound::record::KEPT_HEADER_BYTES_MAX, "{} bytes", kept.len());
        assert!(!kept.contains("yyy") && !kept.contains("folded"), "{kept}");
    }
    // Only the start of a long status line is read.
    let (head, _) = read(format!("HTTP/1.1 201 {}\r\n\r\n", "x".repeat(100_000)).as_bytes()).expect("read");
    assert_eq!(head.status, 201);
}

#[test]
fn heads_without_end_are_refused() {
    let check = |bytes: String, expected: HeadError| {
        let mut reader = HeadReader::default();
        let mut read = bytes.as_bytes().chunks(1000).map(|chunk| reader.feed(chunk));
        let refused = read.find(|fed| *fed != Ok(Fed::More));
        assert_eq!(refused, Some(Err(expected)));
    };
    let endless = HEAD_BYTES_MAX + 1;
    check(format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(endless)), HeadError::TooLong);
    check(format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(endless / 6)), HeadError::TooLong);
    check("\r\n".repeat(endless), HeadError::TooLong);
    check("HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM_MAX + 1), HeadError::Interim);
    let large = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(5000));
    check(large.repeat(80), HeadError::TooLong);
    let enough = "HTTP/1.1 102 Processing\r\n\r\n".repeat(INTERIM_MAX);
    let (head, _) = read(format!("{enough}HTTP/1.1 204 Done\r\n\r\n").as_bytes()).expect("read");
    assert_eq!(head.status, 204);
}

#[test]
fn bodies_are_framed() {
    let check = |lines: &str, framing: &str| {
        let (_, plain) = read(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).expect("an answer");
        assert_eq!(plain, format!("HTTP/1.1 200 \r\n{framing}\r\n"), "{lines}");
    };
    for value in ["2", "+2", "\t2 ", "002", "2, 2", "2,2,", "2\r\nContent-Length: 2", "\r\n 2"] {
        check(&format!("Content-Length: {value}\r\n"), "content-length: 2\r\n");
    }
    check("Content-Length : 2\r\n", "content-length: 2\r\n");
    // Like curl, it reads the leading digits. The connection is not reused, because the two ends may disagree.
    for value in ["2abc", "2.0", "2 2"] {
        check(&format!("Content-Length: {value}\r\n"), "content-length: 2\r\nconnection: close\r\n");
    }
    check("Content-Length: 0x2\r\n", "content-length: 0\r\nconnection: close\r\n");
    check("Content-Length: 99999999999999999999999999\r\n", "connection: close\r\n");
    check("", "connection: close\r\n");
    let chunked = "transfer-encoding: chunked\r\n";
    for value in
        ["chunked", "Chunked", "chunked, chunked", "identity, chunked", ",chunked ,", "chunked, identity"]
    {
        check(&format!("Transfer-Encoding: {value}\r\n"), chunked);
    }
    check("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked);
    check("Transfer-Encoding: gzip, chunked\r\n", chunked);
    let closing = format!("{chunked}connection: close\r\n");
    for length in ["2", "x"] {
        check(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &closing);
    }
    // curl refuses these.
    for value in ["xchunked", "chunked;q=1", "\"chunked\"", "chunked, gzip", "gzip"] {
        check(&format!("Content-Length: 2\r\nTransfer-Encoding: {value}\r\n"), "connection: close\r\n");
    }
    check("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "content-length: 2\r\n");
    check("Transfer-Encoding:\r\nContent-Length: 2\r\n", "content-length: 2\r\n");
    check("Content-Length: 2\r\nConnection: x, Close\r\n", "content-length: 2\r\nconnection: close\r\n");
}

#[test]
fn http_1_0_keeps_a_connection_only_when_it_says_so() {
    let plain =
        |lines: &str| read(format!("HTTP/1.0 200 OK\r\n{lines}\r\n").as_bytes()).expect("an answer").1;
    assert_eq!(
        plain("Content-Length: 2\r\nConnection: Keep-Alive\r\n"),
        "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n"
    );
    assert_eq!(
        plain("Transfer-Encoding: chunked\r\n"),
        "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
}

#[test]
fn contradictory_lengths_are_refused() {
    let check = |lines: &str, expected: FramingError| {
        let refused = read(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).map(|_| ());
        assert_eq!(refused, Err(HeadError::Framing(expected)), "{lines}");
        // These statuses have no body, whatever their headers say.
        for status in [204, 304] {
            let (head, plain) = read(format!("HTTP/1.1 {status} x\r\n{lines}\r\n").as_bytes()).expect("read");
            assert_eq!(
                (head.status, plain),
                (status, format!("HTTP/1.1 {status} \r\nconnection: close\r\n\r\n")),
                "{lines}"
            );
        }
    };
    for value in ["", "abc", "-2", "\"2\"", ","] {
        check(&format!("Content-Length: {value}\r\n"), FramingError::NoNumber);
    }
    check("Content-Length: 2\r\nContent-Length: 3\r\n", FramingError::Different);
    // curl takes the first number.
    check("Content-Length: 2, 3\r\n", FramingError::Different);
    check("Content-Length: 2\r\nContent-Length: x\r\n", FramingError::NoNumber);
}

#[test]
fn answers_without_a_body_that_announce_one_end_their_connection() {
    let plain = |head: &str| read(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).expect("an answer").1;
    assert_eq!(plain("204 x"), "HTTP/1.1 204 \r\n\r\n");
    assert_eq!(plain("204 x\r\nContent-Length: 0"), "HTTP/1.1 204 \r\n\r\n");
    assert_eq!(plain("204 x\r\nContent-Length: 2"), "HTTP/1.1 204 \r\nconnection: close\r\n\r\n");
    assert_eq!(plain("304 x\r\nTransfer-Encoding: chunked"), "HTTP/1.1 304 \r\nconnection: close\r\n\r\n");
    assert_eq!(plain("101 x\r\nUpgrade: y"), "HTTP/1.1 101 \r\nconnection: close\r\n\r\n");
}

#[test]
fn a_connection_that_ends_within_a_head_ends_the_head() {
    let check = |bytes: &str, expected: Option<(u16, &str)>| {
        let mut reader = HeadReader::default();
        assert_eq!(reader.feed(bytes.as_bytes()), Ok(Fed::More));
        let head = reader.end().map(|head| (head.status, head.lines.into_sorted()));
        assert_eq!(head, expected.map(|(status, lines)| (status, lines.to_owned())), "{bytes}");
    };
    check("", None);
    check("HTTP/1.1 200 OK", None);
    check("HTTP/1.1 100 Continue\r\n\r\n", None);
    check("HTTP/1.1 100 Continue\r\nX: y\r\n", None);
    check("HTTP/1.1 200 OK\r\n", Some((200, "")));
    check(
        "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: abc\r\nConte",
        Some((200, "Content-Length: abc\r\nX: y\r\n")),
    );
}

#[test]
fn codings_are_in_the_order_in_which_they_were_done() {
    let lines = "Transfer-Encoding: deflate, chunked\r\nContent-Encoding: a, b\r\nContent-Encoding: c\r\n";
    let (head, _) = read(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).expect("read");
    assert_eq!(head.codings, ["a", "b", "c", "deflate"].map(Box::from));
}
