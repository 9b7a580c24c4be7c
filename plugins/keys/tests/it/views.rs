//! What others read.

use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use crate::server::*;

#[test]
fn counts_are_kept_for_each_algorithm() {
    let server = server();
    Batch::new()
        .run_many(
            "INSERT INTO keys_one_time (user_id, device_id, algorithm, key_id, json, position) \
             VALUES ($1, 'A1', $2, $3, '{}', 1)",
            vec![
                params![ALICE, "signed_curve25519", "a"],
                params![ALICE, "signed_curve25519", "b"],
                params![ALICE, "curve25519", "a"],
                params![BOB, "curve25519", "a"],
            ],
        )
        .commit()
        .unwrap();
    let counts: Vec<(String, i64)> = server.rows(
        "SELECT algorithm, count FROM keys_v1_one_time_counts \
         WHERE user_id = '@alice:hs1' AND device_id = 'A1' ORDER BY algorithm",
    );
    let expected = [("curve25519".to_owned(), 1), ("signed_curve25519".to_owned(), 2)];
    assert_eq!(counts, expected);
}
