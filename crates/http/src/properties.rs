//! Properties of the parsers here, for any input. See `stackbell_model::properties` for their callers.

pub use stackbell_http_kit::properties::{authorization, forwarded, query};

pub use crate::v1::events::properties::lines;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::properties::corpus;

    use super::*;

    #[test]
    fn hold_for_the_corpus() {
        corpus("lines").iter().for_each(|bytes| lines(bytes));
    }

    proptest! {
        #[test]
        fn hold_for_lines(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), any::<u8>()], 0..200),
            long in 0_usize..40,
        ) {
            lines(&bytes);
            // Longer than a line may be.
            lines(&[&bytes[..], &vec![b'x'; long], b"\n", &bytes[..]].concat());
        }
    }
}
