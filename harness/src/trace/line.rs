//! One line of a trace: a call with its arguments and what it returned.

use anyhow::{Context, Result, ensure};

use super::call::{Call, SENDING};

/// The calls whose first buffer is data, and not a name.
const WITH_DATA: [&str; 6] = ["read", "write", "pread", "pwrite", "recv", "send"];

/// What a process may have done to a file although it was killed before the call returned.
const DONE_NEVERTHELESS: [&str; 4] = ["pwrite64", "rename", "unlink", "mkdir"];

impl Call {
    fn moves_data(&self) -> bool {
        WITH_DATA.iter().any(|name| self.name.starts_with(name))
    }
}

/// Reads a whole call: `name(descriptor<target>, "bytes", ...) = result`.
pub(super) fn call(thread: u32, text: &str, began: usize, returned: usize) -> Result<Option<Call>> {
    let (text, result) = text.rsplit_once(" = ").with_context(|| format!("no result: {text}"))?;
    let text = text.trim_end().strip_suffix(')').with_context(|| format!("no end: {text}"))?;
    let result = result.split_whitespace().next().unwrap_or("?");
    // `?` is what a call returns that the end of its process cut short.
    if result == "?" {
        let call = arguments(thread, text, began)?;
        let may_be_done = DONE_NEVERTHELESS.iter().any(|name| call.name.starts_with(name));
        return Ok(may_be_done.then_some(call));
    }
    let (result, opened) = match result.split_once('<') {
        Some((result, opened)) => (result, Some(target_of(opened)?)),
        None => (result, None),
    };
    let result = result.parse::<i64>().with_context(|| format!("no number as a result: {result}"))?;
    let mut call = arguments(thread, text, began)?;
    if call.moves_data() {
        call.bytes.truncate(usize::try_from(result).unwrap_or(0));
    }
    Ok(Some(Call { returned, result, opened, ..call }))
}

/// Reads a call that had not returned when the trace ended, if it is one that sends.
pub(super) fn begun(thread: u32, text: &str, began: usize) -> Result<Option<Call>> {
    let call = arguments(thread, text.trim_end().trim_end_matches(')'), began)?;
    Ok(SENDING.contains(&call.name.as_str()).then_some(call))
}

/// Reads what is known of a call when it begins: `name(descriptor<target>, "bytes", ...`.
fn arguments(thread: u32, text: &str, began: usize) -> Result<Call> {
    let (name, arguments) = text.split_once('(').with_context(|| format!("no call: {text:.100}"))?;
    // `recvmsg` and `sendmsg` name more than one buffer; ours use one.
    let (descriptor, target) = match arguments.split_once('<') {
        Some((number, rest)) if number.chars().all(|digit| digit.is_ascii_digit()) => (number, target_of(rest)?),
        _ => ("", String::new()),
    };
    let buffer = arguments.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map_or("", |(buffer, _)| buffer);
    let bytes = unescape(buffer)?;
    let last = arguments.rsplit(", ").next();
    let offset = last.filter(|_| name == "pwrite64").and_then(|offset| offset.parse().ok());
    let result = i64::try_from(bytes.len())?;
    let mut call = Call {
        name: name.to_owned(),
        descriptor: descriptor.to_owned(),
        target,
        bytes,
        began,
        returned: usize::MAX,
        result,
        offset,
        thread,
        arguments: String::new(),
        opened: None,
    };
    if !call.moves_data() {
        call.arguments = arguments.to_owned();
    }
    Ok(call)
}

/// What a descriptor is, of which this follows the number and `<`. A file without a name has its last one, and ` (deleted)`.
pub(crate) fn target_of(text: &str) -> Result<String> {
    if text.starts_with("\\x") {
        // Behind the path of a device stands which: `<char 1:3>`.
        let (path, rest) = text.split_at(text.find(['<', '>']).context("a path without an end")?);
        let deleted = if rest.starts_with(">(deleted)") { " (deleted)" } else { "" };
        return Ok(String::from_utf8_lossy(&unescape(path)?).into_owned() + deleted);
    }
    let closing = text.find(">,").or_else(|| text.ends_with('>').then_some(text.len() - 1));
    Ok(text.get(..closing.unwrap_or(0)).unwrap_or_default().to_owned())
}

/// The bytes of a text in which strace has escaped all: `\x00\x01`.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>> {
    let (codes, rest) = text.as_bytes().as_chunks();
    ensure!(rest.is_empty(), "not all is escaped: {text:.100}");
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |code: &[u8; 4]| match code {
        [b'\\', b'x', high, low] => Some(digit(high)? * 16 + digit(low)?),
        _ => None,
    };
    codes.iter().map(byte).collect::<Option<_>>().with_context(|| format!("not all is escaped: {text:.100}"))
}
