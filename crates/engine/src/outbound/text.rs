//! The start of a body as text: decompressed, and decoded from the charset of the response.
//!
//! Decompression stops at the number of bytes to keep, so a compressed bomb does no harm.

use std::io::{self, Read};

use encoding_rs::{Encoding, UTF_8};
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

/// The most encodings of one body that are decoded. More than one is rare.
const CODINGS_MAX: usize = 4;

/// The start of a body.
pub(super) struct Beginning {
    pub(super) bytes: Vec<u8>,
    /// Whether the body was longer.
    pub(super) is_cut: bool,
}

/// Returns at most `keep` bytes of text. `codings` are the encodings in the order in which they were applied.
pub(super) fn of(
    mut body: Beginning,
    codings: &[Box<str>],
    content_type: Option<&str>,
    keep: usize,
) -> Box<str> {
    for coding in codings.iter().rev().take(CODINGS_MAX) {
        match unpacked(&body.bytes, coding, keep) {
            Some(beginning) => body = Beginning { is_cut: beginning.is_cut || body.is_cut, ..beginning },
            None => break,
        }
    }
    decoded(body, content_type.and_then(charset).unwrap_or(UTF_8), keep)
}

/// `None` if the body does not match its encoding, or the encoding is unknown. The body is then kept as received.
fn unpacked(bytes: &[u8], coding: &str, keep: usize) -> Option<Beginning> {
    if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
        beginning(GzDecoder::new(bytes), keep)
    } else if coding.eq_ignore_ascii_case("deflate") {
        // Some servers omit the zlib header that the standard requires.
        beginning(ZlibDecoder::new(bytes), keep).or_else(|| beginning(DeflateDecoder::new(bytes), keep))
    } else if coding.eq_ignore_ascii_case("identity") {
        Some(Beginning { bytes: bytes.to_vec(), is_cut: false })
    } else {
        None
    }
}

/// Reads up to `keep` bytes. `None` if not even the first byte can be read.
fn beginning(reader: impl Read, keep: usize) -> Option<Beginning> {
    let limit = u64::try_from(keep).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    // The bytes before an error are kept, because the input may be cut.
    let read: io::Result<usize> = reader.take(limit).read_to_end(&mut bytes);
    if read.is_err() && bytes.is_empty() {
        return None;
    }
    let is_cut = read.is_err() || bytes.len() > keep;
    bytes.truncate(keep);
    Some(Beginning { bytes, is_cut })
}

/// Decodes the text. A byte order mark overrides the declared charset. Invalid bytes become U+FFFD, and an incomplete character
/// at the end of a cut body is dropped.
fn decoded(body: Beginning, declared: &'static Encoding, keep: usize) -> Box<str> {
    let Beginning { bytes, is_cut } = body;
    let (encoding, mark_bytes) = Encoding::for_bom(&bytes).unwrap_or((declared, 0));
    let bytes = if encoding == UTF_8 && mark_bytes == 0 {
        // Most bodies are UTF-8, and validating is much faster than decoding.
        match String::from_utf8(bytes) {
            Ok(text) => return text.into(),
            Err(error) => error.into_bytes(),
        }
    } else {
        bytes
    };
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let encoded = &bytes[mark_bytes..];
    let mut text = String::new();
    text.reserve(decoder.max_utf8_buffer_length(encoded.len()).unwrap_or(encoded.len()));
    let _ = decoder.decode_to_string(encoded, &mut text, !is_cut);
    text.truncate(text.floor_char_boundary(keep));
    text.into()
}

