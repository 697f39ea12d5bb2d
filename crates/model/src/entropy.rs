//! Chance, handed in.

use uuid::Uuid;

use crate::Timestamp;

/// The one source of chance. In production a cryptographically secure generator, in tests a seeded one.
pub trait Entropy: Send {
    /// Fills `bytes` with random bytes.
    fn fill(&mut self, bytes: &mut [u8]);

    /// A random 64-bit number.
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random fraction, from 0 up to but not including 1.
    fn fraction(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A random UUID, version 4.
    fn uuid_v4(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A UUID, version 7: ordered by `now`, so that rows made together lie together.
    fn uuid_v7(&mut self, now: Timestamp) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &bytes).into_uuid()
    }
}

/// Chance whose version 7 UUIDs rise strictly, also within a millisecond and when the clock is set back:
/// what is made in order is listed in order.
pub struct Ordered {
    source: Box<dyn Entropy>,
    milliseconds: i64,
    counter: u16,
}

impl Ordered {
    /// The 12 bits behind the time; it starts in their lower half, so that there is room to count.
    const COUNTER_MAX: u16 = 0x0fff;
    const COUNTER_START_MASK: u16 = 0x07ff;

    /// Orders what `source` gives.
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
        // Four of the first 16 bits make room for the version.
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
