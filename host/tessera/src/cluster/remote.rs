//! Calls of plug-ins that run on other nodes.

use std::time::Instant;

use bytes::Bytes;
use tessera_bus::{CallFailure, CallHeaders, Cluster};
use tessera_engine::{
    Remote,
    api::{BoxFuture, CallError},
    trace,
};

/// The other nodes.
pub(super) struct Others {
    pub(super) cluster: Cluster,
}

impl Remote for Others {
    fn call(
        &self,
        service: String,
        payload: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        Box::pin(async move {
            // Of the span in which the caller waits.
            let headers = CallHeaders { traceparent: trace::inject() };
            let called = self.cluster.call_with(&service, payload, headers, deadline.into()).await;
            called.map_err(|failure| match failure {
                CallFailure::Unavailable(text) => CallError::Unavailable(text),
                CallFailure::Unknown(text) => CallError::Lost(text),
            })
        })
    }
}
