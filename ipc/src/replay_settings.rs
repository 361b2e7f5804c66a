//! Checks the settings of the replay filter: in `gatewayd` when it reads the configuration, in `mix-ingress` before it serves.

mod sizing;

use std::f64::consts::LN_2;

pub use sizing::BLOCK_LEN;

use super::{control::ReplayConfig, ingress_store::GENERATION_LIMIT};

/// With one generation, all marks would be gone when it is dropped.
const FEWEST_GENERATIONS: u64 = 2;

/// The dimensions of one generation of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationSize {
    /// Blocks of [`BLOCK_LEN`] bytes.
    pub blocks: u64,
    /// Packets for which the configured rate of false positives holds.
    pub packets: u32,
    /// Bits that each packet sets.
    pub hashes: u32,
}

/// Why the settings of the replay filter are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaySettingsError {
    /// One generation is larger than any may be.
    #[error(
        "the replay filter of {packets} packets would need {len} bytes for each generation, and {GENERATION_LIMIT} are \
         allowed: lower `packets_per_generation`, or raise `false_positive_rate`"
    )]
    TooLarge {
        /// `packets_per_generation`.
        packets: u32,
        /// Bytes of one generation.
        len: u64,
    },
    /// The memory is too small for two generations.
    #[error(
        "`memory` is {memory} bytes, and the replay filter needs two generations of {len} bytes each: raise `memory`, or \
         lower `packets_per_generation`"
    )]
    TooLittleMemory {
        /// `memory`.
        memory: u64,
        /// Bytes of one generation.
        len: u64,
    },
    /// Marks would have to be kept longer than their period.
    #[error("`kept_at_least` is longer than `period`: raise `period`, or lower `kept_at_least`")]
    LeastExceedsPeriod,
}

impl ReplaySettingsError {
    /// The keys in `[replay]` that cause the error, the likeliest first.
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::TooLarge { .. } => &["packets_per_generation", "false_positive_rate"],
            Self::TooLittleMemory { .. } => &["memory", "packets_per_generation", "false_positive_rate"],
            Self::LeastExceedsPeriod => &["kept_at_least", "period"],
        }
    }
}

