//! Whether the settings of the replay filter can be kept: `gatewayd` asks when it reads the file, and `mix-ingress` before it works.

mod sizing;

use std::f64::consts::LN_2;

use super::{control::ReplayConfig, ingress_store::GENERATION_LIMIT};

/// Bytes of a block of a filter: a cache line.
pub const BLOCK_LEN: usize = 64;

/// With fewer generations there would be nothing left when one goes.
const FEWEST_GENERATIONS: u64 = 2;

/// What one generation of marks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationSize {
    /// Blocks of [`BLOCK_LEN`] bytes.
    pub blocks: u64,
    /// Packets that it holds with the rate of false positives that is configured.
    pub packets: u32,
    /// Bits that each packet sets.
    pub hashes: u32,
}

/// The settings cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaySettingsError {
    /// One generation is larger than any may be.
    #[error(
        "the replay filter of {packets} packets would need {len} bytes for each generation, and {GENERATION_LIMIT} are \
         allowed: lower `packets_per_generation`, or raise `false_positive_rate`"
    )]
    TooLarge {
        /// As set.
        packets: u32,
        /// Bytes of one generation.
        len: u64,
    },
    /// There is too little memory.
    #[error(
        "`memory` is {memory} bytes, and the replay filter needs two generations of {len} bytes each: raise `memory`, or \
         lower `packets_per_generation`"
    )]
    TooLittleMemory {
        /// As set.
        memory: u64,
        /// Bytes of one generation.
        len: u64,
    },
    /// The least is more than the usual.
    #[error("`kept_at_least` is longer than `period`: raise `period`, or lower `kept_at_least`")]
    LeastExceedsPeriod,
}

impl ReplaySettingsError {
    /// The keys in `[replay]` that cause it, the likeliest first.
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::TooLarge { .. } => &["packets_per_generation", "false_positive_rate"],
            Self::TooLittleMemory { .. } => &["memory", "packets_per_generation", "false_positive_rate"],
            Self::LeastExceedsPeriod => &["kept_at_least", "period"],
        }
    }
}

impl ReplayConfig {
    /// The size of one generation: of as many packets as configured, or of as many as there is room for, if that is for two
    /// generations of a few less. Takes milliseconds.
    ///
    /// # Errors
    /// Why the settings cannot be kept.
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

    /// # Errors
    /// Why the settings cannot be kept.
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

    /// Bytes below which a generation would hold far fewer packets than configured: those of a Bloom filter without blocks, as small
    /// as its rate of false positives allows.
    fn least_len(&self) -> u64 {
        let packets = f64::from(self.packets_per_generation.max(1));
        let bytes = (packets * self.rate().ln() / (-8.0 * LN_2 * LN_2)).ceil() as u64;
        (bytes.div_ceil(8) * 8).max(BLOCK_LEN as u64)
    }

    fn rate(&self) -> f64 {
        f64::from(self.false_positives_per_billion.max(1)) / 1e9
    }
}
