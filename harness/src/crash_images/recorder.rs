//! From the system calls of a trace to the history of one folder.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};

use super::history::{Change, Found, History, Node};
use crate::trace::{Call, Trace, target_of, unescape};

/// How strace is to be told what a history is made of: all that changes or syncs a folder, and what processes say to each other.
pub const CALLS: &str = "trace=open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,\
                         copy_file_range,sendfile,splice,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,\
                         link,linkat,symlink,symlinkat,fsync,fdatasync,msync,sync,syncfs,sendto,sendmsg,sendmmsg,\
                         clone,clone3,fork,vfork";

/// Calls that matter to the folder and are not understood; nobody is expected to make them there.
const UNKNOWN: [&str; 11] = [
    "pwritev",
    "pwritev2",
    "writev",
    "copy_file_range",
    "sendfile",
    "splice",
    "truncate",
    "symlink",
    "symlinkat",
    "msync",
    "creat",
];

/// What the descriptor of a process is.
type Descriptor = (u32, String);

/// Follows the calls.
#[derive(Debug)]
struct Recorder<'a> {
    root: &'a str,
    history: History,
    names: BTreeMap<(Node, String), Node>,
    /// What had a path last that it has lost.
    nameless: HashMap<String, Node>,
    /// Bytes of each file.
    lens: HashMap<Node, u64>,
    /// The process of each thread.
    processes: HashMap<u32, u32>,
    /// Paths of descriptors.
    paths: HashMap<Descriptor, String>,
    /// Where `write` writes next.
    positions: HashMap<Descriptor, u64>,
}

/// What is in the folder now: the beginning of its history.
///
/// # Errors
/// If it cannot be read.
pub fn begin(root: &Path) -> Result<History> {
    let mut history = History::default();
    take_in(&mut history, History::ROOT, root)?;
    Ok(history)
}

fn take_in(history: &mut History, folder: Node, path: &Path) -> Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a name that is no text")?;
        if entry.file_type()?.is_dir() {
            let node = history.add(Found::Folder);
            history.name(folder, &name, node);
            take_in(history, node, &entry.path())?;
        } else {
            let node = history.add(Found::File(fs::read(entry.path())?));
            history.name(folder, &name, node);
        }
    }
    Ok(())
}

/// Adds to the history of a folder what a trace says of it.
///
/// # Errors
/// If a call is not understood.
pub fn record(history: History, root: &Path, trace: &Trace) -> Result<History> {
    let names = history.names.iter().map(|(folder, name, node)| ((*folder, name.clone()), *node)).collect();
    let nodes = history.nodes.iter().enumerate();
    let lens = nodes.filter_map(|(number, found)| match found {
        Found::File(bytes) => Some((Node(number), bytes.len() as u64)),
        Found::Folder => None,
    });
    let lens = lens.collect();
    let mut recorder = Recorder {
        root: root.to_str().context("a path that is no text")?,
        history,
        names,
        nameless: HashMap::new(),
        lens,
        processes: processes(trace)?,
        paths: HashMap::new(),
        positions: HashMap::new(),
    };
    for call in trace.calls() {
        recorder.follow(call).with_context(|| format!("line {}: {} {}", call.began, call.name, call.arguments))?;
    }
    Ok(recorder.history)
}

/// The process of each thread, by its first thread.
fn processes(trace: &Trace) -> Result<HashMap<u32, u32>> {
    let mut processes = HashMap::new();
    for call in trace.calls().iter().filter(|call| call.arguments.contains("CLONE_THREAD")) {
        if let Ok(child) = u32::try_from(call.result) {
            let process = processes.get(&call.thread).copied().unwrap_or(call.thread);
            processes.insert(child, process);
        }
    }
    Ok(processes)
}

