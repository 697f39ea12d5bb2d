//! What holds of the parsers here, whatever they are given: see `stackbell_model::properties` for who asks.

use crate::rows::packed::{UNPACKED_BYTES_MAX, pack, unpack};

/// What was packed comes out as it went in, and takes a byte more at the most; anything else is an error, or no more than
/// is ever packed.
pub fn packed(bytes: &[u8]) {
    let made = pack(bytes);
    assert!(made.len() <= bytes.len() + 1, "{} bytes became {}", bytes.len(), made.len());
    assert_eq!(unpack(&made).expect("what was packed can be unpacked"), bytes);
    if let Ok(plain) = unpack(bytes) {
        assert!(plain.len() <= UNPACKED_BYTES_MAX);
        assert_eq!(unpack(&pack(&plain)).expect("what was packed can be unpacked"), plain);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::properties::corpus;

    use super::*;

    #[test]
    fn hold_of_the_corpus() {
        corpus("packed").iter().for_each(|bytes| packed(bytes));
    }

    proptest! {
        #[test]
        fn hold_of_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in "(\\{\"user\":\\{\"name\":\"|\"kind\":\"update\"|[ -~]{0,8}){0,12}",
            length in 0_u32..300,
        ) {
            packed(&bytes);
            packed(text.as_bytes());
            packed(&[&[1][..], &length.to_le_bytes(), &bytes].concat());
        }
    }
}
