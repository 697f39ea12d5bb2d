//! Payloads, bodies and headers, in less room: LZ4 with a dictionary of what is in most of them.
//!
//! A delivered event of 1 KB takes 1.3 KB on disk with it and 2.2 KB without, and a commit has that much less to sync,
//! for a microsecond or so a text.
//! The first byte says how the rest is to be read, so that another way can be added beside those that files have.

use lz4_flex::block::{DecompressError, compress_into_with_dict, decompress_with_dict};

/// As it is.
const PLAIN: u8 = 0;

/// The length in four bytes, the smallest first; then LZ4 with [`DICTIONARY`].
const LZ4: u8 = 1;

/// What files were packed with can never change; a better one gets a first byte of its own.
/// Longer than most texts that it helps with, it is still indexed anew for each: keep it short.
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

/// Shorter texts are not worth a look.
const COMPRESSED_BYTES_MIN: usize = 32;

/// Far above all that is ever packed; a length beyond it is damage, and must not be allocated.
pub(crate) const DECOMPRESSED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why packed bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompressionError {
    #[error("it is packed in a way that this program does not know")]
    Unknown,
    #[error("it is cut short or too long")]
    Length,
    #[error("it is damaged")]
    Damaged(#[from] DecompressError),
}

/// Packs bytes for a column.
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    compressed(bytes).unwrap_or_else(|| {
        let mut plain = Vec::with_capacity(1 + bytes.len());
        plain.push(PLAIN);
        plain.extend_from_slice(bytes);
        plain
    })
}

/// The bytes that something packed takes.
pub(crate) fn size(packed: &[u8]) -> i64 {
    i64::try_from(packed.len()).expect("it is in memory")
}

/// `None` where it would not be shorter.
fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    if !(COMPRESSED_BYTES_MIN..=DECOMPRESSED_BYTES_MAX).contains(&bytes.len()) {
        return None;
    }
    let length = u32::try_from(bytes.len()).ok()?;
    let mut packed = vec![0; 5 + lz4_flex::block::get_maximum_output_size(bytes.len())];
    packed[0] = LZ4;
    packed[1..5].copy_from_slice(&length.to_le_bytes());
    let written = compress_into_with_dict(bytes, &mut packed[5..], DICTIONARY).ok()?;
    packed.truncate(5 + written);
    (packed.len() <= bytes.len()).then_some(packed)
}

/// What [`compress`] packed.
pub(crate) fn decompress(packed: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let (kind, rest) = packed.split_first().ok_or(CompressionError::Length)?;
    match *kind {
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

    /// Has a piece of each part of the dictionary.
    const SAMPLE: &str = concat!(
        r#"{"user":{"name":"Morty","githubLogin":"morty","avatarUrl":"https://avatars.githubusercontent.com/u/1"},"#,
        r#""projectName":"web","stackName":"prod","kind":"update","result":"succeeded","isPreview":false,"#,
        r#""error":"","environmentName":"","text":"","color":"","type":"message"}"#,
        "\r\nServer: nginx\r\nTransfer-Encoding: chunked\r\nPulumi-Webhook-Id: 1\r\nwebhook-timestamp: 17",
    );

    fn check(bytes: &[u8], length_max: usize) {
        let packed = compress(bytes);
        assert!(packed.len() <= length_max, "{} bytes became {}", bytes.len(), packed.len());
        assert_eq!(decompress(&packed).expect("what was packed can be unpacked"), bytes);
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        check(b"", 1);
        check(b"ok", 3);
        check(&[7; 100_000], 500);
        let noise: Vec<u8> = (0_u32..1000).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        check(&noise, 1001);
        check(b"Accept: */*\r\nContent-Type: application/json\r\nPulumi-Webhook-Kind: stack_update\r\n", 20);
        check(DICTIONARY, 40);
    }

    #[test]
    fn what_is_in_files_can_be_read() {
        // Made by the first version: the dictionary is as it was.
        let stored = include_bytes!("compression.sample");
        assert_eq!(String::from_utf8(decompress(stored).expect("readable")), Ok(SAMPLE.to_owned()));
    }

    #[test]
    fn damage_is_seen_and_harms_nobody() {
        let packed = compress(&DICTIONARY.repeat(2));
        for length in 0..packed.len() {
            assert!(decompress(&packed[..length]).is_err(), "{length}");
        }
        for position in 0..packed.len() {
            for bit in 0..8 {
                let mut damaged = packed.clone();
                damaged[position] ^= 1 << bit;
                // It may still come out as something, but neither panics nor allocates what nobody stored.
                let _ = decompress(&damaged);
            }
        }
        assert!(matches!(decompress(&[2, 0]), Err(CompressionError::Unknown)));
        assert!(matches!(decompress(&[1, 255, 255, 255, 255, 0]), Err(CompressionError::Length)));
    }
}
