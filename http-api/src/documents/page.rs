//! The page for people. It needs nothing but itself: no script, no picture, no other address.

use ipc::http_api::Description;

/// The page about the gateway of `description`.
pub(super) fn of(description: &Description) -> String {
    let identity = bs58::encode(description.identity).into_string();
    let rows = [
        ("Name", description.moniker.as_str()),
        ("Identity", identity.as_str()),
        ("Website", description.website.as_str()),
        ("Security contact", description.security_contact.as_str()),
        ("Details", description.details.as_str()),
    ];
    let rows: String =
        rows.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| row(name, value)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Gateway of a mixnet</title>\n\
         <style>body{{font-family:sans-serif;max-width:50em;margin:2em auto;padding:0 1em}}\
         dd{{margin:0 0 1em;overflow-wrap:anywhere}}</style>\n</head>\n<body>\n<h1>Gateway of a mixnet</h1>\n\
         <p>This machine passes on packets of a network that hides who writes to whom. They are encrypted, and the machine can read \
         neither their contents nor where they come from.</p>\n<dl>\n{rows}</dl>\n</body>\n</html>\n"
    )
}

fn row(name: &str, value: &str) -> String {
    format!("<dt>{name}</dt>\n<dd>{}</dd>\n", escaped(value))
}

/// The text with nothing in it that HTML would understand.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_html_would_understand_is_escaped() {
        assert_eq!(escaped("<a href=\"x\" b='y'>&é"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;é");
    }
}
