use super::*;
use crate::trace::Trace;

const ALL: Lottery = Lottery::of(Left::Everything, Left::Everything);
const NONE: Lottery = Lottery::of(Left::Nothing, Left::Nothing);
/// Behind all that happens.
const LATE: usize = 1_000;

/// A folder `in`, and a file `in/file` of one sector of ones, both on the medium.
fn with_file() -> (History, Node, Node) {
    let mut history = History::default();
    let folder = history.add(Found::Folder);
    let file = history.add(Found::File(vec![1; 512]));
    history.name(History::ROOT, "in", folder);
    history.name(folder, "file", file);
    (history, folder, file)
}

fn write(file: Node, offset: u64, byte: u8, len: usize) -> Change {
    Change::Write { file, offset, bytes: vec![byte; len] }
}

/// All images of some thousand drawings, as the bytes of one file.
fn outcomes(history: &History, line: usize, path: &str) -> std::collections::BTreeSet<Option<Vec<u8>>> {
    let drawings = (0..2_000).map(|seed| Lottery { sector: 512, ..Lottery::by_chance(seed) });
    drawings.map(|lottery| history.image(line, lottery).file(path).map(<[u8]>::to_vec)).collect()
}

#[test]
fn what_was_synced_is_there_in_every_image() {
    let (mut history, _, file) = with_file();
    history.step(write(file, 0, 2, 512), 1, 2);
    history.step(write(file, 512, 3, 512), 3, 4);
    history.sync(file, 5, 6);
    let synced = [vec![2; 512], vec![3; 512]].concat();
    assert_eq!(outcomes(&history, 7, "in/file"), [Some(synced.clone())].into());
    // Before the sync has returned nothing is sure.
    assert_eq!(history.image(6, NONE).file("in/file").unwrap(), [1; 512]);
    assert_eq!(history.image(6, ALL).file("in/file").unwrap(), synced);
}

#[test]
fn a_write_under_way_when_the_sync_began_is_in_doubt() {
    let (mut history, _, file) = with_file();
    history.step(write(file, 0, 2, 512), 1, 6);
    history.sync(file, 5, 7);
    assert_eq!(history.image(LATE, NONE).file("in/file").unwrap(), [1; 512]);
}

#[test]
fn a_step_that_has_not_begun_is_in_no_image() {
    let (mut history, _, file) = with_file();
    history.step(write(file, 0, 2, 512), 5, 6);
    assert_eq!(history.image(5, ALL).file("in/file").unwrap(), [1; 512]);
}

#[test]
fn sectors_are_left_one_by_one_and_each_as_it_was_once() {
    let (mut history, _, file) = with_file();
    history.step(write(file, 0, 2, 1_024), 1, 2);
    history.sync(file, 3, 4);
    // The first write leaves the second half of a sector alone, the second the first half.
    history.step(write(file, 0, 7, 768), 5, 6);
    history.step(write(file, 768, 8, 256), 7, 8);
    let sectors =
        |first: u8, second: &[u8; 2]| Some([vec![first; 512], vec![second[0]; 256], vec![second[1]; 256]].concat());
    let mut expected = std::collections::BTreeSet::new();
    for first in [2, 7] {
        for second in [[2, 2], [7, 2], [7, 8]] {
            expected.insert(sectors(first, &second));
        }
    }
    assert_eq!(outcomes(&history, LATE, "in/file"), expected);
}

#[test]
fn a_length_is_left_or_not_whatever_became_of_the_bytes() {
    let (mut history, _, file) = with_file();
    history.step(write(file, 512, 3, 512), 1, 2);
    let with = |second: u8| Some([vec![1; 512], vec![second; 512]].concat());
    assert_eq!(outcomes(&history, LATE, "in/file"), [Some(vec![1; 512]), with(0), with(3)].into());
    // Cut off and grown again, what was there is zeros, or was never cut.
    let (mut history, _, file) = with_file();
    history.step(Change::Length { file, len: 0 }, 1, 2);
    history.step(Change::Length { file, len: 512 }, 3, 4);
    assert_eq!(outcomes(&history, LATE, "in/file"), [Some(vec![1; 512]), Some(vec![0; 512]), Some(vec![])].into());
}

#[test]
fn a_new_file_without_a_sync_of_its_folder_may_be_gone() {
    let (mut history, folder, _) = with_file();
    let node = history.add(Found::File(Vec::new()));
    history.step(Change::Add { folder, name: "new".to_owned(), node }, 1, 2);
    history.step(write(node, 0, 5, 512), 3, 4);
    history.sync(node, 5, 6);
    assert_eq!(outcomes(&history, LATE, "in/new"), [None, Some(vec![5; 512])].into());
    history.sync(folder, 7, 8);
    assert_eq!(outcomes(&history, LATE, "in/new"), [Some(vec![5; 512])].into());
}

#[test]
fn a_name_without_a_sync_of_its_file_may_name_nothing() {
    let (mut history, folder, _) = with_file();
    let node = history.add(Found::File(Vec::new()));
    history.step(Change::Add { folder, name: "new".to_owned(), node }, 1, 2);
    history.step(write(node, 0, 5, 512), 3, 4);
    history.sync(folder, 5, 6);
    assert_eq!(history.image(LATE, NONE).file("in/new").unwrap().len(), 0);
}

