//! Every link between pages leads to a page and a heading that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::pages::{Page, book, of_root, root};

/// The links of a page, without those to the web.
fn links(page: &Page) -> Vec<String> {
    let prose = page.prose();
    let targets = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// The anchors that a page has: one for each heading, spelled as mdBook and GitHub do.
fn anchors(text: &str) -> BTreeSet<String> {
    let page = Page { name: String::new(), text: text.to_owned() };
    let headings = page.prose();
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The path without `..` in it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// Checks the links of one page, which must stay below `limit`.
fn check(page: &Page, limit: &Path) -> Result<()> {
    let folder = Path::new(&page.name).parent().context("a page in no folder")?;
    for link in links(page) {
        let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let path = if path.is_empty() { PathBuf::from(&page.name) } else { plain(&folder.join(path)) };
        ensure!(path.starts_with(limit), "{}: {link} leads out of the book", page.name);
        let file = root()?.join(&path);
        ensure!(file.exists(), "{}: {link} leads nowhere", page.name);
        if !anchor.is_empty() {
            let text = fs::read_to_string(&file)?;
            ensure!(anchors(&text).contains(anchor), "{}: {link} leads to no heading", page.name);
        }
    }
    Ok(())
}

#[test]
fn every_link_of_the_manual_leads_somewhere() -> Result<()> {
    let pages = book()?;
    ensure!(pages.iter().map(|page| links(page).len()).sum::<usize>() > 50, "too few links were found");
    pages.iter().try_for_each(|page| check(page, Path::new("docs/src")))?;
    of_root()?.iter().try_for_each(|page| check(page, Path::new("")))
}

#[test]
fn every_page_of_the_manual_is_in_its_contents() -> Result<()> {
    let pages = book()?;
    let contents = pages.iter().find(|page| page.name.ends_with("SUMMARY.md")).context("there are no contents")?;
    let listed: BTreeSet<String> = links(contents).iter().map(|link| format!("docs/src/{link}")).collect();
    let unlisted: Vec<_> = pages.iter().map(|page| &page.name).filter(|name| !listed.contains(*name)).collect();
    ensure!(unlisted == [&contents.name], "not in docs/src/SUMMARY.md: {unlisted:?}");
    Ok(())
}

#[test]
fn a_wrong_link_is_noticed() {
    let page = |text: &str| Page { name: "docs/src/run.md".to_owned(), text: text.to_owned() };
    let check = |text: &str| check(&page(text), Path::new("docs/src"));
    assert_eq!(anchor("GWD-S006"), "gwd-s006");
    assert_eq!(anchor("What `store` may, and does"), "what-store-may-and-does");
    assert!(check("[a](tune.md) [b](https://example.org) [c](troubleshoot/store.md#gwd-s006)").is_ok());
    for wrong in ["[a](gone.md)", "[a](tune.md#gone)", "[a](#gone)", "[a](../../README.md)"] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}
