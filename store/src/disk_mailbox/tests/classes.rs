//! The classes of clients, which their shares rest on, and how full the mail is.

use super::*;

#[test]
fn classes_survive_a_restart_and_nothing_is_kept_of_a_newcomer() {
    let home = tempfile::tempdir().unwrap();
    let other = ClientAddress([4; 32]);
    let mailbox = open(home.path());
    assert_eq!(mailbox.class_of(&CLIENT), Class::NEWCOMER);
    mailbox.keep_classes(&[(CLIENT, Class(2)), (other, Class(6))]).unwrap();
    mailbox.keep_classes(&[(CLIENT, Class(3)), (other, Class::NEWCOMER)]).unwrap();
    drop(mailbox);
    let mailbox = open(home.path());
    assert_eq!((mailbox.class_of(&CLIENT), mailbox.class_of(&other)), (Class(3), Class::NEWCOMER));
}

#[test]
fn without_its_folder_of_classes_a_store_serves_newcomers() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let folder = home.path().join("inboxes/shares");
    std::fs::remove_dir_all(&folder).unwrap();
    // The folder of the classes cannot be made, because a file has its name.
    std::fs::write(&folder, b"in the way").unwrap();
    let mailbox = open(home.path());
    mailbox.keep_classes(&[(CLIENT, Class(2))]).unwrap();
    assert_eq!(mailbox.class_of(&CLIENT), Class::NEWCOMER);
}

#[test]
fn damaged_classes_begin_anew_and_are_kept_again() {
    let home = tempfile::tempdir().unwrap();
    open(home.path()).keep_classes(&[(CLIENT, Class(2))]).unwrap();
    std::fs::write(home.path().join("inboxes/shares/snap.00000000000000FF"), b"half").unwrap();
    let mailbox = open(home.path());
    assert_eq!(mailbox.class_of(&CLIENT), Class::NEWCOMER);
    mailbox.keep_classes(&[(CLIENT, Class(3))]).unwrap();
    drop(mailbox);
    assert_eq!(open(home.path()).class_of(&CLIENT), Class(3));
}

#[test]
fn a_link_in_place_of_the_folder_of_classes_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let folder = home.path().join("inboxes/shares");
    std::fs::remove_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &folder).unwrap();
    open(home.path()).keep_classes(&[(CLIENT, Class(2))]).unwrap();
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn what_is_stored_fills_the_mail_and_what_is_removed_does_not() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open_within(home.path(), 64 << 20).unwrap();
    let mut batch = MailBatch::default();
    batch.put(CLIENT, Sequence(0), Bytes::from(vec![1; 60_000]), Ack::Owed);
    batch.put(CLIENT, Sequence(1), Bytes::from(vec![2; 60_000]), Ack::Owed);
    commit(&mailbox, batch).unwrap();
    let filling = mailbox.filling();
    assert!((120_000..130_000).contains(&filling.alive), "{filling:?}");
    // Mail has half of the limit here; three quarters of that, without what is set apart, may be alive.
    assert_eq!(filling.capacity, (32 - 3) * (1 << 20) / 4 * 3);
    let mut batch = MailBatch::default();
    batch.remove(CLIENT, Sequence(0));
    commit(&mailbox, batch).unwrap();
    assert!((60_000..65_000).contains(&mailbox.filling().alive));
}
