//! The list of promises is kept: each has a test or says that it has none, and every test it names exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

const PENDING: &str = "[test pending]";

fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this package is in no workspace")?.to_owned())
}

/// The promises, without their numbers.
fn promises(specification: &str) -> Result<Vec<String>> {
    let mut promises: Vec<String> = Vec::new();
    let mut numbers = BTreeSet::new();
    for line in specification.lines().skip_while(|line| !line.starts_with("## ")) {
        let begins = line.split_once(". ").and_then(|(number, text)| Some((number.parse::<usize>().ok()?, text)));
        match begins {
            Some((number, text)) => {
                ensure!(numbers.insert(number), "there are two promises with the number {number}");
                promises.push(text.to_owned());
            }
            None if line.starts_with("   ") => {
                let promise = promises.last_mut().context("text before the first promise")?;
                promise.push(' ');
                promise.push_str(line.trim_start());
            }
            None => ensure!(line.is_empty() || line.starts_with("## "), "neither a promise nor a heading: {line}"),
        }
    }
    Ok(promises)
}

/// What stands in backticks and looks like the name of a test.
fn tests_of(promise: &str) -> impl Iterator<Item = &str> {
    let quoted = promise.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.matches('_').count() > 1 || word.ends_with("_dies"))
}

/// All Rust source below a folder, in one string.
fn sources(folder: &Path, into: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

#[test]
fn every_promise_names_tests_that_exist() -> Result<()> {
    let root = root()?;
    let promises = promises(&fs::read_to_string(root.join("SPECIFICATION.md"))?)?;
    ensure!(promises.len() > 30, "only {} promises were found", promises.len());
    let mut source = String::new();
    sources(&root, &mut source)?;
    for (promise, number) in promises.iter().zip(1..) {
        ensure!(promise.contains(PENDING) || tests_of(promise).next().is_some(), "promise {number} names no test");
        for test in tests_of(promise) {
            ensure!(is_test(&source, test), "promise {number} names {test}, and there is no such test");
        }
    }
    Ok(())
}

/// Whether a function of this name stands below an attribute that makes it a test, or a macro that makes tests is given the name.
fn is_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let is_function = source.match_indices(&function).any(|(at, _)| {
        let before = source.get(..at).unwrap_or_default();
        let attribute = before.rfind("#[").and_then(|at| before.get(at..)).unwrap_or_default();
        attribute.contains("test") && !attribute.contains('}')
    });
    is_function || source.split("macro_rules! ").skip(1).any(|rules| is_made_by(rules, name))
}

/// Whether these rules of a macro, and what follows them, make a test of this name: `links! { name: what it is made of; }`.
fn is_made_by(rules: &str, name: &str) -> bool {
    let Some((makes, rest)) = rules.split_once("\n}") else { return false };
    let name_of_macro = makes.split([' ', '{']).next().unwrap_or_default();
    let call = rest.split(&format!("\n{name_of_macro}! {{")).nth(1).and_then(|call| call.split("\n}").next());
    let is_first_word = |line: &str| line.trim_start().split([':', ' ', ',', ';']).next() == Some(name);
    makes.contains("test") && makes.contains("fn $") && call.is_some_and(|call| call.lines().any(is_first_word))
}

#[test]
fn a_promise_may_span_lines_and_a_wrong_number_is_noticed() {
    let text = "words\n\n## A\n\n1. One:\n   `a_b_c`, `nothing`.\n\n## B\n\n2. Two: [test pending].\n";
    let found = promises(text).unwrap();
    assert_eq!(found, ["One: `a_b_c`, `nothing`.", "Two: [test pending]."]);
    assert_eq!(tests_of(&found[0]).collect::<Vec<_>>(), ["a_b_c"]);
    assert!(promises("## A\n2. Two.\n2. Two again.\n").is_err());
    assert!(is_test("#[test]\nfn a_b_c() {", "a_b_c"));
    assert!(!is_test("#[test]\nfn other() {}\nfn a_b_c() {", "a_b_c"));
    let made =
        |rules: &str, call: &str| format!("macro_rules! links {{\n    {rules}\n}}\n\nlinks! {{\n    {call}\n}}\n");
    const RULES: &str = "($($test:ident: $of:ident;)*) => { $(#[test] fn $test() {})* };";
    assert!(is_test(&made(RULES, "a_b_c: Store;"), "a_b_c"));
    for (rules, call) in [(RULES, "d_e_f: a_b_c;"), ("($($of:ident;)*) => { $(fn $of() {})* };", "a_b_c;"), (RULES, "")]
    {
        assert!(!is_test(&made(rules, call), "a_b_c"), "{rules} {call}");
    }
}
