//! The archive as `mix-ingress` sees it, and its files as a disk may return them.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;

const EVEN: &str = "generation-even";
const ODD: &str = "generation-odd";

fn archivist(directory: &Path) -> Archivist {
    let directory = fs::File::open(directory).unwrap().into();
    Archivist { directory, offered: Vec::new(), draft: None, is_failing: false }
}

fn generation(number: u64, marks: &[u8]) -> ReplayGeneration {
    let len = marks.len() as u64;
    ReplayGeneration { number, seed: [number as u8; 16], hashes: 17, marked: 5, begun: 1_700_000_000, len }
}

fn parts(marks: &[u8]) -> impl Iterator<Item = ReplayRequest> {
    marks.chunks(MARKS_LEN).map(|part| ReplayRequest::WriteMarks { marks: Opaque(part.to_vec().into()) })
}

fn save(archive: &mut Archivist, number: u64, marks: &[u8]) {
    let begin = ReplayRequest::BeginSave { generation: generation(number, marks) };
    for request in [begin].into_iter().chain(parts(marks)).chain([ReplayRequest::CommitSave]) {
        assert_eq!(archive.answer(request), Ok(ReplayAnswer::Proceed));
    }
}

fn offered(archive: &mut Archivist) -> Vec<ReplayGeneration> {
    match archive.answer(ReplayRequest::ListGenerations) {
        Ok(ReplayAnswer::OfferGenerations { generations }) => generations,
        other => panic!("{other:?}"),
    }
}

fn read(archive: &mut Archivist, number: u64) -> Vec<u8> {
    let mut marks = Vec::new();
    loop {
        let request = ReplayRequest::ReadMarks { generation: number, offset: marks.len() as u64 };
        match archive.answer(request) {
            Ok(ReplayAnswer::GiveMarks { marks: Opaque(part) }) if part.is_empty() => return marks,
            Ok(ReplayAnswer::GiveMarks { marks: Opaque(part) }) => marks.extend_from_slice(&part),
            other => panic!("{other:?}"),
        }
    }
}

fn marks(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 7) as u8).collect()
}

#[test]
fn what_was_saved_is_offered_to_a_successor_and_newer_states_replace_older() {
    let home = tempfile::tempdir().unwrap();
    let (first, second, third) = (marks(3 * MARKS_LEN + 8), marks(2 * MARKS_LEN), marks(16));
    let mut archive = archivist(home.path());
    assert_eq!(offered(&mut archive), []);
    save(&mut archive, 6, &third);
    save(&mut archive, 6, &first);
    save(&mut archive, 7, &second);
    let mut successor = archivist(home.path());
    assert_eq!(offered(&mut successor), [generation(6, &first), generation(7, &second)]);
    assert!(read(&mut successor, 6) == first && read(&mut successor, 7) == second);
    save(&mut successor, 8, &third);
    assert_eq!(read(&mut successor, 6), first, "what is offered stays readable");
    assert_eq!(offered(&mut successor), [generation(8, &third), generation(7, &second)]);
    let mut names: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [EVEN, ODD], "no draft is left");
}

