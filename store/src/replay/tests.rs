//! The archive as `mix-ingress` sees it, and its files as a disk may return them.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;

/// Where generations 2 and 3 are kept.
const SECOND: &str = "generation-02";
const THIRD: &str = "generation-03";
/// Where the first gateways kept them.
const EVEN: &str = "generation-even";
const ODD: &str = "generation-odd";

fn archivist(directory: &Path) -> Archivist {
    archivist_of(directory, u64::MAX)
}

fn archivist_of(directory: &Path, bytes: u64) -> Archivist {
    Archivist::new(File::open(directory).unwrap().into(), bytes)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn generation(number: u64, marks: &[u8]) -> ReplayGeneration {
    let len = marks.len() as u64;
    ReplayGeneration { number, seed: [number as u8; 16], hashes: 17, marked: 5, begun: 1_700_000_000, len }
}

fn parts(marks: &[u8]) -> impl Iterator<Item = ReplayRequest> {
    marks.chunks(MARKS_LEN).map(|part| ReplayRequest::WriteMarks { marks: Opaque(part.to_vec().into()) })
}

fn begin(number: u64, marks: &[u8], live: &[u64]) -> ReplayRequest {
    ReplayRequest::BeginSave { generation: generation(number, marks), live: live.to_vec() }
}

/// Saves a generation beside all that are kept.
fn save(archive: &mut Archivist, number: u64, marks: &[u8]) {
    save_among(archive, number, marks, &(0..100).collect::<Vec<_>>()[..GENERATIONS_LIMIT]);
}

fn save_among(archive: &mut Archivist, number: u64, marks: &[u8], live: &[u64]) {
    let begin = begin(number, marks, live);
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
fn saved_marks_are_offered_and_newer_ones_replace_older() {
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
    save_among(&mut successor, 8, &third, &[7, 8]);
    assert_eq!(offered(&mut successor), [generation(7, &second), generation(8, &third)]);
    assert_eq!(
        names(home.path()),
        ["generation-07", "generation-08"],
        "what is of no use is gone, and no draft is left"
    );
}

/// Their marks mean other packets: to read them would refuse new packets and pass old ones.
#[test]
fn files_of_earlier_versions_are_removed_and_not_misread() {
    let home = tempfile::tempdir().unwrap();
    save(&mut archivist(home.path()), 2, &marks(100));
    let mut earlier = fs::read(home.path().join(SECOND)).unwrap();
    earlier.truncate(earlier.len() - blake3::OUT_LEN);
    for (version, place) in [(1_u32, SECOND), (1, EVEN), (1, ODD), (2, "generation-04")] {
        earlier[8..12].copy_from_slice(&version.to_le_bytes());
        let checksum = blake3::hash(&earlier);
        fs::write(home.path().join(place), [&earlier[..], checksum.as_bytes()].concat()).unwrap();
    }
    save(&mut archivist(home.path()), 3, &marks(200));
    let mut archive = archivist(home.path());
    assert_eq!(offered(&mut archive), [generation(3, &marks(200))]);
    assert_eq!(names(home.path()), [THIRD], "nothing of them is put aside either");
}

#[test]
fn whatever_is_announced_the_files_stay_within_their_bytes() {
    let home = tempfile::tempdir().unwrap();
    let data = marks(100);
    let mut archive = archivist_of(home.path(), 300);
    let live: Vec<_> = (0..9).collect();
    for number in 1..=3 {
        save_among(&mut archive, number, &data, &live);
    }
    assert_eq!(archive.answer(begin(4, &data, &live)), Err(Rule::TooManyMarks));
    // Neither a new thread nor another number changes that.
    let mut archive = archivist_of(home.path(), 300);
    assert_eq!(archive.answer(begin(64 + 9, &data, &live)), Err(Rule::TooManyMarks));
    assert_eq!(archive.answer(begin(4, &data, &[0; GENERATIONS_LIMIT + 1])), Err(Rule::TooManyMarks));
    assert_eq!(archive.answer(begin(4, &marks(301), &[])), Err(Rule::TooManyMarks));
    assert_eq!(names(home.path()), ["generation-01", SECOND, THIRD]);
    // What takes the place of another may come, as may its newer state.
    save_among(&mut archive, 64 + 3, &data, &live);
    save_among(&mut archive, 2, &data, &[1, 2, 64 + 3]);
    save_among(&mut archive, 5, &data, &[2, 5, 64 + 3]);
    assert_eq!(names(home.path()), [SECOND, THIRD, "generation-05"]);
}

#[test]
fn the_bytes_of_a_file_are_pinned() {
    let home = tempfile::tempdir().unwrap();
    save(&mut archivist(home.path()), 3, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let bytes = fs::read(home.path().join(THIRD)).unwrap();
    let header = "7061636b7365656e\
                  03000000\
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
    archive.answer(begin(2, &new, &[2])).unwrap();
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
        fs::read(home.path().join(SECOND)).unwrap()
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
        ("a later version", flipped(11)),
        ("another number", flipped(13)),
        ("another mark", flipped(70)),
        ("another checksum", flipped(whole.len() - 1)),
    ];
    for (what, bytes) in cases {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(SECOND), &bytes).unwrap();
        let mut archive = archivist(home.path());
        assert_eq!(offered(&mut archive), [], "{what}");
        assert_eq!(fs::read(home.path().join("generation-02.damaged")).unwrap(), bytes, "{what}");
        assert!(!home.path().join(SECOND).exists(), "{what}");
        save(&mut archive, 2, &marks(8));
        assert_eq!(offered(&mut archive).len(), 1, "{what}");
    }
    for place in [THIRD, ODD] {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(place), &whole).unwrap();
        assert_eq!(offered(&mut archivist(home.path())), [], "in the place of another");
    }
}