impl ReplayConfig {
    /// The dimensions of one generation: for as many packets as configured, or for a few less if otherwise two generations would not
    /// fit into the memory. Takes milliseconds.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn generation(&self) -> Result<GenerationSize, ReplaySettingsError> {
        self.check()?;
        let rate = self.rate();
        let room = (self.memory / FEWEST_GENERATIONS).min(GENERATION_LIMIT) / BLOCK_LEN as u64;
        let configured = self.packets_per_generation.max(1);
        let wanted = sizing::blocks_for(configured, rate);
        let (blocks, packets) =
            if wanted <= room { (wanted, configured) } else { (room, sizing::packets_in(room, rate, configured)) };
        Ok(GenerationSize { blocks, packets, hashes: sizing::best(packets, blocks).0 })
    }

    /// Whether the settings can be kept, without the work of [`generation`](Self::generation).
    ///
    /// # Errors
    /// Why the settings are refused.
    pub fn check(&self) -> Result<(), ReplaySettingsError> {
        let (memory, len) = (self.memory, self.least_len());
        if len > GENERATION_LIMIT {
            return Err(ReplaySettingsError::TooLarge { packets: self.packets_per_generation, len });
        }
        if memory / len < FEWEST_GENERATIONS {
            return Err(ReplaySettingsError::TooLittleMemory { memory, len });
        }
        if self.kept_at_least > self.period {
            return Err(ReplaySettingsError::LeastExceedsPeriod);
        }
        Ok(())
    }

    /// The least bytes of a generation: those of a Bloom filter without blocks. In fewer bytes a generation would hold far fewer packets
    /// than configured.
    fn least_len(&self) -> u64 {
        let packets = f64::from(self.packets_per_generation.max(1));
        let bytes = (packets * self.rate().ln() / (-8.0 * LN_2 * LN_2)).ceil() as u64;
        (bytes.div_ceil(8) * 8).max(BLOCK_LEN as u64)
    }

    fn rate(&self) -> f64 {
        f64::from(self.false_positives_per_billion.max(1)) / 1e9
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PERIOD: Duration = Duration::from_hours(24);

    /// With so many packets, so many false positives per billion and so much memory.
    const fn config(packets: u32, per_billion: u32, memory: u64) -> ReplayConfig {
        ReplayConfig {
            packets_per_generation: packets,
            period: PERIOD,
            kept_at_least: Duration::from_hours(1),
            memory,
            false_positives_per_billion: per_billion,
            snapshot_interval: Duration::from_mins(1),
        }
    }

    #[test]
    fn a_generation_is_as_large_as_its_packets_need() {
        let size = |packets, per_billion, memory| config(packets, per_billion, memory).generation();
        assert_eq!(
            size(10_000_000, 10_000, 352 << 20),
            Ok(GenerationSize { blocks: 575_686, packets: 10_000_000, hashes: 14 })
        );
        assert_eq!(size(0, 0, u64::MAX), size(1, 1, u64::MAX), "nothing counts as one");
    }

    #[test]
    fn a_generation_that_does_not_fit_takes_fewer_packets() {
        let size = config(10_000_000, 10_000, 64 << 20).generation().unwrap();
        assert_eq!((size.blocks * BLOCK_LEN as u64, size.packets), (32 << 20, 9_107_195));
        let size = config(350_000_000, 10_000, u64::MAX).generation().unwrap();
        assert_eq!(size.blocks * BLOCK_LEN as u64, GENERATION_LIMIT);
        assert_eq!((size.packets, size.hashes), (sizing::packets_in(size.blocks, 1e-5, u32::MAX), 14));
    }

    #[test]
    fn a_generation_over_its_limit_is_refused() {
        assert_eq!(config(358_471_873, 10_000, u64::MAX).check(), Ok(()));
        let (packets, len) = (358_471_874, GENERATION_LIMIT + 8);
        let refused = Err(ReplaySettingsError::TooLarge { packets, len });
        assert_eq!(config(packets, 10_000, u64::MAX).check(), refused);
        assert_eq!(config(packets, 10_000, u64::MAX).generation().map(|_| ()), refused);
    }

    #[test]
    fn memory_for_less_than_two_generations_is_refused() {
        for (packets, per_billion, len) in [(10_000_000, 10_000, 29_953_312), (100, 1, 544), (13, 1, 72), (0, 0, 64)] {
            let memory = 2 * len - 1;
            let refused = Err(ReplaySettingsError::TooLittleMemory { memory, len });
            assert_eq!(config(packets, per_billion, memory).check(), refused);
            for enough in [memory + 1, memory + 2, 10 * len + 1] {
                assert_eq!(config(packets, per_billion, enough).check(), Ok(()));
            }
        }
    }

    #[test]
    fn marks_are_kept_for_their_period_at_the_longest() {
        let keeping = |kept_at_least| ReplayConfig { kept_at_least, ..config(10, 1, 1 << 20) };
        assert_eq!(keeping(PERIOD).check(), Ok(()));
        let longer = keeping(PERIOD + Duration::from_secs(1));
        assert_eq!(longer.check(), Err(ReplaySettingsError::LeastExceedsPeriod));
    }

    #[test]
    fn an_error_names_the_keys_that_cause_it() {
        for error in [
            ReplaySettingsError::TooLarge { packets: 1, len: 2 },
            ReplaySettingsError::TooLittleMemory { memory: 1, len: 2 },
            ReplaySettingsError::LeastExceedsPeriod,
        ] {
            let text = error.to_string();
            assert!(error.keys().len() >= 2, "{text}");
            for key in &error.keys()[..2] {
                assert!(text.contains(&format!("`{key}`")), "{key}: {text}");
            }
        }
    }
}