#[test]
fn the_bytes_of_a_file_are_pinned() {
    let home = tempfile::tempdir().unwrap();
    save(&mut archivist(home.path()), 3, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let bytes = fs::read(home.path().join(ODD)).unwrap();
    let header = "7061636b7365656e\
                  01000000\
                  0300000000000000\
                  03030303030303030303030303030303\
                  11000000\
                  0500000000000000\
                  00f1536500000000\
                  0800000000000000";
    let content = format!("{header}0102030405060708");
    let checksum = blake3::hash(&hex::decode(&content).unwrap()).to_hex();
    assert_eq!(hex::encode(bytes), format!("{content}{checksum}"));
}

#[test]
fn an_unfinished_save_leaves_the_older_state() {
    let home = tempfile::tempdir().unwrap();
    let (old, new) = (marks(100), marks(2 * MARKS_LEN));
    let mut archive = archivist(home.path());
    save(&mut archive, 2, &old);
    archive.answer(ReplayRequest::BeginSave { generation: generation(2, &new) }).unwrap();
    archive.answer(parts(&new).next().unwrap()).unwrap();
    // The process dies here.
    let mut successor = archivist(home.path());
    assert_eq!(offered(&mut successor), [generation(2, &old)]);
    assert_eq!(read(&mut successor, 2), old);
    save(&mut successor, 2, &new);
    assert_eq!(offered(&mut successor), [generation(2, &new)]);
}

#[test]
fn a_file_that_is_not_as_it_was_written_is_put_aside() {
    let whole = {
        let home = tempfile::tempdir().unwrap();
        save(&mut archivist(home.path()), 2, &marks(1000));
        fs::read(home.path().join(EVEN)).unwrap()
    };
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let long = [&whole[..], &[0]].concat();
    let cases: [(&str, Vec<u8>); 9] = [
        ("empty", Vec::new()),
        ("cut in the header", whole[..20].to_vec()),
        ("cut in the marks", whole[..500].to_vec()),
        ("a byte more", long),
        ("another magic", flipped(0)),
        ("another version", flipped(8)),
        ("another number", flipped(13)),
        ("another mark", flipped(70)),
        ("another checksum", flipped(whole.len() - 1)),
    ];
    for (what, bytes) in cases {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(EVEN), &bytes).unwrap();
        let mut archive = archivist(home.path());
        assert_eq!(offered(&mut archive), [], "{what}");
        assert_eq!(fs::read(home.path().join("generation-even.damaged")).unwrap(), bytes, "{what}");
        assert!(!home.path().join(EVEN).exists(), "{what}");
        save(&mut archive, 2, &marks(8));
        assert_eq!(offered(&mut archive).len(), 1, "{what}");
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(ODD), &whole).unwrap();
    assert_eq!(offered(&mut archivist(home.path())), [], "in the place of another");
}

#[test]
fn broken_rules_are_named() {
    let home = tempfile::tempdir().unwrap();
    let mut archive = archivist(home.path());
    let data = marks(10);
    let begin = |len| ReplayRequest::BeginSave { generation: ReplayGeneration { len, ..generation(1, &[]) } };
    let write = |len| ReplayRequest::WriteMarks { marks: Opaque(marks(len).into()) };
    assert_eq!(archive.answer(write(1)), Err(RULE_NO_SAVE));
    assert_eq!(archive.answer(ReplayRequest::CommitSave), Err(RULE_NO_SAVE));
    assert_eq!(archive.answer(ReplayRequest::ReadMarks { generation: 0, offset: 0 }), Err(RULE_UNKNOWN));
    assert_eq!(archive.answer(begin(GENERATION_LIMIT + 1)), Err(RULE_TOO_LARGE));
    archive.answer(begin(data.len() as u64)).unwrap();
    assert_eq!(archive.answer(write(11)), Err(RULE_NO_SAVE));
    assert_eq!(archive.answer(ReplayRequest::CommitSave), Err(RULE_UNFINISHED));
    archive.answer(begin(10 * MARKS_LEN as u64)).unwrap();
    assert_eq!(archive.answer(write(MARKS_LEN + 1)), Err(RULE_NO_SAVE));
}

#[test]
fn a_directory_that_cannot_be_written_is_not_the_end() {
    let home = tempfile::tempdir().unwrap();
    // Something that cannot be opened for writing, whoever runs this test.
    fs::create_dir(home.path().join("generation.new")).unwrap();
    let mut archive = archivist(home.path());
    let begin = ReplayRequest::BeginSave { generation: generation(1, &marks(8)) };
    assert_eq!(archive.answer(begin.clone()), Ok(ReplayAnswer::GiveUp));
    assert!(archive.is_failing);
    fs::remove_dir(home.path().join("generation.new")).unwrap();
    save(&mut archive, 1, &marks(8));
    assert!(!archive.is_failing);
}

proptest! {
    #[test]
    fn no_bytes_in_a_file_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), honest in any::<bool>()) {
        let home = tempfile::tempdir().unwrap();
        let start: &[u8] = if honest { b"packseen\x01\0\0\0" } else { b"" };
        fs::write(home.path().join(EVEN), [start, &bytes].concat()).unwrap();
        prop_assert_eq!(offered(&mut archivist(home.path())), []);
    }
}
