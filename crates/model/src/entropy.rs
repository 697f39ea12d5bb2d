//! Randomness, passed in as an argument.

use uuid::Uuid;

use crate::Timestamp;

/// The only source of randomness: a cryptographically secure generator in production, a seeded one in tests.
pub trait Entropy: Send {
    /// Fills `bytes` with random bytes.
    fn fill(&mut self, bytes: &mut [u8]);

    /// Returns a random 64-bit number.
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Returns a random fraction in `[0, 1)`.
    fn fraction(&mut self) -> f64 {
        // An f64 holds 53 bits exactly.
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a random UUID, version 4.
    fn uuid_v4(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Returns a UUID, version 7. It is ordered by `now`, so rows made together are stored together.
    fn uuid_v7(&mut self, now: Timestamp) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &bytes).into_uuid()
    }
}

/// An entropy source whose version 7 UUIDs increase strictly, even within a millisecond and after the clock
/// is set back. Rows are therefore listed in the order in which they were made.
pub struct Ordered {
    source: Box<dyn Entropy>,
    milliseconds: i64,
    counter: u16,
}

impl Ordered {
    /// The counter uses the 12 bits after the time. It starts in the lower half of its range to leave room to
    /// count.
    const COUNTER_MAX: u16 = 0x0fff;
    const COUNTER_START_MASK: u16 = 0x07ff;

    /// Wraps `source`.
    pub fn new(source: Box<dyn Entropy>) -> Self {
        Self { source, milliseconds: i64::MIN, counter: 0 }
    }

    fn advance(&mut self, now: i64) {
        if now <= self.milliseconds && self.counter < Self::COUNTER_MAX {
            self.counter += 1;
        } else {
            self.milliseconds = now.max(self.milliseconds.saturating_add(1));
            self.counter = (self.source.next_u64() & u64::from(Self::COUNTER_START_MASK)) as u16;
        }
    }
}

impl Entropy for Ordered {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.source.fill(bytes);
    }

    fn uuid_v7(&mut self, now: Timestamp) -> Uuid {
        self.advance(now.as_millis());
        let mut bytes = [0; 10];
        self.source.fill(&mut bytes[2..]);
        // The counter has 12 bits; the version takes the other four of the first 16.
        bytes[..2].copy_from_slice(&self.counter.to_be_bytes());
        let milliseconds = u64::try_from(self.milliseconds).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Entropy for Ones {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    #[test]
    fn ordered_ids_rise_whatever_the_clock_does() {
        let mut ordered = Ordered::new(Box::new(Ones));
        let times = (0..10_000).map(|n| 1_000 - n / 5_000).chain([2_000, 1_500, 2_001]);
        let ids: Vec<Uuid> = times.map(|ms| ordered.uuid_v7(Timestamp::from_millis(ms))).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }
}
