//! Blobs in a bucket of a service that speaks S3.
//!
//! ```text
//! PREFIX/TENANT/ab/cdef…      the blob abcdef…
//! ```
//!
//! An object is whole or not there: services show nothing of a PUT, or of one in parts, before its end.

use std::{fs::File, io, io::Read, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use reqwest as _;
use tokio::runtime::Handle;

use crate::{error::BlobError, files::blocking, id::BlobId, reader::Range};

/// Bytes that are sent in one piece; what is larger goes in parts of so many. S3 takes 10,000 parts: 80 GiB.
const PART: u64 = 8 << 20;

/// How long a connection may take to stand, and a service may be silent.
const CONNECT: Duration = Duration::from_secs(5);
const SILENT: Duration = Duration::from_secs(60);

/// Objects removed at once when a tenant goes.
const REMOVING: usize = 16;

/// Where the bucket is, and who asks.
#[derive(Clone)]
pub struct S3Config {
    /// The bucket, which is there.
    pub bucket: String,
    /// `https://s3.example.org`; none: Amazon's of the region.
    pub endpoint: Option<String>,
    /// What requests are signed for.
    pub region: String,
    /// Stands before all keys; may be empty.
    pub prefix: String,
    /// Access key's id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// The bucket is part of the host's name.
    pub virtual_host: bool,
}

impl std::fmt::Debug for S3Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bucket, endpoint, region, prefix, .. } = self;
        let shown = (bucket, endpoint, region, prefix);
        f.debug_tuple("S3Config").field(&shown).finish()
    }
}

/// The objects of all tenants, or of one.
#[derive(Clone)]
pub(crate) struct Bucket {
    store: AmazonS3,
    prefix: String,
    runtime: Handle,
}

impl Bucket {
    /// Nothing is asked of the service yet. Within a runtime.
    pub(crate) fn open(config: S3Config) -> io::Result<Self> {
        // reqwest takes the process's provider and panics without; whoever set one first keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions::new()
            .with_allow_http(config.endpoint.as_deref().is_some_and(|url| url.starts_with("http:")))
            .with_connect_timeout(CONNECT)
            .with_read_timeout(SILENT)
            // A large blob takes as long as it takes.
            .with_timeout_disabled();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(config.bucket)
            .with_region(config.region)
            .with_access_key_id(config.access_key)
            .with_secret_access_key(config.secret_key)
            .with_virtual_hosted_style_request(config.virtual_host)
            .with_client_options(options);
        if let Some(endpoint) = config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let store = builder.build().map_err(io::Error::other)?;
        Ok(Self { store, prefix: config.prefix, runtime })
    }

    /// The part of a tenant, by the name of its folder.
    pub(crate) fn tenant(&self, folder: &str) -> Self {
        Self { prefix: format!("{}/{folder}", self.prefix), ..self.clone() }
    }

    fn path(&self, id: BlobId) -> Path {
        let (folder, file) = id.place();
        Path::from(format!("{}/{folder}/{file}", self.prefix))
    }

    /// A blob's length in bytes.
    pub(crate) async fn size(&self, id: BlobId) -> Result<u64, BlobError> {
        Ok(self.store.head(&self.path(id)).await?.size)
    }

