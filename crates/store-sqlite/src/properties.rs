//! Properties of the parsers in this crate, for any input. `stackbell_model::properties` says who checks them.

use crate::rows::compression::{DECOMPRESSED_BYTES_MAX, compress, decompress};

/// Decompression restores a compressed value, which is at most one byte longer than the value. Other input is an error, or
/// decompresses to at most the maximum length.
pub fn compressed(bytes: &[u8]) {
    let made = compress(bytes);
    assert!(made.len() <= bytes.len() + 1, "{} bytes became {}", bytes.len(), made.len());
    assert_eq!(decompress(&made).expect("a compressed value"), bytes);
    if let Ok(plain) = decompress(bytes) {
        assert!(plain.len() <= DECOMPRESSED_BYTES_MAX);
        assert_eq!(decompress(&compress(&plain)).expect("a compressed value"), plain);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::properties::corpus;

    use super::*;

    #[test]
    fn hold_for_the_corpus() {
        corpus("compressed").iter().for_each(|bytes| compressed(bytes));
    }

    proptest! {
        #[test]
        fn hold_for_any_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in "(\\{\"user\":\\{\"name\":\"|\"kind\":\"update\"|[ -~]{0,8}){0,12}",
            length in 0_u32..300,
        ) {
            compressed(&bytes);
            compressed(text.as_bytes());
            compressed(&[&[1][..], &length.to_le_bytes(), &bytes].concat());
        }
    }
}