#[test]
fn a_file_that_is_renamed_has_one_of_its_names() {
    let (mut history, folder, file) = with_file();
    let rename = Change::Rename { folder, from: "file".to_owned(), to: "other".to_owned(), node: file };
    history.step(rename, 1, 2);
    for seed in 0..100 {
        let image = history.image(LATE, Lottery::by_chance(seed));
        assert!(image.file("in/file").is_some() != image.file("in/other").is_some());
    }
    assert!(history.image(LATE, NONE).file("in/file").is_some());
    assert!(history.image(LATE, ALL).file("in/other").is_some());
    history.sync(folder, 3, 4);
    assert!(history.image(LATE, NONE).file("in/other").is_some());
}

#[test]
fn names_are_left_in_any_combination() {
    let (mut history, folder, _) = with_file();
    let node = history.add(Found::File(vec![9]));
    history.step(Change::Add { folder, name: "copy".to_owned(), node }, 1, 2);
    history.step(Change::Remove { folder, name: "file".to_owned() }, 3, 4);
    let combinations: std::collections::BTreeSet<(bool, bool)> = (0..500)
        .map(|seed| history.image(LATE, Lottery::by_chance(seed)))
        .map(|image| (image.file("in/file").is_some(), image.file("in/copy").is_some()))
        .collect();
    assert_eq!(combinations.len(), 4, "{combinations:?}");
    assert_eq!(history.names_in_doubt(LATE).len(), 2);
}

#[test]
fn what_is_in_a_folder_that_has_lost_its_name_is_gone() {
    let mut history = History::default();
    let folder = history.add(Found::Folder);
    let node = history.add(Found::File(Vec::new()));
    history.step(Change::Add { folder: History::ROOT, name: "in".to_owned(), node: folder }, 1, 2);
    history.step(Change::Add { folder, name: "file".to_owned(), node }, 3, 4);
    history.sync(folder, 5, 6);
    assert_eq!(outcomes(&history, LATE, "in/file"), [None, Some(vec![])].into());
    history.sync(History::ROOT, 7, 8);
    assert_eq!(outcomes(&history, LATE, "in/file"), [Some(vec![])].into());
}

#[test]
fn an_image_is_written_as_it_is() {
    let (mut history, folder, file) = with_file();
    let node = history.add(Found::Folder);
    history.step(Change::Add { folder, name: "empty".to_owned(), node }, 1, 2);
    history.step(write(file, 300_000, 4, 100), 3, 4);
    let target = tempfile::tempdir().unwrap();
    let image = history.image(LATE, ALL);
    image.write_to(&history, target.path()).unwrap();
    assert_eq!(std::fs::read(target.path().join("in/file")).unwrap(), image.file("in/file").unwrap());
    assert!(target.path().join("in/empty").is_dir());
    assert_eq!(image.file("in/file").unwrap().len(), 300_100);
}

/// A path as `strace -xx` writes it.
fn escaped(path: &str) -> String {
    path.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

#[test]
fn a_trace_is_the_history_of_what_it_did() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().to_str().unwrap();
    let path = |rest: &str| escaped(&format!("{data}{rest}"));
    let (folder, file, renamed) = (path("/in"), path("/in/a"), path("/in/b"));
    let (a, b, sub) = (escaped("a"), escaped("b"), escaped("/proc/self/fd/3/sub"));
    let lines = [
        format!(r#"7 mkdir("{folder}", 0700) = 0"#),
        format!(r#"7 openat(3<{folder}>, "{a}", O_RDWR|O_CREAT, 0600) = 4<{file}>"#),
        "7 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0}, 88) = 8".to_owned(),
        format!(r#"8 pwrite64(4<{file}>, "\x01\x02", 2, 4) = 2"#),
        format!(r#"7 write(4<{file}>, "\x09\x08", 2) = 2"#),
        format!(r#"7 write(4<{file}>, "\x07", 1) = 1"#),
        format!("7 fallocate(4<{file}>, 0, 0, 8) = 0"),
        format!("7 fdatasync(4<{file}>) = 0"),
        format!(r#"8 renameat(3<{folder}>, "{a}", 3<{folder}>, "{b}") = 0"#),
        format!("7 fsync(3<{folder}>) = 0"),
        format!(r#"8 mkdir("{sub}", 0777) = 0"#),
        format!(r#"7 unlinkat(3<{folder}>, "{b}", 0) = 0"#),
        format!(r#"7 pwrite64(4<{renamed}>(deleted), "\x05", 1, 0) = 1"#),
        r#"7 write(2<pipe:[9]>, "\x05", 1) = 1"#.to_owned(),
    ];
    let trace = Trace::parse(&lines.join("\n")).unwrap();
    let history = record(begin(root.path()).unwrap(), root.path(), &trace).unwrap();
    assert_eq!(history.seen(8).file("in/a").unwrap(), [9, 8, 7, 0, 1, 2, 0, 0]);
    assert_eq!(history.image(11, Lottery::of(Left::Everything, Left::Nothing)).file("in/b").unwrap().len(), 8);
    assert_eq!(history.seen(11).file("in/a"), None);
    assert_eq!(history.seen(12).file("in/b"), None);
    assert!(history.seen(12).find(Node(1), "sub").is_some());
    // Its removal is in doubt, and so is what was written to it afterwards.
    let kept = history.image(LATE, Lottery::of(Left::Nothing, Left::Everything));
    assert_eq!(kept.file("in/b"), None, "the folder itself was never synced");
}