/// The encoding that a `Content-Type` names, if it is a standard web encoding.
fn charset(content_type: &str) -> Option<&'static Encoding> {
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let named = |(name, value): (&str, &'_ str)| {
        let label = value.trim().trim_matches(['"', '\'']);
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        if is_charset { Encoding::for_label_no_replacement(label.as_bytes()) } else { None }
    };
    parameters.filter_map(named).next()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn text_of(
        bytes: &[u8],
        is_cut: bool,
        codings: &[&str],
        content_type: Option<&str>,
        keep: usize,
    ) -> String {
        let codings: Vec<Box<str>> = codings.iter().map(|coding| (*coding).into()).collect();
        of(Beginning { bytes: bytes.to_vec(), is_cut }, &codings, content_type, keep).into()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    #[test]
    fn packed_bodies_are_unpacked() {
        let check = |bytes: &[u8], codings: &[&str], expected: &str| {
            assert_eq!(text_of(bytes, false, codings, None, 100), expected, "{codings:?}");
        };
        let said = "endpoint returned HTTP error 413".as_bytes();
        for coding in ["gzip", "GZIP", "x-gzip"] {
            check(&gzip(said), &[coding], "endpoint returned HTTP error 413");
        }
        check(&zlib(said), &["deflate"], "endpoint returned HTTP error 413");
        check(&deflate(said), &["deflate"], "endpoint returned HTTP error 413");
        check(said, &["identity"], "endpoint returned HTTP error 413");
        check(&gzip(&zlib(said)), &["deflate", "gzip"], "endpoint returned HTTP error 413");
        check(b"plain", &["gzip"], "plain");
        check(b"plain", &["deflate"], "plain");
        check(b"plain", &["br"], "plain");
        check(b"", &["gzip"], "");
    }

    #[test]
    fn a_packed_body_that_was_cut_is_unpacked_as_far_as_it_goes() {
        let packed = deflate(&[b'a'; 3000].map(|_| b'a'));
        let cut = text_of(&packed[..packed.len() - 3], true, &["deflate"], None, 5000);
        assert!(cut.len() <= 3000 && cut.bytes().all(|byte| byte == b'a'), "{cut}");
        let mixed: Vec<u8> = (0..6000_u32).flat_map(|i| format!("{i} ").into_bytes()).collect();
        let packed = gzip(&mixed);
        let cut = text_of(&packed[..packed.len() / 2], true, &["gzip"], None, 100_000);
        assert!(cut.len() > 1000 && mixed.starts_with(cut.as_bytes()), "{} bytes", cut.len());
    }

    #[test]
    fn no_more_is_unpacked_than_is_kept() {
        let bomb = gzip(&vec![b'a'; 50_000_000]);
        assert_eq!(text_of(&bomb, false, &["gzip"], None, 1000), "a".repeat(1000));
        let nested = gzip(&bomb);
        assert_eq!(text_of(&nested, false, &["gzip", "gzip"], None, 60_000).len(), 60_000);
        let many = vec!["identity"; 1000];
        assert_eq!(text_of(b"a", false, &many, None, 10), "a");
    }

    #[test]
    fn declared_charsets_are_decoded() {
        let check = |bytes: &[u8], content_type: Option<&str>, expected: &str| {
            assert_eq!(text_of(bytes, false, &[], content_type, 100), expected, "{content_type:?}");
        };
        check("aé🍌".as_bytes(), None, "aé🍌");
        check("aé🍌".as_bytes(), Some("text/plain; charset=utf-8"), "aé🍌");
        check(b"a\xe9\x80", Some("text/plain; charset=windows-1252"), "aé€");
        check(b"a\xe9", Some("text/html;Charset=\"ISO-8859-1\""), "aé");
        check(b"a\xe9", Some("text/html; x=y; charset = 'latin1' ; z"), "aé");
        check(b"h\0i\0", Some("text/plain; charset=utf-16le"), "hi");
        check(b"\0h\0i", Some("text/plain; charset=UTF-16BE"), "hi");
        check(b"\xff\xfeh\0i\0", None, "hi");
        check(b"\xfe\xff\0h\0i", Some("text/plain; charset=utf-16"), "hi");
        check(b"\xef\xbb\xbfhi", Some("application/json"), "hi");
        check(b"\x83\x65", Some("text/plain; charset=shift_jis"), "テ");
        check(b"a\xff", Some("text/plain; charset=nothing"), "a\u{fffd}");
        check(b"a\xff", Some("text/plain; charset="), "a\u{fffd}");
        check(b"a\xff", Some("charset=latin1"), "a\u{fffd}");
    }

    #[test]
    fn a_character_that_was_cut_off_is_left_out() {
        let check = |bytes: &[u8], charset: &str, expected: &str| {
            let content_type = format!("text/plain; charset={charset}");
            assert_eq!(text_of(bytes, true, &[], Some(&content_type), 100), expected, "{bytes:?}");
        };
        check(b"", "utf-8", "");
        check("aé".as_bytes(), "utf-8", "aé");
        check(b"a\xc3", "utf-8", "a");
        check(b"a\xf0\x9f\x8d", "utf-8", "a");
        check(b"a\xff", "utf-8", "a\u{fffd}");
        check(b"h\0i", "utf-16le", "h");
        check(b"h\0\x3c\xd8", "utf-16le", "h");
    }

    #[test]
    fn text_is_cut_where_the_caller_says() {
        assert_eq!(text_of(&[0xe9; 10], false, &[], Some("a; charset=latin1"), 5), "éé");
        assert_eq!(text_of(&[0xff; 10], false, &[], None, 4), "\u{fffd}");
    }
}
