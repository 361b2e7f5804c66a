//! The pages of the manual, and the blocks in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

/// A page.
pub(super) struct Page {
    /// Its path in the project.
    pub(super) name: String,
    /// What it says.
    pub(super) text: String,
}

/// A block between fences.
#[derive(Debug)]
pub(super) struct Block {
    /// What stands behind the opening fence: the language, and how it is tested.
    pub(super) kind: String,
    /// The line of the opening fence.
    pub(super) line: usize,
    /// What is in it.
    pub(super) text: String,
}

pub(super) fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this package is in no workspace")?.to_owned())
}

/// The pages of the book.
pub(super) fn book() -> Result<Vec<Page>> {
    let mut paths = Vec::new();
    below(&root()?.join("docs/src"), &mut paths)?;
    paths.sort();
    paths.iter().map(|path| page(path)).collect()
}

/// The pages in the project's own folder.
pub(super) fn of_root() -> Result<Vec<Page>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root()?)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    paths.sort();
    paths.iter().map(|path| page(path)).collect()
}

/// The pages that an operator follows: the book and the front page.
pub(super) fn of_operators() -> Result<Vec<Page>> {
    let mut pages = book()?;
    pages.push(page(&root()?.join("README.md"))?);
    Ok(pages)
}

fn page(path: &Path) -> Result<Page> {
    let name = path.strip_prefix(root()?)?.display().to_string();
    Ok(Page { text: fs::read_to_string(path).with_context(|| name.clone())?, name })
}

fn below(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, into)?;
        } else if path.extension().is_some_and(|end| end == "md") {
            into.push(path);
        }
    }
    Ok(())
}

impl Page {
    /// The blocks in the page. A fence in a list is indented.
    pub(super) fn blocks(&self) -> Result<Vec<Block>> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (line, number) in self.text.lines().zip(1..) {
            match (&mut open, line.trim_start().strip_prefix("```")) {
                (None, Some(kind)) => open = Some(Block { kind: kind.to_owned(), line: number, text: String::new() }),
                (Some(_), Some("")) => blocks.extend(open.take()),
                (Some(block), Some(_)) => bail!("{}:{number}: a fence in the block of line {}", self.name, block.line),
                (Some(block), None) => block.text.extend([line.trim_start_matches("   "), "\n"]),
                (None, None) => {}
            }
        }
        ensure!(open.is_none(), "{}: the last block has no end", self.name);
        Ok(blocks)
    }

    /// The text outside of blocks.
    pub(super) fn prose(&self) -> String {
        let mut is_outside = true;
        let outside = self.text.lines().filter(|line| {
            let is_fence = line.trim_start().starts_with("```");
            is_outside ^= is_fence;
            is_outside && !is_fence
        });
        outside.collect::<Vec<_>>().join("\n")
    }

    /// What stands in backticks outside of blocks. Such a span may go on in the next line.
    pub(super) fn spans(&self) -> Vec<String> {
        let prose = self.prose();
        let spans = prose.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
        spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

#[test]
fn a_page_is_read_as_it_is_written() {
    let text = "a `b\nc` d\n\n```sh run\nx `y\n```\n\n1. e\n\n   ```toml\n   z = 1\n   ```\n";
    let page = Page { name: "p".into(), text: text.into() };
    assert_eq!(page.spans(), ["b c"]);
    let blocks = page.blocks().unwrap();
    assert_eq!(blocks.iter().map(|block| block.kind.as_str()).collect::<Vec<_>>(), ["sh run", "toml"]);
    assert_eq!((blocks[0].text.as_str(), blocks[1].text.as_str()), ("x `y\n", "z = 1\n"));
}
