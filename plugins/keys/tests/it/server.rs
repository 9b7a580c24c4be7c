//! Alice and bob with a device each.

use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, FromRow, position};
use tessera_test_host::{PluginUnderTest, TestHost};

pub(crate) const ALICE: &str = "@alice:hs1";
pub(crate) const BOB: &str = "@bob:hs1";

pub(crate) const KEYS: PluginUnderTest = PluginUnderTest {
    name: "keys",
    manifest: include_str!("../../plugin.toml"),
    migrations: &[("0001_init", include_str!("../../migrations/0001_init.sql"))],
};

/// As much of `accounts` as is read.
const ACCOUNTS: PluginUnderTest = PluginUnderTest {
    name: "accounts",
    manifest: "name = \"accounts\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"accounts_v1_devices\", \"accounts_v1_users\"]\n\
        [topics]\nemits = [\"accounts.sessions\", \"accounts.users\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE accounts_devices (user_id text NOT NULL, device_id text NOT NULL, display_name text,
           position bigint NOT NULL, PRIMARY KEY (user_id, device_id));
         CREATE TABLE accounts_users (user_id text NOT NULL PRIMARY KEY, deactivated boolean NOT NULL);
         CREATE VIEW accounts_v1_devices AS SELECT user_id, device_id, position FROM accounts_devices;
         CREATE VIEW accounts_v1_users AS SELECT user_id, deactivated FROM accounts_users;",
    )],
};

/// As much of `rooms` as is read.
const ROOMS: PluginUnderTest = PluginUnderTest {
    name: "rooms",
    manifest: "name = \"rooms\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"rooms_v1_membership_changes\", \"rooms_v1_memberships\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE rooms_memberships (room_id text NOT NULL, user_id text NOT NULL, membership text NOT NULL,
           PRIMARY KEY (room_id, user_id));
         CREATE TABLE rooms_changes (position bigint NOT NULL PRIMARY KEY, room_id text NOT NULL, user_id text NOT NULL,
           membership text NOT NULL, prev_membership text NOT NULL);
         CREATE VIEW rooms_v1_memberships AS SELECT room_id, user_id, membership FROM rooms_memberships;
         CREATE VIEW rooms_v1_membership_changes AS
           SELECT position, room_id, user_id, membership, prev_membership FROM rooms_changes;",
    )],
};

pub(crate) struct Server {
    pub(crate) host: TestHost,
}

pub(crate) fn server() -> Server {
    let host = TestHost::builder().plugin(KEYS).plugin(ACCOUNTS).plugin(ROOMS).start();
    let server = Server { host };
    server.device(ALICE, "A1");
    server.device(BOB, "B1");
    server
}

impl Server {
    /// A new device.
    pub(crate) fn device(&self, user: &str, device: &str) {
        self.host.acting("accounts", || {
            let mut batch = Batch::new();
            let at = batch.take_positions(1);
            batch
                .run(
                    "INSERT INTO accounts_devices (user_id, device_id, position) VALUES ($1, $2, $3)",
                    params![user, device, position(at)],
                )
                .commit()
                .unwrap();
        });
    }

    pub(crate) fn rows<T: FromRow>(&self, sql: &str) -> Vec<T> {
        storage::query(sql, vec![]).unwrap().all().unwrap()
    }
}
