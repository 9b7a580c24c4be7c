//! Where blobs are kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[blobs]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Blobs {
    /// What keeps them.
    pub store: BlobsStore,
    /// S3: the bucket, which is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// S3: the service, such as `https://s3.example.org`; absent: Amazon's of the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// S3: the region that requests are signed for.
    pub region: String,
    /// S3: what stands before all keys, such as `tessera`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// S3: the access key's id. The environment variable `TESSERA_BLOBS_ACCESS_KEY` goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// S3: a file that holds the secret key. The environment variable `TESSERA_BLOBS_SECRET_KEY` goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<PathBuf>,
    /// S3: the bucket is part of the host's name, not of the path.
    pub virtual_host: bool,
}

impl Default for Blobs {
    fn default() -> Self {
        Self {
            store: BlobsStore::Folder,
            bucket: None,
            endpoint: None,
            region: "us-east-1".to_owned(),
            prefix: String::new(),
            access_key: None,
            secret_key_file: None,
            virtual_host: false,
        }
    }
}

/// What keeps blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BlobsStore {
    /// The folder `[server] blobs`.
    Folder,
    /// A bucket of a service that speaks S3. What is being written lies in the folder for a moment.
    S3,
}
