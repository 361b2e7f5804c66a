//! What was done to a folder, step by step, and which of it was synced when.

use std::{collections::BTreeSet, fmt};

/// A file or a folder, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub(super) usize);

/// What a node was when the history began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A folder.
    Folder,
    /// A file with these bytes, which are on the medium.
    File(Vec<u8>),
}

/// What one call changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes were written to a file.
    Write {
        /// To which.
        file: Node,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file was cut to this length, or grew to it with zeros.
    Length {
        /// Which.
        file: Node,
        /// In bytes.
        len: u64,
    },
    /// A name was given, to a new node or as a further name.
    Add {
        /// In which folder.
        folder: Node,
        /// The name.
        name: String,
        /// What it names.
        node: Node,
    },
    /// A name was taken away.
    Remove {
        /// In which folder.
        folder: Node,
        /// The name.
        name: String,
    },
    /// A name was changed, in the place of whatever had the new one.
    Rename {
        /// In which folder.
        folder: Node,
        /// The old name.
        from: String,
        /// The new name.
        to: String,
        /// What it names.
        node: Node,
    },
}

impl Change {
    /// The node whose sync brings the change to the medium.
    pub(super) const fn node(&self) -> Node {
        match self {
            Self::Write { file: node, .. } | Self::Length { file: node, .. } => *node,
            Self::Add { folder: node, .. } | Self::Remove { folder: node, .. } | Self::Rename { folder: node, .. } => {
                *node
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { file, offset, bytes } => write!(f, "{} bytes at {offset} of file {}", bytes.len(), file.0),
            Self::Length { file, len } => write!(f, "length {len} of file {}", file.0),
            Self::Add { name, node, .. } => write!(f, "new name {name} of {}", node.0),
            Self::Remove { name, .. } => write!(f, "removal of {name}"),
            Self::Rename { from, to, node, .. } => write!(f, "renaming of {from} to {to} of {}", node.0),
        }
    }
}

/// A change, and the lines of the trace where its call began and returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub change: Change,
    /// When it began.
    pub began: usize,
    /// When it returned.
    pub returned: usize,
}

/// A sync of a file or a folder that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Of what.
    pub node: Node,
    /// When it began: what returned before is on the medium.
    pub began: usize,
    /// When it returned.
    pub returned: usize,
}

/// All that happened in a folder, in the order in which it began.
#[derive(Debug)]
pub struct History {
    /// What each node was in the beginning, or empty if it was made later.
    pub(super) nodes: Vec<Found>,
    /// The names in the beginning, which are on the medium: folder, name, node.
    pub(super) names: Vec<(Node, String, Node)>,
    pub(super) steps: Vec<Step>,
    pub(super) syncs: Vec<Synced>,
}

impl Default for History {
    fn default() -> Self {
        Self { nodes: vec![Found::Folder], names: Vec::new(), steps: Vec::new(), syncs: Vec::new() }
    }
}

impl History {
    /// The folder in which all happens.
    pub const ROOT: Node = Node(0);

    /// A further node.
    pub fn add(&mut self, found: Found) -> Node {
        self.nodes.push(found);
        Node(self.nodes.len() - 1)
    }

    /// A name that was there in the beginning.
    pub fn name(&mut self, folder: Node, name: &str, node: Node) {
        self.names.push((folder, name.to_owned(), node));
    }

    /// A further step.
    pub fn step(&mut self, change: Change, began: usize, returned: usize) {
        self.steps.push(Step { change, began, returned });
    }

    /// A further sync.
    pub fn sync(&mut self, node: Node, began: usize, returned: usize) {
        self.syncs.push(Synced { node, began, returned });
    }

    /// Of each node, what a loss of power at this line leaves for sure: what has returned before the line that is given.
    pub(super) fn horizons(&self, line: usize) -> Vec<usize> {
        let mut horizons = vec![0; self.nodes.len()];
        for sync in self.syncs.iter().filter(|sync| sync.returned < line) {
            if let Some(horizon) = horizons.get_mut(sync.node.0) {
                *horizon = sync.began.max(*horizon);
            }
        }
        horizons
    }

    /// The steps that had begun at this line, and whether each is on the medium for sure.
    pub(super) fn steps_before(&self, line: usize) -> impl Iterator<Item = (&Step, bool)> {
        let horizons = self.horizons(line);
        self.steps.iter().take_while(move |step| step.began < line).map(move |step| {
            let horizon = horizons.get(step.change.node().0).copied().unwrap_or(0);
            (step, step.returned < horizon)
        })
    }

    /// The changes of names that may be lost with the power at this line.
    pub fn names_in_doubt(&self, line: usize) -> Vec<&Step> {
        let changes_bytes = |step: &Step| matches!(step.change, Change::Write { .. } | Change::Length { .. });
        self.steps_before(line)
            .filter(|(step, is_sure)| !is_sure && !changes_bytes(step))
            .map(|(step, _)| step)
            .collect()
    }

    /// Everything that ever had a name in this folder.
    pub fn ever_in(&self, folder: Node) -> BTreeSet<Node> {
        let at_first = self.names.iter().filter(|(of, ..)| *of == folder).map(|(.., node)| *node);
        let later = self.steps.iter().filter_map(|step| match &step.change {
            Change::Add { folder: of, node, .. } | Change::Rename { folder: of, node, .. } if *of == folder => {
                Some(*node)
            }
            _ => None,
        });
        at_first.chain(later).collect()
    }

    /// Takes out the syncs for which this says so, as if they had never been asked for. Returns them.
    pub fn take_syncs(&mut self, taken: impl Fn(&Synced) -> bool) -> Vec<Synced> {
        let (taken, left) = std::mem::take(&mut self.syncs).into_iter().partition(taken);
        self.syncs = left;
        taken
    }

    /// Puts them back.
    pub fn put_back(&mut self, syncs: Vec<Synced>) {
        self.syncs.extend(syncs);
    }

    /// The lines at which a name was changed, or a sync of a folder returned.
    pub fn turning_points(&self) -> Vec<usize> {
        let is_folder = |node: &Node| matches!(self.nodes.get(node.0), Some(Found::Folder));
        let changes = self.steps.iter().filter(|step| is_folder(&step.change.node())).map(|step| step.returned);
        let syncs = self.syncs.iter().filter(|sync| is_folder(&sync.node)).map(|sync| sync.began);
        let mut lines: Vec<usize> = changes.filter(|line| *line < usize::MAX).chain(syncs).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }
}
