use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::lines::{LineText, Lines, line_bytes_max};

/// The most bytes of a payload here.
const PAYLOAD_BYTES_MAX: usize = 20;

/// The step between sizes of chunks, from one byte to chunks of many lines.
const CHUNK_STEP: usize = 11;

/// For any chunks of a body, its lines are the texts between its line feeds, numbered from 1. Blank lines are left out, and a
/// long line has no text. The first byte of the input is the size of the chunks.
pub fn lines(bytes: &[u8]) {
    let Some((size, text)) = bytes.split_first() else { return };
    let size = 1 + usize::from(*size) * CHUNK_STEP;
    let long = line_bytes_max(PAYLOAD_BYTES_MAX);
    // The first byte 0xff stands for so many bytes that the line is nearly too long.
    let many = text.iter().position(|byte| *byte == 0xff);
    let counted = text.iter().enumerate().map(|(at, byte)| (*byte, if many == Some(at) { long } else { 1 }));
    let text: Vec<u8> = counted.flat_map(|(byte, count)| std::iter::repeat_n(byte, count)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    assert_eq!(runtime.block_on(read(&text, size, long)), expected(&text, long));
}

async fn read(text: &[u8], size: usize, line_bytes_max: usize) -> Vec<(u64, Option<Bytes>)> {
    let chunks: Vec<_> =
        text.chunks(size).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk))).collect();
    let mut lines = Lines::new(Body::from_stream(stream::iter(chunks)), line_bytes_max);
    let mut read = Vec::new();
    while let Some(line) = lines.next().await.expect("the body is whole") {
        read.push((
            line.number,
            match line.text {
                LineText::Whole(text) => Some(text),
                LineText::TooLong => None,
            },
        ));
    }
    read
}

fn expected(text: &[u8], long: usize) -> Vec<(u64, Option<Bytes>)> {
    let all = text.split(|byte| *byte == b'\n').zip(1..).filter_map(|(line, number)| {
        let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_blank = line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        match line.len() > long {
            true => Some((number, None)),
            false if is_blank => None,
            false => Some((number, Some(Bytes::copy_from_slice(line)))),
        }
    });
    all.collect()
}