    /// Whether there is such a blob.
    pub(crate) async fn has(&self, id: BlobId) -> Result<bool, BlobError> {
        match self.size(id).await {
            Ok(_) => Ok(true),
            Err(BlobError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A blob's length, the bytes of a range of it, and how many these are.
    pub(crate) async fn open_range(
        &self,
        id: BlobId,
        range: Range,
    ) -> Result<(u64, u64, BoxStream<'static, Result<Bytes, BlobError>>), BlobError> {
        let path = self.path(id);
        let mut options = GetOptions::default();
        if range != Range::default() {
            // A range beyond the end, or of nothing, is an error to S3.
            let size = self.store.head(&path).await?.size;
            let offset = range.offset.min(size);
            let rest = size.saturating_sub(offset);
            let left = range.length.map_or(rest, |length| length.min(rest));
            if left == 0 {
                return Ok((size, 0, futures::stream::empty().boxed()));
            }
            options.range = Some(GetRange::Bounded(offset..offset.saturating_add(left)));
        }
        let got = self.store.get_opts(&path, options).await?;
        let (size, left) = (got.meta.size, got.range.end.saturating_sub(got.range.start));
        Ok((size, left, got.into_stream().map_err(BlobError::from).boxed()))
    }

    /// Keeps a file of so many bytes, from its begin, as a blob.
    pub(crate) async fn upload(
        &self,
        id: BlobId,
        mut file: File,
        size: u64,
    ) -> Result<(), BlobError> {
        let path = self.path(id);
        if size <= PART {
            let (bytes, _) = part(file).await?;
            self.store.put(&path, PutPayload::from_bytes(bytes)).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&path).await?;
        let sending = async {
            let mut sent = 0_u64;
            while sent < size {
                let (bytes, rest) = part(file).await?;
                file = rest;
                if bytes.is_empty() {
                    return Err(BlobError::Io(io::ErrorKind::UnexpectedEof.into()));
                }
                sent = sent.saturating_add(bytes.len() as u64);
                upload.put_part(PutPayload::from_bytes(bytes)).await?;
            }
            upload.complete().await?;
            Ok(())
        };
        let sent = sending.await;
        if sent.is_err()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(%error, "parts of a blob not removed from the bucket");
        }
        sent
    }

    /// Removes a blob; it is good if there is none.
    pub(crate) async fn delete(&self, id: BlobId) -> Result<(), BlobError> {
        match self.store.delete(&self.path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes of all. Blocks.
    pub(crate) fn usage(&self) -> io::Result<u64> {
        self.wait(async {
            let path = Path::from(self.prefix.as_str());
            let mut objects = self.store.list(Some(&path));
            let mut total = 0_u64;
            while let Some(object) = objects.try_next().await? {
                total = total.saturating_add(object.size);
            }
            Ok(total)
        })
    }

    /// Whether there is anything. Blocks.
    pub(crate) fn is_there(&self) -> io::Result<bool> {
        let path = Path::from(self.prefix.as_str());
        self.wait(async { Ok(self.store.list(Some(&path)).try_next().await?.is_some()) })
    }

    /// Removes everything. Blocks.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        let path = Path::from(self.prefix.as_str());
        self.wait(async {
            let objects = self.store.list(Some(&path));
            objects
                .try_for_each_concurrent(REMOVING, |object| async move {
                    match self.store.delete(&object.location).await {
                        Err(object_store::Error::NotFound { .. }) => Ok(()),
                        removed => removed,
                    }
                })
                .await
        })
    }

    /// Ids and sizes of the blobs whose id begins with this byte. Blocks.
    pub(crate) fn part(&self, first: u8) -> io::Result<Vec<(BlobId, u64)>> {
        let folder = hex::encode([first]);
        let path = Path::from(format!("{}/{folder}", self.prefix));
        self.wait(async {
            let mut objects = self.store.list(Some(&path));
            let mut found = Vec::new();
            while let Some(object) = objects.try_next().await? {
                let name = object.location.filename().unwrap_or_default();
                if let Ok(id) = format!("{folder}{name}").parse() {
                    found.push((id, object.size));
                }
            }
            Ok(found)
        })
    }

    /// Waits on a thread that may block.
    pub(crate) fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, object_store::Error>>,
    ) -> io::Result<T> {
        self.runtime.block_on(work).map_err(io::Error::other)
    }

    /// What runs what it waits for.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl From<object_store::Error> for BlobError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            error => Self::Io(io::Error::other(error)),
        }
    }
}

/// The next bytes of a file.
async fn part(mut file: File) -> Result<(Bytes, File), BlobError> {
    blocking(move || {
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(PART).read_to_end(&mut bytes)?;
        Ok((Bytes::from(bytes), file))
    })
    .await
}
