//! Whether the settings of the replay filter can be kept: `gatewayd` asks when it reads the file, and `mix-ingress` before it works.

use std::f64::consts::LN_2;

use super::{control::ReplayConfig, ingress_store::GENERATION_LIMIT};

/// With fewer generations there would be nothing left when one goes.
const FEWEST_GENERATIONS: u64 = 2;

/// The settings cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayFault {
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

impl ReplayFault {
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
    /// Bytes of one generation of marks: a Bloom filter, as small as its rate of false positives allows, in whole words of
    /// eight bytes.
    pub fn generation_len(&self) -> u64 {
        let packets = f64::from(self.packets_per_generation.max(1));
        let rate = f64::from(self.false_positives_per_billion.max(1)) / 1e9;
        let bytes = (packets * rate.ln() / (-8.0 * LN_2 * LN_2)).ceil() as u64;
        bytes.div_ceil(8).max(1) * 8
    }

    /// # Errors
    /// If a generation is larger than any may be.
    pub fn check_size(&self) -> Result<u64, ReplayFault> {
        let len = self.generation_len();
        if len > GENERATION_LIMIT {
            return Err(ReplayFault::TooLarge { packets: self.packets_per_generation, len });
        }
        Ok(len)
    }

    /// # Errors
    /// Why the settings cannot be kept.
    pub fn check(&self) -> Result<(), ReplayFault> {
        let (memory, len) = (self.memory, self.check_size()?);
        if memory / len < FEWEST_GENERATIONS {
            return Err(ReplayFault::TooLittleMemory { memory, len });
        }
        if self.kept_at_least > self.period {
            return Err(ReplayFault::LeastExceedsPeriod);
        }
        Ok(())
    }
}
