//! Compression of payloads, bodies and headers: LZ4 with a dictionary of their common parts.
//!
//! A delivered event of 1 KB takes 1.3 KB on disk, and 2.2 KB without compression. A commit therefore syncs fewer bytes, for
//! about a microsecond of CPU for each value.
//! The first byte of a value names its format, so that a new format can be added.

use lz4_flex::block::{DecompressError, compress_into_with_dict, decompress_with_dict};

/// The format of uncompressed bytes.
const PLAIN: u8 = 0;

/// The format of compressed bytes: the length in four bytes, little-endian, then LZ4 with [`DICTIONARY`].
const LZ4: u8 = 1;

/// The dictionary of [`LZ4`]. It can never change, because files depend on it; another dictionary needs a new format.
/// Keep it short: LZ4 indexes it again for each value.
const DICTIONARY: &[u8] = concat!(
    r#""type":"mrkdwn","text":"","color":"#,
    r#"{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":"#,
    r#""changeRequestId":"","environmentName":"","policyPackName":"","policyName":"","error":"","operation":""#,
    r#","deploymentVersion":1,"resourceChanges":{"create":1,"update":1,"delete":1,"replace":1,"same":1}"#,
    r#","kind":"preview","kind":"destroy","kind":"refresh","kind":"update","result":"failed","result":"succeeded""#,
    r#","isPreview":true},"isPreview":false},"stackName":"","projectName":"","updateUrl":"https://"#,
    r#","avatarUrl":"https://avatars.githubusercontent.com/u/"},"organization":{"name":"","githubLogin":"#,
    r#""{"user":{"name":"","githubLogin":"","avatarUrl":"https://"#,
    "Cache-Control: no-cache\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 0\r\nContent-Length: 2\r\n",
    "Content-Type: application/json; charset=utf-8\r\nContent-Type: text/html; charset=utf-8\r\n",
    "Content-Type: text/plain; charset=utf-8\r\nDate: Mon, 01 Jan 2026 00:00:00 GMT\r\nServer: nginx\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Accept: */*\r\nContent-Type: application/json\r\nPulumi-Webhook-Id: ",
    "\r\nPulumi-Webhook-Kind: stack_update\r\nPulumi-Webhook-Signature: ",
    "\r\nwebhook-id: \r\nwebhook-signature: v1,=\r\nwebhook-timestamp: 17",
)
.as_bytes();

/// Shorter values are not compressed.
const COMPRESSED_BYTES_MIN: usize = 32;

/// The maximum length of a decompressed value, far above that of any stored value. A larger length is damage and is not
/// allocated.
pub(crate) const DECOMPRESSED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The reason why a value cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompressionError {
    #[error("it is compressed in a format that this program does not know")]
    Unknown,
    #[error("it is cut short or too long")]
    Length,
    #[error("it is damaged")]
    Damaged(#[from] DecompressError),
}

/// Compresses a value for a column.
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    compressed(bytes).unwrap_or_else(|| {
        let mut plain = Vec::with_capacity(1 + bytes.len());
        plain.push(PLAIN);
        plain.extend_from_slice(bytes);
        plain
    })
}

/// The stored size of a compressed value, in bytes.
pub(crate) fn size(compressed: &[u8]) -> i64 {
    i64::try_from(compressed.len()).expect("it is in memory")
}

/// Compresses a value by [`LZ4`]; `None` if the result is not shorter.
fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    if !(COMPRESSED_BYTES_MIN..=DECOMPRESSED_BYTES_MAX).contains(&bytes.len()) {
        return None;
    }
    let length = u32::try_from(bytes.len()).ok()?;
    let mut compressed = vec![0; 5 + lz4_flex::block::get_maximum_output_size(bytes.len())];
    compressed[0] = LZ4;
    compressed[1..5].copy_from_slice(&length.to_le_bytes());
    let written = compress_into_with_dict(bytes, &mut compressed[5..], DICTIONARY).ok()?;
    compressed.truncate(5 + written);
    (compressed.len() <= bytes.len()).then_some(compressed)
}

/// Decompresses a value that [`compress`] compressed.
pub(crate) fn decompress(compressed: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let (format, rest) = compressed.split_first().ok_or(CompressionError::Length)?;
    match *format {
        PLAIN => Ok(rest.to_vec()),
        LZ4 => {
            let (length, rest) = rest.split_first_chunk().ok_or(CompressionError::Length)?;
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            if length > DECOMPRESSED_BYTES_MAX {
                return Err(CompressionError::Length);
            }
            let bytes = decompress_with_dict(rest, length, DICTIONARY)?;
            if bytes.len() == length { Ok(bytes) } else { Err(CompressionError::Length) }
        }
        _ => Err(CompressionError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text with a part of each line of the dictionary.
    const SAMPLE: &str = concat!(
        r#"{"user":{"name":"Morty","githubLogin":"morty","avatarUrl":"https://avatars.githubusercontent.com/u/1"},"#,
        r#""projectName":"web","stackName":"prod","kind":"update","result":"succeeded","isPreview":false,"#,
        r#""error":"","environmentName":"","text":"","color":"","type":"message"}"#,
        "\r\nServer: nginx\r\nTransfer-Encoding: chunked\r\nPulumi-Webhook-Id: 1\r\nwebhook-timestamp: 17",
    );

    fn check(bytes: &[u8], length_max: usize) {
        let compressed = compress(bytes);
        assert!(compressed.len() <= length_max, "{} bytes became {}", bytes.len(), compressed.len());
        assert_eq!(decompress(&compressed).expect("a compressed value"), bytes);
    }

    #[test]
    fn decompression_restores_the_value() {
        check(b"", 1);
        check(b"ok", 3);
        check(&[7; 100_000], 500);
        let noise: Vec<u8> = (0_u32..1000).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        check(&noise, 1001);
        check(b"Accept: */*\r\nContent-Type: application/json\r\nPulumi-Webhook-Kind: stack_update\r\n", 20);
        check(DICTIONARY, 40);
    }

    #[test]
    fn values_of_the_first_version_can_be_read() {
        // The first version made this sample, so it shows that the dictionary is unchanged.
        let stored = include_bytes!("compression.sample");
        assert_eq!(String::from_utf8(decompress(stored).expect("readable")), Ok(SAMPLE.to_owned()));
    }

    #[test]
    fn damaged_values_neither_panic_nor_allocate_much() {
        let compressed = compress(&DICTIONARY.repeat(2));
        for length in 0..compressed.len() {
            assert!(decompress(&compressed[..length]).is_err(), "{length}");
        }
        for position in 0..compressed.len() {
            for bit in 0..8 {
                let mut damaged = compressed.clone();
                damaged[position] ^= 1 << bit;
                // The result may be an error or other bytes.
                let _ = decompress(&damaged);
            }
        }
        assert!(matches!(decompress(&[2, 0]), Err(CompressionError::Unknown)));
        assert!(matches!(decompress(&[1, 255, 255, 255, 255, 0]), Err(CompressionError::Length)));
    }
}
