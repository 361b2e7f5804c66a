//! Text of strangers, as the operator sees it on a terminal.
//!
//! *Promises*: what is shown holds nothing that a terminal obeys, that cannot be seen, or that writes from right to left. Two texts that
//! differ look different, as each character outside ASCII stands as its number: many look like an ASCII letter.

/// The most bytes that a byte of a text takes when it is shown.
pub const MAX_GROWTH: usize = 6;

/// All of `text`. A line feed stands as `\n`, a backslash as `\\`, and each character that is not printable ASCII as `\u{…}`.
pub fn whole(text: &str) -> String {
    escaped(text.chars(), |c| c == ' ')
}

/// All of `text`, which is one word. A space stands as `\u{20}`, so that a word cannot look like the lines around it.
pub fn whole_word(text: &str) -> String {
    escaped(text.chars(), |_| false)
}

/// The beginning of `text`, for reports of what is refused anyhow.
pub fn shortened(text: &str) -> String {
    const MAX: usize = 300;
    let shown = escaped(text.chars().take(MAX), |c| c == ' ');
    if text.chars().count() > MAX { format!("{shown}...") } else { shown }
}

fn escaped(characters: impl Iterator<Item = char>, also_plain: fn(char) -> bool) -> String {
    let mut shown = String::new();
    for c in characters {
        match c {
            '\\' | '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            _ if c.is_ascii_graphic() || also_plain(c) => shown.push(c),
            _ => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_its_number() {
        assert_eq!(whole("a \"b\"\n\t\u{1b}[2K\u{202e}ü\\u{1b}"), r#"a "b"\n\t\u{1b}[2K\u{202e}\u{fc}\\u{1b}"#);
        assert_eq!(whole_word("n1 abc"), r"n1\u{20}abc");
    }

    #[test]
    fn only_what_is_refused_is_shortened() {
        let long = "x".repeat(301);
        assert_eq!(shortened(&long), format!("{}...", "x".repeat(300)));
        assert_eq!(whole(&long), long);
        assert_eq!(shortened("a\u{7}"), r"a\u{7}");
    }

    proptest! {
        #[test]
        fn different_texts_look_different(one in any::<String>(), other in "[\\\\un{}0-9a-f \n\u{1b}]{0,12}") {
            for show in [whole, whole_word] {
                prop_assert_eq!(show(&one) == show(&other), one == other);
                prop_assert!(show(&one).bytes().all(|b| b.is_ascii_graphic() || b == b' '));
                prop_assert!(show(&one).len() <= MAX_GROWTH * one.len());
            }
        }

        #[test]
        fn what_is_shown_tells_the_text(text in any::<String>()) {
            prop_assert_eq!(read_back(&whole(&text)), text.as_str());
            prop_assert_eq!(read_back(&whole_word(&text)), text);
        }
    }

    /// The text that was shown.
    fn read_back(shown: &str) -> String {
        let mut text = String::new();
        let mut rest = shown.chars();
        while let Some(c) = rest.next() {
            text.push(match c {
                '\\' => match rest.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => {
                        let number: String = rest.by_ref().skip(1).take_while(|&c| c != '}').collect();
                        char::from_u32(u32::from_str_radix(&number, 16).unwrap()).unwrap()
                    }
                    other => other,
                },
                other => other,
            });
        }
        text
    }
}
