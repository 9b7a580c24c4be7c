//! Where tenants' databases, keys and blobs lie.

use std::{
    env,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tessera_blobs::{BlobConfig, BlobStore, Blobs, S3Config};
use tessera_manifest::{BlobsStore, Descriptor, Quotas};
use tessera_storage::{Database, DatabaseConfig, Postgres, Wake, now_ms};

use super::registry::{HOST, Registry};
use crate::folder::{self, DataFolder};

/// Bytes of a tenant's name that the name of its export shows at most.
const NAME_MAX: usize = 200;

/// A database that is open for a moment wakes nobody.
pub(super) struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _: &[String], _: u64) {}
}

/// Opens what tenants have.
pub(crate) struct Stores {
    data: PathBuf,
    keys: PathBuf,
    blobs: BlobStore,
    config: DatabaseConfig,
    postgres: Option<Postgres>,
}

impl Stores {
    /// The stores of a descriptor, on a folder that this process holds. Databases are in it, unless they are in
    /// `postgres`.
    pub(crate) fn open(
        descriptor: &Descriptor,
        folder: &DataFolder,
        postgres: Option<Postgres>,
    ) -> Result<Self> {
        let server = &descriptor.server;
        let data = folder.path().to_owned();
        let keys = server.keys.clone().unwrap_or_else(|| data.join("keys")).join("tenants");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&keys)
            .with_context(|| format!("cannot make the folder of keys {}", keys.display()))?;
        let blobs = server.blobs.clone().unwrap_or_else(|| data.join("blobs"));
        let config = BlobConfig { shared: !descriptor.nodes.is_empty(), ..BlobConfig::default() };
        let opened = match s3(&descriptor.blobs)? {
            Some(s3) => BlobStore::open_s3(&blobs, config, s3),
            None => BlobStore::open(&blobs, config),
        };
        let blobs = opened
            .with_context(|| format!("cannot open the folder of blobs {}", blobs.display()))?;
        Ok(Self { data, keys, blobs, config: database_config(descriptor), postgres })
    }

    /// The host's own database.
    pub(crate) async fn host_database(&self, wake: Arc<dyn Wake>) -> Result<Database> {
        // Asked once a second and at changes.
        let config = DatabaseConfig { readers: 1, cache_kib: 1024, ..DatabaseConfig::default() };
        let opened = match &self.postgres {
            Some(postgres) => postgres.open(HOST, config, wake).await,
            None => {
                let file = folder::host_database(&self.data);
                folder::for_owner_only(&file)
                    .with_context(|| format!("cannot write to {}", file.display()))?;
                Database::open(&file, config, wake).await
            }
        };
        opened.context("cannot open the host database")
    }

    /// Connections to PostgreSQL, where the databases are there.
    pub(crate) fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// What hides the topics of this cluster's wake-ups: the same in all of its nodes, made by the first.
    pub(crate) async fn seed(&self) -> Result<[u8; 16]> {
        let mut fresh = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut fresh))
            .context("cannot read /dev/urandom")?;
        // The bus needs it first, so nobody is there to be woken.
        let registry = Registry::open(self.host_database(Arc::new(Nobody)).await?, "").await?;
        let kept = registry.setting("bus-seed", &hex::encode(fresh)).await;
        registry.close().await;
        let mut seed = [0; 16];
        hex::decode_to_slice(kept?, &mut seed).context("the host database holds an odd seed")?;
        Ok(seed)
    }

    /// A tenant's database.
    pub(crate) async fn database(
        &self,
        tenant: &str,
        quotas: &Quotas,
        wake: Arc<dyn Wake>,
    ) -> Result<Database> {
        let mut config = self.config.clone();
        config.max_bytes = quotas.bytes.map(tessera_manifest::ByteSize::get);
        config.max_rows = quotas.rows;
        let opened = match &self.postgres {
            Some(postgres) => postgres.open(tenant, config, wake).await,
            None => Database::open(&folder::database(&self.data, tenant), config, wake).await,
        };
        Ok(opened?)
    }

    /// Whether a tenant has a database in the folder.
    pub(crate) fn has_database(&self, tenant: &str) -> bool {
        folder::database(&self.data, tenant).exists()
    }

    /// Tenants that have a database in the folder, by name.
    pub(crate) fn databases(&self) -> io::Result<Vec<String>> {
        folder::tenants(&self.data)
    }

    /// The file of a tenant's signing key.
    pub(crate) fn key(&self, tenant: &str) -> PathBuf {
        self.keys.join(tenant)
    }

    /// A tenant's blobs, of which it may have so many bytes.
    pub(crate) async fn blobs(&self, tenant: &str, quota: Option<u64>) -> Result<Blobs> {
        let (store, name) = (self.blobs.clone(), tenant.to_owned());
        tokio::task::spawn_blocking(move || store.tenant_with(&name, quota))
            .await
            .context("opening blobs failed")?
            .with_context(|| format!("cannot open the blobs of `{tenant}`"))
    }

    /// Bytes of a tenant's blobs, where they were counted.
    pub(crate) fn blob_bytes(&self, tenant: &str) -> Option<u64> {
        self.blobs.used(tenant)
    }

    /// Whether a tenant has anything.
    pub(crate) async fn has_data(&self, tenant: &str) -> Result<bool> {
        if let Some(postgres) = &self.postgres
            && postgres.tenants().await?.iter().any(|name| name == tenant)
        {
            return Ok(true);
        }
        if self.has_database(tenant) || self.key(tenant).exists() {
            return Ok(true);
        }
        let (store, name) = (self.blobs.clone(), tenant.to_owned());
        let asked = tokio::task::spawn_blocking(move || store.has(&name)).await;
        asked.context("looking for blobs failed")?.context("cannot ask for blobs")
    }

    /// Where the export of a tenant goes that is removed; the folder is made.
    pub(crate) fn export_file(&self, tenant: &str) -> Result<PathBuf> {
        let folder = self.data.join("exports");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        // With the time it must not become longer than file names may be.
        let name = if tenant.len() > NAME_MAX {
            hex::encode(Sha256::digest(tenant.as_bytes()))
        } else {
            tenant.to_owned()
        };
        Ok(folder.join(format!("{name}-{}.tessera", now_ms())))
    }

    /// Removes all that a tenant has; nobody has it open.
    pub(crate) async fn remove(&self, tenant: &str) -> Result<()> {
        if let Some(postgres) = &self.postgres {
            postgres.drop_tenant(tenant).await?;
        }
        let (name, blobs) = (tenant.to_owned(), self.blobs.clone());
        let (folder, key) = (folder::tenant_folder(&self.data, tenant), self.key(tenant));
        let removing = move || {
            let gone = |removed: io::Result<()>| match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
            gone(fs::remove_dir_all(folder))?;
            blobs.remove(&name)?;
            gone(fs::remove_file(key))
        };
        tokio::task::spawn_blocking(removing)
            .await
            .context("removing failed")?
            .with_context(|| format!("cannot remove the data of `{tenant}`"))
    }
}

