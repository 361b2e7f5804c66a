//! Files of marks as a disk might return them, read as `mix-ingress` has them read.
//!
//! Only with the feature `found-records`, which is for fuzzing.

use std::os::fd::OwnedFd;

use ipc::{
    Opaque,
    ingress_store::{ReplayAnswer, ReplayGeneration, ReplayRequest},
};

use super::Archivist;

/// What a directory offers to a new `mix-ingress`: each generation, with all its marks. What is damaged is put aside.
pub fn offered(directory: OwnedFd) -> Vec<(ReplayGeneration, Vec<u8>)> {
    let mut archivist = Archivist::new(directory, 0);
    let Ok(ReplayAnswer::OfferGenerations { generations }) = archivist.answer(ReplayRequest::ListGenerations) else {
        return Vec::new();
    };
    generations.into_iter().map(|generation| (generation, marks(&mut archivist, generation.number))).collect()
}

fn marks(archivist: &mut Archivist, generation: u64) -> Vec<u8> {
    let mut marks = Vec::new();
    loop {
        match archivist.answer(ReplayRequest::ReadMarks { generation, offset: marks.len() as u64 }) {
            Ok(ReplayAnswer::GiveMarks { marks: Opaque(part) }) if !part.is_empty() => marks.extend_from_slice(&part),
            _ => return marks,
        }
    }
}
