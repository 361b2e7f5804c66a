//! The ledger's files after a loss of power: what was written to one reached the medium up to some byte, and no further.

use super::*;

/// Places at which a commit is cut off.
const CUTS: usize = 12;

/// The client's records of 2021, its later ones, and the nonces of it that are known.
fn records(home: &Path) -> (Option<Vec<u8>>, Option<Vec<u8>>, usize) {
    let ledger = engine(home, "ledger");
    let [clients, spent] = ["clients", "spent"].map(|name| ledger.open_tree(name).unwrap());
    let value = |tree: &sled::Tree| tree.get(CLIENT.as_bytes()).unwrap().map(|value| value.to_vec());
    (value(&ledger), value(&clients), spent.scan_prefix(CLIENT.as_bytes()).count())
}

/// A client that registers again gives up its key, the nonces used with it, and maybe its record in the other tree. After the cut
/// either all of the old state is there, or all of the new.
#[test]
fn a_registration_cut_off_anywhere_leaves_one_whole_account() {
    let of_2021 = |byte| SessionKey::CtrHmac(CtrHmacKey::from_bytes([byte; 32]));
    let later = |byte| SessionKey::GcmSiv(GcmSivKey::from_bytes([byte; 32]));
    for (before, after) in
        [(of_2021(5), of_2021(6)), (of_2021(5), later(6)), (later(5), of_2021(6)), (later(5), later(6))]
    {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("ledger/db");
        let register =
            |key: &SessionKey| LedgerEntry::Register { client: CLIENT, key: key.clone(), logins: LoginForm::Token };
        let mailbox = open(home.path());
        let login = LedgerEntry::Login { client: CLIENT, freshness: Freshness::Nonce([7; 12]) };
        mailbox.commit_ledger(&[register(&before), login]).unwrap();
        let old = std::fs::read(&file).unwrap();
        mailbox.commit_ledger(&[register(&after)]).unwrap();
        let new = std::fs::read(&file).unwrap();
        drop(mailbox);

        let is_new = |at: &usize| old.get(*at) != new.get(*at);
        let first = (0..new.len()).find(is_new).unwrap();
        let last = (0..new.len()).rfind(is_new).unwrap();
        let mut found = Vec::new();
        for number in 0..=CUTS {
            let cut = first + (last + 1 - first) * number / CUTS;
            let image = tempfile::tempdir().unwrap();
            drop(open(image.path()));
            std::fs::remove_dir_all(image.path().join("ledger")).unwrap();
            std::fs::create_dir(image.path().join("ledger")).unwrap();
            let rest = old.get(cut..).unwrap_or_default();
            std::fs::write(image.path().join("ledger/db"), [&new[..cut], rest].concat()).unwrap();
            let key = open(image.path()).key_of(&CLIENT).unwrap().unwrap();
            let is_of_2021 = matches!(key, SessionKey::CtrHmac(_));
            let (in_2021, in_later, spent) = records(image.path());
            let places = (in_2021.is_some(), in_later.is_some(), spent);
            assert!(key == before || key == after, "cut at {cut}");
            assert_eq!(places, (is_of_2021, !is_of_2021, usize::from(key == before)), "cut at {cut}");
            found.push(key == after);
        }
        assert!(found.contains(&false) && found.last() == Some(&true), "{found:?}");
        assert!(found.is_sorted(), "a longer part of a commit is less: {found:?}");
    }
}

/// sled writes `conf` once and never syncs it, so its bytes may be zeros within the length that it should have.
#[test]
fn a_layout_file_that_is_torn_is_written_anew() {
    let home = tempfile::tempdir().unwrap();
    let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    let register = LedgerEntry::Register { client: CLIENT, key: key.clone(), logins: LoginForm::Token };
    open(home.path()).commit_ledger(&[register]).unwrap();
    let file = home.path().join("ledger/conf");
    let whole = std::fs::read(&file).unwrap();
    let mut torn: Vec<Vec<u8>> = (0..whole.len()).step_by(7).map(|len| whole[..len].to_vec()).collect();
    torn.extend([whole.len() - 4, whole.len() - 1].map(|len| whole[..len].to_vec()));
    torn.extend([0, 4, whole.len()].map(|len| vec![0; len]));
    torn.extend([8, whole.len() - 4].map(|from| [&whole[..from], &vec![0; whole.len() - from]].concat()));
    for left in torn {
        std::fs::write(&file, &left).unwrap();
        assert_eq!(open(home.path()).key_of(&CLIENT).unwrap().as_ref(), Some(&key), "{left:?}");
        assert_eq!(std::fs::read(&file).unwrap(), whole, "{left:?}");
    }
}