#[test]
fn broken_rules_are_named() {
    let home = tempfile::tempdir().unwrap();
    let mut archive = archivist(home.path());
    let data = marks(10);
    let begin =
        |len| ReplayRequest::BeginSave { generation: ReplayGeneration { len, ..generation(1, &[]) }, live: vec![1] };
    let write = |len| ReplayRequest::WriteMarks { marks: Opaque(marks(len).into()) };
    assert_eq!(archive.answer(write(1)), Err(Rule::UnannouncedMarks));
    assert_eq!(archive.answer(ReplayRequest::CommitSave), Err(Rule::UnannouncedMarks));
    assert_eq!(archive.answer(ReplayRequest::ReadMarks { generation: 0, offset: 0 }), Err(Rule::UnofferedMarks));
    assert_eq!(archive.answer(begin(GENERATION_LIMIT + 1)), Err(Rule::GenerationTooLarge));
    archive.answer(begin(data.len() as u64)).unwrap();
    assert_eq!(archive.answer(write(11)), Err(Rule::UnannouncedMarks));
    assert_eq!(archive.answer(ReplayRequest::CommitSave), Err(Rule::MissingMarks));
    archive.answer(begin(10 * MARKS_LEN as u64)).unwrap();
    assert_eq!(archive.answer(write(MARKS_LEN + 1)), Err(Rule::UnannouncedMarks));
}

#[test]
fn a_directory_that_cannot_be_written_is_not_the_end() {
    let home = tempfile::tempdir().unwrap();
    // Something that cannot be opened for writing, whoever runs this test.
    fs::create_dir(home.path().join("generation.new")).unwrap();
    let mut archive = archivist(home.path());
    assert_eq!(archive.answer(begin(1, &marks(8), &[1])), Ok(ReplayAnswer::GiveUp));
    assert!(archive.is_failing);
    fs::remove_dir(home.path().join("generation.new")).unwrap();
    save(&mut archive, 1, &marks(8));
    assert!(!archive.is_failing);
}

proptest! {
    #[test]
    fn no_bytes_in_a_file_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), honest in any::<bool>()) {
        let home = tempfile::tempdir().unwrap();
        let start: &[u8] = if honest { b"packseen\x03\0\0\0" } else { b"" };
        fs::write(home.path().join(SECOND), [start, &bytes].concat()).unwrap();
        prop_assert_eq!(offered(&mut archivist(home.path())), []);
    }
}
