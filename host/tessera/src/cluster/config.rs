//! `[bus]` as the bus wants it.

use std::{env, path::Path};

use tessera_bus::{ClusterConfig, ClusterTls, Credentials};
use tessera_manifest::Bus;

/// Goes before `[bus] servers`; separated by commas.
const VARIABLE: &str = "TESSERA_BUS_SERVERS";

pub(super) fn of(bus: &Bus, node: &str) -> ClusterConfig {
    let tls = &bus.tls;
    let default = ClusterConfig::default();
    let servers = servers(env::var(VARIABLE).ok().as_deref(), &bus.servers);
    ClusterConfig {
        servers: if servers.is_empty() { default.servers.clone() } else { servers },
        credentials: bus.credentials.as_deref().map_or(Credentials::None, credentials),
        tls: ClusterTls {
            required: tls.required,
            ca: tls.authorities.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        },
        prefix: bus.prefix.to_string(),
        node: node.to_owned(),
        partitions: u16::try_from(bus.partitions.get()).unwrap_or(u16::MAX),
        replicas: u8::try_from(bus.replicas.get()).unwrap_or(u8::MAX),
        ..default
    }
}

fn servers(variable: Option<&str>, listed: &[String]) -> Vec<String> {
    let named = variable.unwrap_or_default().split(',').map(str::trim);
    let named: Vec<String> = named.filter(|server| !server.is_empty()).map(str::to_owned).collect();
    if named.is_empty() { listed.to_vec() } else { named }
}

/// A file whose name ends in `.nk` holds a bare seed, every other is a `.creds` file.
fn credentials(path: &Path) -> Credentials {
    if path.extension().is_some_and(|extension| extension == "nk") {
        return Credentials::NkeySeed(path.to_owned());
    }
    Credentials::File(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tessera_bus::Credentials;

    use super::{credentials, of, servers};

    #[test]
    fn the_environment_goes_before_the_descriptor() {
        let listed = ["nats://a".to_owned()];
        assert_eq!(servers(None, &listed), ["nats://a"]);
        assert_eq!(servers(Some(""), &listed), ["nats://a"]);
        assert_eq!(servers(Some("nats://b, nats://c,"), &listed), ["nats://b", "nats://c"]);
    }

    #[test]
    fn a_seed_is_told_from_a_credentials_file() {
        assert!(matches!(credentials(Path::new("a.nk")), Credentials::NkeySeed(_)));
        assert!(matches!(credentials(Path::new("a.creds")), Credentials::File(_)));
    }

    #[test]
    fn what_the_descriptor_says_is_taken_over() {
        let config = of(&tessera_manifest::Bus::default(), "one");
        assert_eq!((config.node.as_str(), config.prefix.as_str()), ("one", "tessera"));
        assert_eq!((config.partitions, config.replicas), (8, 1));
    }
}
