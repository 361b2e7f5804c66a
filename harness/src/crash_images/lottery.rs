//! What a loss of power leaves of changes that no sync has brought to the medium.

use std::fmt;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// How much is left of a kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Some, by chance.
    Some,
}

/// What is left of all changes that are in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lottery {
    /// Of names that were given, changed or taken away.
    pub names: Left,
    /// Of bytes, and of the lengths of files.
    pub bytes: Left,
    /// Bytes that reach the medium together.
    pub sector: u64,
    /// Decides what chance decides.
    pub seed: u64,
}

impl Lottery {
    /// The four extremes: none of either, all of either.
    pub const EXTREMES: [Self; 4] = [
        Self::of(Left::Nothing, Left::Nothing),
        Self::of(Left::Everything, Left::Nothing),
        Self::of(Left::Nothing, Left::Everything),
        Self::of(Left::Everything, Left::Everything),
    ];

    pub(super) const fn of(names: Left, bytes: Left) -> Self {
        Self { names, bytes, sector: 4_096, seed: 0 }
    }

    /// Some of everything, by chance.
    pub const fn by_chance(seed: u64) -> Self {
        let sector = if seed.is_multiple_of(2) { 512 } else { 4_096 };
        Self { names: Left::Some, bytes: Left::Some, sector, seed }
    }

    pub(super) fn draws(self) -> Draws {
        let mut random = StdRng::seed_from_u64(self.seed);
        Draws { lottery: self, in_order: random.random_bool(0.5), odds: random.random_range(0.1..0.9), random }
    }
}

impl fmt::Display for Lottery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, bytes, sector, seed } = self;
        write!(f, "names {names:?}, bytes {bytes:?} in sectors of {sector}, seed {seed}")
    }
}

/// One drawing.
#[derive(Debug)]
pub(super) struct Draws {
    lottery: Lottery,
    random: StdRng,
    /// Names of a folder reach the medium in order, as with a journal.
    in_order: bool,
    odds: f64,
}

impl Draws {
    /// Whether a change of a name is left, in a folder that has or has not lost one before.
    pub(super) fn leaves_name(&mut self, has_lost_one: bool) -> bool {
        match self.lottery.names {
            Left::Nothing => false,
            Left::Everything => true,
            Left::Some => !(self.in_order && has_lost_one) && self.random.random_bool(self.odds),
        }
    }

    /// Whether a sector, or a length, is written back once more.
    pub(super) fn leaves_bytes(&mut self) -> bool {
        match self.lottery.bytes {
            Left::Nothing => false,
            Left::Everything => true,
            Left::Some => self.random.random_bool(self.odds),
        }
    }
}
