//! How large a Bloom filter in blocks of one cache line must be, and how many packets one of a given size holds.
//!
//! In a block of `b` bits, `n` packets have set `k` bits each. A further packet is mistaken for one of them with the probability
//! `(1 - (1 - 1/b)^(kn))^k`. The number of packets in a block has a Poisson distribution; its mean is the number of packets divided by
//! that of blocks (Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007).

/// Bytes of a block of a filter: a cache line.
pub const BLOCK_LEN: usize = 64;

const BLOCK_BITS: f64 = 8.0 * BLOCK_LEN as f64;

/// Most bits that a packet sets. More would cost more time than they are worth.
const MOST_HASHES: u32 = 32;

/// Deviations beyond the mean up to which terms of the distribution are summed. The remaining terms are negligible.
const DEVIATIONS: f64 = 12.0;

/// Least number of terms that are summed beyond the mean.
const FEWEST_TERMS: f64 = 40.0;

/// The fewest blocks with which `packets` are mistaken no more often than `rate`.
pub(super) fn blocks_for(packets: u32, rate: f64) -> u64 {
    let mut enough = u64::from(packets).div_ceil(8).max(1);
    while best(packets, enough).1 > rate {
        enough = enough.saturating_mul(2);
    }
    least(1, enough, |blocks| best(packets, blocks).1 <= rate)
}

/// The most packets, one at least and `limit` at most, that are mistaken no more often than `rate` in so many blocks.
pub(super) fn packets_in(blocks: u64, rate: f64, limit: u32) -> u32 {
    let too_many =
        least(2, u64::from(limit) + 1, |packets| best(u32::try_from(packets).unwrap_or(u32::MAX), blocks).1 > rate);
    u32::try_from(too_many - 1).unwrap_or(limit).min(limit)
}

/// The best number of bits for each packet to set, and the rate of false positives with it.
pub(super) fn best(packets: u32, blocks: u64) -> (u32, f64) {
    let rates = (1..=MOST_HASHES).map(|hashes| (hashes, false_positive_rate(packets, blocks, hashes)));
    rates.min_by(|one, other| one.1.total_cmp(&other.1)).unwrap_or((1, 1.0))
}

fn false_positive_rate(packets: u32, blocks: u64, hashes: u32) -> f64 {
    let mean = f64::from(packets) / blocks as f64;
    if mean > BLOCK_BITS {
        return 1.0;
    }
    let terms = (mean + DEVIATIONS * mean.sqrt() + FEWEST_TERMS) as u32;
    let (bits, unset) = (f64::from(hashes), 1.0 - 1.0 / BLOCK_BITS);
    let (mut rate, mut probability) = (0.0, (-mean).exp());
    for packets in 1..=terms {
        probability *= mean / f64::from(packets);
        rate += probability * (1.0 - unset.powf(bits * f64::from(packets))).powf(bits);
    }
    rate
}

/// The least number from `low` to `high` for which `holds`. It must hold for every number above and for `high`.
fn least(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rate_takes_twenty_nine_bits_a_packet() {
        let blocks = blocks_for(10_000_000, 1e-5);
        assert_eq!(blocks * BLOCK_LEN as u64, 36_843_904);
        let (hashes, rate) = best(10_000_000, blocks);
        assert_eq!(hashes, 14);
        assert!(rate <= 1e-5 && best(10_000_000, blocks - 1).1 > 1e-5);
    }

    /// The rates were computed apart, from the logarithms of the distribution's terms and with hundreds of terms more.
    #[test]
    fn the_rate_of_false_positives_is_that_of_the_formula() {
        for (packets, blocks, hashes, expected) in [
            (1, 4, 20, 2.015883321997724e-20),
            (16, 1, 14, 5.092590198364147e-6),
            (160, 10, 14, 5.092590198364147e-6),
            (30, 1, 10, 5.48897342556768e-4),
            (100, 1, 4, 8.798082545463748e-2),
            (500, 1, 3, 0.8474835488101022),
            (512, 1, 1, 0.6321205588285028),
        ] {
            let rate = false_positive_rate(packets, blocks, hashes);
            assert!((rate / expected - 1.0).abs() < 1e-9, "{packets} packets in {blocks} blocks: {rate:e}");
        }
        assert!(false_positive_rate(513, 1, 1) >= 1.0, "a block with more packets than bits tells nothing");
    }

    #[test]
    fn blocks_hold_one_packet_whatever_the_rate() {
        assert_eq!(packets_in(1, 1e-30, 10), 1);
    }

    #[test]
    fn what_fits_into_the_blocks_is_what_they_are_for() {
        for (packets, rate) in [(1, 1e-9), (8_000, 1e-9), (10, 1e-5), (50_000, 1e-3), (1_000_000, 0.1)] {
            let blocks = blocks_for(packets, rate);
            assert_eq!(packets_in(blocks, rate, packets), packets);
            assert!(packets_in(blocks, rate, u32::MAX) >= packets);
            assert!(blocks == 1 || packets_in(blocks - 1, rate, packets) < packets);
        }
        assert_eq!(packets_in((64 << 20) / 2 / BLOCK_LEN as u64, 1e-5, 10_000_000), 9_107_195);
    }
}