/// The bucket for blobs, where the descriptor names one.
pub(crate) fn s3(blobs: &tessera_manifest::Blobs) -> Result<Option<S3Config>> {
    if blobs.store != BlobsStore::S3 {
        return Ok(None);
    }
    let access_key = env::var("TESSERA_BLOBS_ACCESS_KEY").ok().or_else(|| blobs.access_key.clone());
    let secret_key = match (env::var("TESSERA_BLOBS_SECRET_KEY"), &blobs.secret_key_file) {
        (Ok(key), _) => Some(key),
        (_, None) => None,
        (_, Some(path)) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("[blobs] secret-key-file {}", path.display()))?;
            Some(text.trim().to_owned())
        }
    };
    Ok(Some(S3Config {
        bucket: blobs.bucket.clone().context("[blobs] bucket is missing")?,
        endpoint: blobs.endpoint.clone(),
        region: blobs.region.clone(),
        prefix: blobs.prefix.clone(),
        access_key: access_key.context("[blobs] access-key is missing")?,
        secret_key: secret_key.context("[blobs] secret-key-file is missing")?,
        virtual_host: blobs.virtual_host,
    }))
}

fn database_config(descriptor: &Descriptor) -> DatabaseConfig {
    let storage = &descriptor.storage;
    DatabaseConfig {
        readers: storage.readers.get() as usize,
        read_queue: storage.read_queue.get() as usize,
        write_queue: storage.write_queue.get() as usize,
        group: storage.group.get() as usize,
        cache_kib: u32::try_from(storage.cache.get() >> 10).unwrap_or(u32::MAX),
        ..DatabaseConfig::default()
    }
}
