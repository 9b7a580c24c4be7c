//! Names of schemas and roles.

/// FNV-1a: the same in every version of the program.
pub(super) fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// The schema of a tenant: at most 35 bytes of a-z, 0-9 and _, readable as far as the name allows.
pub(super) fn schema(tenant: &str) -> String {
    let safe: String = tenant
        .chars()
        .take(20)
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .collect();
    format!("t_{safe}_{:012x}", hash([tenant]) >> 16)
}

/// The role of a plug-in in a tenant. Roles belong to the whole cluster: the database is part of it.
pub(super) fn role(database: &str, tenant: &str, plugin: &str) -> String {
    let plugin = if crate::dialect::valid_name(plugin, false) { plugin } else { "_none" };
    format!("t_{:016x}_{plugin}", hash([database, tenant]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_tell_tenants_apart() {
        let long = "a.very-long.host.name.example.org:8448";
        assert!(schema(long).len() <= 40, "{}", schema(long));
        assert_ne!(schema("a.b"), schema("a_b"));
        assert!(
            schema("\"; DROP SCHEMA x; --").chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        );
        assert!(role("db", long, &"x".repeat(40)).len() <= 63);
        assert_ne!(role("db", "a", "b"), role("other", "a", "b"));
        assert!(role("db", "a", "x\"y").ends_with("_none"));
    }
}
