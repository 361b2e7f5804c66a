//! Text of strangers, made fit for a terminal and a log.

/// At most `limit` characters of `text`; all but printable ASCII becomes `?`.
pub(super) fn printable(text: &str, limit: usize) -> String {
    text.chars()
        .take(limit)
        .map(|letter| match letter {
            ' '..='~' => letter,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_comes_through() {
        assert_eq!(printable("a b\n\u{1b}[31m\u{202e}ü~", 99), "a b??[31m??~");
        assert_eq!(printable("abcdef", 3), "abc");
    }
}
