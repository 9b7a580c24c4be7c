//! `tessera:host/blobs`, on the tenant's [`tessera_blobs::Blobs`].

use tessera_blobs::{BlobError, BlobId};

use super::log;
use crate::{bindings::tessera::host::blobs as wit, state::State};

impl wit::Host for State {
    async fn put(&mut self, bytes: Vec<u8>) -> wasmtime::Result<Result<String, wit::Error>> {
        self.enter()?;
        if let Some(reason) = self.shadow_refuses("blob") {
            return Ok(Err(wit::Error::Unavailable(reason)));
        }
        if bytes.len() > self.caps.limits.blob {
            let reason = format!("a blob over {} bytes", self.caps.limits.blob);
            log::refused(self, "blob", &reason);
            return Ok(Err(wit::Error::TooLarge));
        }
        Ok(self
            .caps
            .shared
            .blobs
            .put(bytes.into())
            .await
            .map(|id| id.to_string())
            .map_err(Into::into))
    }

    async fn read(
        &mut self,
        id: String,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, wit::Error>> {
        self.enter()?;
        let Some(id) = parse(&id) else { return Ok(Err(wit::Error::NotFound)) };
        let length = length.min(u32::try_from(self.caps.limits.blob).unwrap_or(u32::MAX));
        let read = self.caps.shared.blobs.read(id, offset, length).await;
        Ok(read.map(|bytes| bytes.to_vec()).map_err(Into::into))
    }

    async fn stat(&mut self, id: String) -> wasmtime::Result<Result<wit::Info, wit::Error>> {
        self.enter()?;
        let Some(id) = parse(&id) else { return Ok(Err(wit::Error::NotFound)) };
        let size = self.caps.shared.blobs.size(id).await;
        Ok(size.map(|size| wit::Info { size }).map_err(Into::into))
    }

    async fn delete(&mut self, id: String) -> wasmtime::Result<Result<(), wit::Error>> {
        self.enter()?;
        if let Some(reason) = self.shadow_refuses("blob") {
            return Ok(Err(wit::Error::Unavailable(reason)));
        }
        let Some(id) = parse(&id) else { return Ok(Ok(())) };
        Ok(match self.caps.shared.blobs.delete(id).await {
            Ok(()) | Err(BlobError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        })
    }
}

/// What is no id is the id of nothing.
fn parse(id: &str) -> Option<BlobId> {
    id.parse().ok()
}

impl From<BlobError> for wit::Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::NotFound => Self::NotFound,
            BlobError::TooLarge { .. } | BlobError::Quota { .. } => Self::TooLarge,
            other => Self::Unavailable(other.to_string()),
        }
    }
}
