//! temp
use tessera_blobs::Blobs;
use tessera_engine::{Fetch, FetchError, FetchGrants, FetchRequest, FetchResponse, api::BoxFuture};
pub(crate) struct NoFetch;
impl Fetch for NoFetch {
    fn send<'a>(
        &'a self,
        _: FetchRequest,
        _: &'a FetchGrants,
        _: &'a Blobs,
    ) -> BoxFuture<'a, Result<FetchResponse, FetchError>> {
        Box::pin(async { Err(FetchError::Refused("no client".into())) })
    }
}
