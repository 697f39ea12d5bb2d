//! What holds of the parsers here, whatever they are given: see `stackbell_model::properties` for who asks.

use crate::rows::compression::{DECOMPRESSED_BYTES_MAX, compress, decompress};

/// What was packed comes out as it went in, and takes a byte more at the most; anything else is an error, or no more than
/// is ever packed.
pub fn compressed(bytes: &[u8]) {
    let made = compress(bytes);
    assert!(made.len() <= bytes.len() + 1, "{} bytes became {}", bytes.len(), made.len());
    assert_eq!(decompress(&made).expect("what was packed can be unpacked"), bytes);
    if let Ok(plain) = decompress(bytes) {
        assert!(plain.len() <= DECOMPRESSED_BYTES_MAX);
        assert_eq!(decompress(&compress(&plain)).expect("what was packed can be unpacked"), plain);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::properties::corpus;

    use super::*;

    #[test]
    fn hold_of_the_corpus() {
        corpus("compressed").iter().for_each(|bytes| compressed(bytes));
    }

    proptest! {
        #[test]
        fn hold_of_bytes(
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
