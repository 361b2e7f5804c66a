//! What the processes have counted, as their last lines say.

use crate::log::field;

/// The value of a counter of this worker in the last line of it that names all its counters; zero if there is no such line, or
/// nothing was counted.
pub fn counted(lines: &[String], worker: &str, name: &str) -> u64 {
    last_line(lines, worker).and_then(|line| field(line, name)?.parse().ok()).unwrap_or_default()
}

/// The last line of this worker that names all its counters but those that are zero.
pub fn last_line<'a>(lines: &'a [String], worker: &str) -> Option<&'a String> {
    let head = format!(" {worker} > counters: ");
    lines.iter().rev().find(|line| line.contains(&head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_right_worker_counts() {
        let lines = [
            " 2026 INFO  store > counters: pushed=1 delivered=2",
            " 2026 INFO  store > counters: pushed=3",
            " 2026 INFO  mix-ingress > counters: pushed=7",
            " 2026 INFO  store > the end",
        ];
        let lines = lines.map(str::to_owned);
        assert_eq!(counted(&lines, "store", "pushed"), 3);
        assert_eq!(counted(&lines, "store", "delivered"), 0);
        assert_eq!(counted(&lines, "client-edge", "pushed"), 0);
    }
}