/// A name in a folder, unless it is a whole path.
fn join(folder: &str, name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The path of an argument that is a descriptor of a folder.
fn folder_of(argument: &str) -> Result<String> {
    Ok(descriptor(argument)?.context("no folder")?.1)
}

/// An argument that is a descriptor: its number and its path.
fn descriptor(argument: &str) -> Result<Option<(String, String)>> {
    let Some((number, target)) = argument.split_once('<') else { return Ok(None) };
    Ok(Some((number.to_owned(), target_of(target)?)))
}

impl Recorder<'_> {
    fn follow(&mut self, call: &Call) -> Result<()> {
        let process = self.processes.get(&call.thread).copied().unwrap_or(call.thread);
        let arguments: Vec<&str> = call.arguments.trim_end_matches(')').split(", ").collect();
        if !call.descriptor.is_empty() {
            self.paths.insert((process, call.descriptor.clone()), call.target.clone());
        }
        for argument in &arguments {
            if let Some((number, path)) = descriptor(argument)? {
                self.paths.insert((process, number), path);
            }
        }
        if call.result < 0 {
            return Ok(());
        }
        let path = |argument: usize| {
            let text = arguments.get(argument).context("too few arguments")?;
            let text = text.trim_matches('"');
            Ok::<String, anyhow::Error>(String::from_utf8(unescape(text)?)?)
        };
        let number =
            |argument: usize| Ok::<u64, anyhow::Error>(arguments.get(argument).context("too few arguments")?.parse()?);
        let at = |descriptor: usize, name: usize| {
            let folder = arguments.get(descriptor).copied().unwrap_or_default();
            Ok::<String, anyhow::Error>(join(&folder_of(folder)?, &path(name)?))
        };
        match call.name.as_str() {
            "open" | "openat" => self.opened(process, call),
            "write" => self.write(process, call),
            "pwrite64" => {
                let offset = call.offset.context("no offset")?;
                self.write_at(call, offset)
            }
            "fallocate" => {
                let Some(file) = self.node(&call.target)? else { return Ok(()) };
                ensure!(arguments.get(1) == Some(&"0"), "only plain allocation is understood");
                let end = number(2)? + number(3)?;
                if end > self.lens.get(&file).copied().unwrap_or(0) {
                    self.sized(call, file, end);
                }
                Ok(())
            }
            "ftruncate" => {
                let Some(file) = self.node(&call.target)? else { return Ok(()) };
                self.sized(call, file, number(1)?);
                Ok(())
            }
            "fsync" | "fdatasync" => {
                if let Some(node) = self.node(&call.target)? {
                    self.history.sync(node, call.began, call.returned);
                }
                Ok(())
            }
            "mkdir" => self.made_folder(call, &self.real(process, &path(0)?)),
            "mkdirat" => self.made_folder(call, &self.real(process, &at(0, 1)?)),
            "unlink" | "rmdir" => self.removed(call, &self.real(process, &path(0)?)),
            "unlinkat" => self.removed(call, &self.real(process, &at(0, 1)?)),
            "rename" => self.renamed(call, &self.real(process, &path(0)?), &self.real(process, &path(1)?)),
            "renameat" | "renameat2" => {
                self.renamed(call, &self.real(process, &at(0, 1)?), &self.real(process, &at(2, 3)?))
            }
            "link" => self.linked(call, &self.real(process, &path(0)?), &self.real(process, &path(1)?)),
            "linkat" => self.linked(call, &self.real(process, &at(0, 1)?), &self.real(process, &at(2, 3)?)),
            name if UNKNOWN.contains(&name) => {
                ensure!(!self.is_inside(&call.target) && !call.arguments.contains(self.root), "it is not understood");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn is_inside(&self, path: &str) -> bool {
        path.strip_prefix(self.root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path that `/proc/self/fd/N/name` leads to.
    fn real(&self, process: u32, path: &str) -> String {
        let descriptor = path.strip_prefix("/proc/self/fd/").and_then(|rest| rest.split_once('/'));
        let real =
            descriptor.and_then(|(number, name)| Some(join(self.paths.get(&(process, number.to_owned()))?, name)));
        real.unwrap_or_else(|| path.to_owned())
    }

    /// The node of this path, if that is in the folder.
    fn node(&self, path: &str) -> Result<Option<Node>> {
        if !self.is_inside(path) {
            return Ok(None);
        }
        if let Some(path) = path.strip_suffix(" (deleted)") {
            return Ok(Some(*self.nameless.get(path).with_context(|| format!("{path} was never there"))?));
        }
        let rest = path.strip_prefix(self.root).unwrap_or_default();
        let mut node = History::ROOT;
        for name in rest.split('/').filter(|name| !name.is_empty() && *name != ".") {
            let next = self.names.get(&(node, name.to_owned()));
            node = *next.with_context(|| format!("{path} is not there"))?;
        }
        Ok(Some(node))
    }

    /// The folder of this path and its name there, if that is in the folder.
    fn place(&self, path: &str) -> Result<Option<(Node, String)>> {
        if !self.is_inside(path) {
            return Ok(None);
        }
        let (folder, name) = path.rsplit_once('/').context("a path without a folder")?;
        if !self.is_inside(folder) {
            return Ok(None);
        }
        Ok(self.node(folder)?.map(|folder| (folder, name.to_owned())))
    }

    fn opened(&mut self, process: u32, call: &Call) -> Result<()> {
        let Some(path) = call.opened.as_deref().filter(|path| self.is_inside(path)) else { return Ok(()) };
        let (creates, truncates) = (call.arguments.contains("O_CREAT"), call.arguments.contains("O_TRUNC"));
        ensure!(!call.arguments.contains("O_APPEND"), "appending is not understood");
        self.paths.insert((process, call.result.to_string()), path.to_owned());
        self.positions.insert((process, call.result.to_string()), 0);
        let Some(place) = self.place(path)? else { return Ok(()) };
        match self.names.get(&place).copied() {
            Some(file) if truncates => self.sized(call, file, 0),
            Some(_) => {}
            None if creates => self.added(call, place, Found::File(Vec::new())),
            None => bail!("{path} is not there"),
        }
        Ok(())
    }

    fn sized(&mut self, call: &Call, file: Node, len: u64) {
        self.lens.insert(file, len);
        self.history.step(Change::Length { file, len }, call.began, call.returned);
    }

    fn added(&mut self, call: &Call, place: (Node, String), found: Found) {
        let node = self.history.add(found);
        let (folder, name) = place.clone();
        self.history.step(Change::Add { folder, name, node }, call.began, call.returned);
        self.names.insert(place, node);
    }

    fn made_folder(&mut self, call: &Call, path: &str) -> Result<()> {
        if let Some(place) = self.place(path)? {
            self.added(call, place, Found::Folder);
        }
        Ok(())
    }

    fn linked(&mut self, call: &Call, from: &str, to: &str) -> Result<()> {
        let Some((folder, name)) = self.place(to)? else { return Ok(()) };
        let node = self.node(from)?.context("a link from outside")?;
        self.names.insert((folder, name.clone()), node);
        self.history.step(Change::Add { folder, name, node }, call.began, call.returned);
        Ok(())
    }

    fn removed(&mut self, call: &Call, path: &str) -> Result<()> {
        let Some((folder, name)) = self.place(path)? else { return Ok(()) };
        let node = self.names.remove(&(folder, name.clone())).context("it is not there")?;
        self.nameless.insert(path.to_owned(), node);
        self.history.step(Change::Remove { folder, name }, call.began, call.returned);
        Ok(())
    }

    fn renamed(&mut self, call: &Call, from: &str, to: &str) -> Result<()> {
        let (old, new) = match (self.place(from)?, self.place(to)?) {
            (None, None) => return Ok(()),
            (Some(old), Some(new)) => (old, new),
            _ => bail!("renaming into the folder or out of it is not understood"),
        };
        ensure!(old.0 == new.0, "renaming from folder to folder is not understood");
        let node = self.names.remove(&old).context("it is not there")?;
        if let Some(replaced) = self.names.insert(new.clone(), node) {
            self.nameless.insert(to.to_owned(), replaced);
        }
        let change = Change::Rename { folder: old.0, from: old.1, to: new.1, node };
        self.history.step(change, call.began, call.returned);
        Ok(())
    }

    fn write(&mut self, process: u32, call: &Call) -> Result<()> {
        if self.node(&call.target)?.is_none() {
            return Ok(());
        }
        let descriptor = (process, call.descriptor.clone());
        let position = *self.positions.get(&descriptor).context("a descriptor of unknown position")?;
        self.positions.insert(descriptor, position + call.bytes.len() as u64);
        self.write_at(call, position)
    }

    fn write_at(&mut self, call: &Call, offset: u64) -> Result<()> {
        if let Some(file) = self.node(&call.target)? {
            let len = self.lens.entry(file).or_default();
            *len = (offset + call.bytes.len() as u64).max(*len);
            let change = Change::Write { file, offset, bytes: call.bytes.clone() };
            self.history.step(change, call.began, call.returned);
        }
        Ok(())
    }
}
