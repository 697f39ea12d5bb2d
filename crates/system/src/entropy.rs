//! Random numbers, seeded by the operating system.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use stackbell_model::Entropy;
use zeroize::Zeroizing;

/// A cryptographically secure generator.
pub struct SystemEntropy(ChaCha20Rng);

impl SystemEntropy {
    /// A generator with a new seed.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that seeds a generator")]
    pub fn seeded() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut seed[..])?;
        Ok(Self(ChaCha20Rng::from_seed(*seed)))
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generators_differ() {
        let draw = || SystemEntropy::seeded().expect("randomness").uuid_v4();
        assert_ne!(draw(), draw());
    }
}
