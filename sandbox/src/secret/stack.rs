//! Overwrites the stack on which a secret was made. A type that wipes itself does so where it is last, and leaves copies where it was
//! moved from.

use std::hint::black_box;

/// Bytes that are overwritten: more than it takes to read a key file and to compute a public key, without optimisation too.
const DEPTH: usize = 128 * 1024;

/// Has `make` work, and then overwrites the part of the stack where it has worked. What it returns holds no secret itself, but may own
/// locked memory.
pub fn with_stack_overwritten<T>(make: impl FnOnce() -> T) -> T {
    let made = deeper(make);
    overwrite();
    made
}

/// Keeps the frames of `make` out of those of its callers, which are not overwritten.
#[inline(never)]
fn deeper<T>(make: impl FnOnce() -> T) -> T {
    make()
}

#[inline(never)]
fn overwrite() {
    // Who can see the room must find it zeroed.
    black_box(&mut [0_u8; DEPTH]);
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::FileExt as _,
    };

    use super::*;

    const LEN: usize = 64;

    /// Leaves the bytes so deep that the calls of the test do not reach them. Elsewhere they are masked.
    #[inline(never)]
    fn leave_something(masked: &[u8; LEN]) {
        let mut room = [0; DEPTH / 2];
        for (to, from) in room.iter_mut().zip(masked) {
            *to = from ^ 0xff;
        }
        black_box(&mut room);
    }

    fn is_on_a_stack(masked: &[u8; LEN]) -> bool {
        let here = std::ptr::from_ref(masked) as u64;
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let ranges = maps.lines().filter_map(|line| line.split_once(' ')?.0.split_once('-'));
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let mut ranges = ranges.map(|(from, to)| number(from)..number(to));
        let stack = ranges.find(|range| range.contains(&here)).unwrap();
        let mut bytes = vec![0; usize::try_from(here - stack.start).unwrap()];
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, stack.start).unwrap();
        bytes.windows(LEN).any(|part| part.iter().zip(masked).all(|(byte, masked)| *byte == masked ^ 0xff))
    }

    #[test]
    fn what_was_left_on_the_stack_is_overwritten() {
        let masked: [u8; LEN] = std::array::from_fn(|n| n as u8 ^ 0x35);
        leave_something(&masked);
        assert!(is_on_a_stack(&masked), "nothing is left there anyway");
        with_stack_overwritten(|| leave_something(&masked));
        assert!(!is_on_a_stack(&masked));
    }
}
