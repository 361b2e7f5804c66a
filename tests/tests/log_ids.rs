//! Each warning and each error of the log has an id of its own, and each id has a section in the manual that shows its line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

/// The letter of each crate that logs warnings or errors, and the page of the manual for its ids.
const LETTERS: [(&str, char); 8] = [
    ("gatewayd", 'G'),
    ("store", 'S'),
    ("mix-ingress", 'I'),
    ("mix-egress", 'E'),
    ("client-edge", 'C'),
    ("http-api", 'H'),
    ("worker", 'W'),
    ("logging", 'L'),
];
/// Folders with code that does not run in a gateway.
const NOT_PRODUCT: [&str; 6] = ["harness", "tools", "tests", "fuzz", "target", "docs"];
/// How the heading of an id ends that no line has any more.
const RETIRED: &str = " (retired)";

/// A call of `warn!` or `error!`.
#[derive(Debug)]
struct Call {
    place: String,
    level: &'static str,
    id: String,
    /// What its text says in every line: the parts between values.
    parts: Vec<String>,
}

fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this package is in no workspace")?.to_owned())
}

/// The Rust files below a folder that are no tests.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || NOT_PRODUCT.contains(&name) || name == "tests.rs" {
            continue;
        }
        if path.is_dir() {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// The file without its tests.
fn product_part(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// The ids in a text, but for its comments.
fn ids(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let text = code.join("\n");
    let found = text.match_indices("GWD-").filter_map(|(at, _)| text.get(at..at + 8));
    found.filter(|id| is_id(id)).map(str::to_owned).collect()
}

fn is_id(text: &str) -> bool {
    let tail = text.strip_prefix("GWD-").unwrap_or_default();
    tail.len() == 4
        && tail.starts_with(|c: char| c.is_ascii_uppercase())
        && tail.chars().skip(1).all(|c| c.is_ascii_digit())
}

/// The arguments of the call that begins behind its parenthesis, as string literals outside of nested calls.
fn literals(arguments: &str) -> Vec<String> {
    let (mut depth, mut literal, mut found, mut escaped) = (1, None::<String>, Vec::new(), false);
    for c in arguments.chars() {
        match &mut literal {
            Some(text) if escaped => {
                // A backslash at the end of a line joins it with the next.
                if c != '\n' {
                    text.push(c);
                }
                escaped = false;
            }
            Some(_) if c == '\\' => escaped = true,
            Some(text) if c == '"' => {
                if depth == 1 {
                    found.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
                }
                literal = None;
            }
            Some(text) => text.push(c),
            None => match c {
                '"' => literal = Some(String::new()),
                '(' => depth += 1,
                ')' if depth == 1 => break,
                ')' => depth -= 1,
                _ => {}
            },
        }
    }
    found
}

/// The parts of a format string between its values.
fn parts(format: &str) -> Vec<String> {
    let between = format
        .split('{')
        .enumerate()
        .map(|(n, part)| if n == 0 { part } else { part.split_once('}').map_or("", |p| p.1) });
    between.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// All calls in the text of a file.
fn calls(place: &str, text: &str) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for (name, level) in [("warn!(", "WARN"), ("error!(", "ERROR")] {
        for (at, _) in text.match_indices(name) {
            let before = text.get(..at).unwrap_or_default();
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                // Another macro, such as `compile_error!`.
                continue;
            }
            let place = format!("{place}:{}", before.lines().count());
            let arguments = text.get(at + name.len()..).unwrap_or_default();
            let has_id = arguments.trim_start().starts_with("id = \"");
            let found = literals(arguments);
            let [id, message, ..] = found.as_slice() else { bail!("{place}: it needs an id and a text") };
            ensure!(has_id && is_id(id), "{place}: the first field must be `id = \"GWD-...\"`");
            calls.push(Call { place, level, id: id.clone(), parts: parts(message) });
        }
    }
    Ok(calls)
}

/// What the sources of the product have.
#[derive(Debug, Default)]
struct Product {
    /// All calls, by crate.
    calls: BTreeMap<String, Vec<Call>>,
    /// How often each id stands there.
    uses: BTreeMap<String, usize>,
}

fn of_product() -> Result<Product> {
    let root = root()?;
    let mut files = Vec::new();
    sources(&root, &mut files)?;
    let mut product = Product::default();
    for file in files {
        let place = file.strip_prefix(&root)?.display().to_string();
        let text = fs::read_to_string(&file)?;
        let text = product_part(&text);
        let name = place.split('/').next().unwrap_or_default().to_owned();
        product.calls.entry(name).or_default().extend(calls(&place, text)?);
        for id in ids(text) {
            *product.uses.entry(id).or_default() += 1;
        }
    }
    Ok(product)
}

/// The sections of the manual, by their headings.
fn sections() -> Result<BTreeMap<String, String>> {
    let mut sections = BTreeMap::new();
    for entry in fs::read_dir(root()?.join("docs/src/troubleshoot"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        for section in text.split("\n## ").skip(1).filter(|section| section.starts_with("GWD-")) {
            let (heading, body) = section.split_once('\n').context("a heading without a section")?;
            let known = sections.insert(heading.to_owned(), body.to_owned());
            ensure!(known.is_none(), "{heading} is twice in the manual");
        }
    }
    Ok(sections)
}

#[test]
fn every_warning_and_error_has_an_id_of_its_own() -> Result<()> {
    let Product { calls: by_crate, uses } = of_product()?;
    let calls: usize = by_crate.values().map(Vec::len).sum();
    ensure!(calls > 100, "only {calls} calls were found");
    for (name, calls) in by_crate.iter().filter(|(_, calls)| !calls.is_empty()) {
        let letter = LETTERS.iter().find(|(known, _)| known == name).map(|(_, letter)| *letter);
        let letter = letter.with_context(|| format!("the crate {name} has no letter"))?;
        for Call { id, place, .. } in calls {
            ensure!(
                id.starts_with(&format!("GWD-{letter}")),
                "{place}: ids of {name} begin with GWD-{letter}, not {id}"
            );
        }
    }
    let twice: Vec<_> = uses.iter().filter(|(_, uses)| **uses > 1).collect();
    ensure!(twice.is_empty(), "used more than once: {twice:?}");
    Ok(())
}

#[test]
fn every_id_has_its_section_in_the_manual() -> Result<()> {
    let Product { calls: by_crate, uses } = of_product()?;
    let sections = sections()?;
    let used: BTreeSet<&str> = uses.keys().map(String::as_str).collect();
    let explained: BTreeSet<&str> =
        sections.keys().map(String::as_str).filter(|name| !name.ends_with(RETIRED)).collect();
    let lacking: Vec<_> = used.difference(&explained).collect();
    ensure!(lacking.is_empty(), "without a section in docs/src/troubleshoot: {lacking:?}");
    let left: Vec<_> = explained.difference(&used).collect();
    ensure!(left.is_empty(), "no line has these any more; write `{RETIRED}` behind their headings: {left:?}");
    for Call { place, level, id, parts } in by_crate.values().flatten() {
        let body = sections.get(id).map(String::as_str).unwrap_or_default();
        let line = body.split("```").nth(1).unwrap_or_default();
        ensure!(line.contains(level) && line.contains(id.as_str()), "{place}: the section of {id} shows no line of it");
        let missing: Vec<_> = parts.iter().filter(|part| !line.contains(part.as_str())).collect();
        ensure!(missing.is_empty(), "{place}: the line shown for {id} lacks {missing:?}");
    }
    Ok(())
}

/// A number that is gone keeps its heading, so that it cannot come back with another meaning.
#[test]
fn no_number_of_an_id_is_missing() -> Result<()> {
    let known: BTreeSet<String> =
        sections()?.keys().filter_map(|heading| heading.get(..8)).map(str::to_owned).collect();
    for (_, letter) in LETTERS {
        let of_letter = known.iter().filter(|id| id.starts_with(&format!("GWD-{letter}"))).count();
        for number in 1..=of_letter {
            let id = format!("GWD-{letter}{number:03}");
            ensure!(known.contains(&id), "{id} is missing: a retired id keeps its heading, with `{RETIRED}`");
        }
    }
    Ok(())
}

#[test]
fn a_call_without_an_id_is_noticed() {
    let call = r#"tracing::warn!(id = "GWD-X001", %error, names = all.join(", "), "a {} b {c}; \
         d", "e");"#;
    let found = calls("f", call).unwrap();
    assert_eq!((found[0].id.as_str(), found[0].level), ("GWD-X001", "WARN"));
    assert_eq!(found[0].parts, ["a", "b", "; d"]);
    for wrong in
        [r#"warn!("a")"#, r#"error!(%error, "a")"#, r#"warn!(id = "GWD-1", "a")"#, r#"warn!(number = "GWD-X001", "a")"#]
    {
        assert!(calls("f", wrong).is_err(), "{wrong}");
    }
    assert_eq!(ids("GWD-X001 GWD-X1 GWD-x001 \"GWD-X002\""), ["GWD-X001", "GWD-X002"]);
}
