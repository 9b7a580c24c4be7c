//! Where tenants' databases, keys and blobs lie.

use std::{fs, io, os::unix::fs::DirBuilderExt, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use tessera_blobs::{BlobConfig, BlobStore, Blobs};
use tessera_manifest::{Descriptor, Quotas};
use tessera_storage::{Database, DatabaseConfig, Wake};

use crate::folder::{self, DataFolder};

/// Opens what tenants have.
pub(crate) struct Stores {
    data: PathBuf,
    keys: PathBuf,
    blobs: BlobStore,
    config: DatabaseConfig,
}

impl Stores {
    /// The stores of a descriptor, on a folder that this process holds.
    pub(crate) fn open(descriptor: &Descriptor, folder: &DataFolder) -> Result<Self> {
        let server = &descriptor.server;
        let data = folder.path().to_owned();
        let keys = server.keys.clone().unwrap_or_else(|| data.join("keys")).join("tenants");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&keys)
            .with_context(|| format!("cannot make the folder of keys {}", keys.display()))?;
        let blobs = server.blobs.clone().unwrap_or_else(|| data.join("blobs"));
        let blobs = BlobStore::open(&blobs, BlobConfig::default())
            .with_context(|| format!("cannot open the folder of blobs {}", blobs.display()))?;
        Ok(Self { data, keys, blobs, config: database_config(descriptor) })
    }

    /// The host's own database.
    pub(crate) async fn host_database(&self, wake: Arc<dyn Wake>) -> Result<Database> {
        // Asked once a second and at changes.
        let config = DatabaseConfig { readers: 1, cache_kib: 1024, ..DatabaseConfig::default() };
        let path = folder::host_database(&self.data);
        Database::open(&path, config, wake).await.context("cannot open the host database")
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
        let path = folder::database(&self.data, tenant);
        Ok(Database::open(&path, config, wake).await?)
    }

    /// Whether a tenant has a database.
    pub(crate) fn has_database(&self, tenant: &str) -> bool {
        folder::database(&self.data, tenant).exists()
    }

    /// Tenants that have a database, by name.
    pub(crate) fn databases(&self) -> io::Result<Vec<String>> {
        folder::tenants(&self.data)
    }

    /// The file of a tenant's signing key.
    pub(crate) fn key(&self, tenant: &str) -> PathBuf {
        self.keys.join(tenant)
    }

    /// A tenant's blobs.
    pub(crate) fn blobs(&self, tenant: &str) -> Result<Blobs> {
        self.blobs.tenant(tenant).with_context(|| format!("cannot open the blobs of `{tenant}`"))
    }
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
