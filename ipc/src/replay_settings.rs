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
