//! A plug-in that runs elsewhere, as its callers here see it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prometheus::IntCounterVec;
use serde::de::DeserializeOwned;
use tessera_bus::Bus;
use wasmtime::component::Val;

use super::{
    Remote, edge_service, frame, values,
    wire::{self, Ask, Envelope, Failure, Raw, Reply, WireAnswer},
};
use crate::{
    api::{Answer, CallError, Parked},
    contract::Function,
    state::Context,
};

/// Nodes that are asked one after another while they say that what is wanted is not there: during an upgrade
/// some have it and some do not. Nothing was started by then.
const TRIES: u32 = 4;

/// See the module.
pub(crate) struct Away {
    pub(crate) tenant: Arc<str>,
    pub(crate) plugin: Arc<str>,
    pub(crate) wall: Duration,
    pub(crate) bus: Bus,
    pub(crate) remote: Option<Arc<dyn Remote>>,
    /// Calls that ended, by tenant, plug-in and result.
    pub(crate) calls: IntCounterVec,
}

/// A function of a service or hook that is answered elsewhere.
pub(crate) struct AwayFunction {
    pub(crate) away: Arc<Away>,
    pub(crate) service: String,
    /// With version.
    pub(crate) interface: String,
    pub(crate) function: String,
    pub(crate) ty: Function,
}

impl Away {
    /// A call of one of the host's own interfaces.
    pub(crate) async fn edge<T: DeserializeOwned>(
        &self,
        context: &Context,
        ask: Ask,
    ) -> Result<T, CallError> {
        self.ask(context, edge_service(&self.plugin), ask).await
    }

    /// As [`Away::edge`], for a request: the watch of a parked one is taken here.
    pub(crate) async fn request(&self, context: &Context, ask: Ask) -> Result<Answer, CallError> {
        // Before the call: a topic that fires while the answer travels fires the watch, too.
        let mark = self.bus.mark();
        match self.edge(context, ask).await? {
            WireAnswer::Done(response) => Ok(Answer::Done(response.into())),
            WireAnswer::Begun(response, more) => Ok(Answer::Begun(response.into(), more.0)),
            WireAnswer::Park { topics, timeout_ms, state } => {
                let watch = self
                    .bus
                    .watch_hashes_since(mark, &self.tenant, &topics)
                    .map_err(|error| CallError::Unavailable(error.to_string()))?;
                let timeout = Duration::from_millis(timeout_ms);
                Ok(Answer::Park(Parked { watch, timeout, state: state.0 }))
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        context: &Context,
        service: String,
        ask: Ask,
    ) -> Result<T, CallError> {
        let result = self.tried(context, service, ask).await;
        let label = match &result {
            Ok(_) => "ok",
            Err(error) => error.label(),
        };
        self.calls.with_label_values(&[&*self.tenant, &*self.plugin, label]).inc();
        result
    }

    async fn tried<T: DeserializeOwned>(
        &self,
        context: &Context,
        service: String,
        ask: Ask,
    ) -> Result<T, CallError> {
        let remote = self.remote.as_ref().ok_or_else(|| {
            CallError::Unavailable(format!("plug-in {} does not run on this node", self.plugin))
        })?;
        let mut payload = frame(&self.tenant);
        wire::write(&mut payload, &Envelope::new(context, &self.plugin, ask));
        let payload = Bytes::from(payload);
        let mut tries = TRIES;
        loop {
            tries = tries.saturating_sub(1);
            let call = remote.call(service.clone(), payload.clone(), context.deadline);
            let answer = tokio::time::timeout_at(context.deadline.into(), call)
                .await
                .map_err(|_elapsed| CallError::Timeout)??;
            // It ran, but what it gave is unknown.
            let reply: Reply<T> = ciborium::from_reader(&*answer)
                .map_err(|error| CallError::Lost(format!("the answer cannot be read: {error}")))?;
            match reply {
                Ok(value) => return Ok(value),
                Err(Failure::Elsewhere(_)) if tries > 0 => {}
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }
}

impl AwayFunction {
    /// Calls it; `context` is that of the call, a level deeper than its caller's.
    pub(crate) async fn call(
        &self,
        caller: &str,
        context: &Context,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<(), CallError> {
        let shapes = self.ty.params.iter().map(|(_, shape)| shape);
        let params = values::encode(shapes.zip(params))
            .map_err(|error| CallError::Unavailable(error.to_string()))?;
        let ask = Ask::Call {
            caller: caller.to_owned(),
            interface: self.interface.clone(),
            function: self.function.clone(),
            params: Raw(params),
        };
        let answer: Raw = self.away.ask(context, self.service.clone(), ask).await?;
        let mut values = values::decode(self.ty.result.iter(), &answer.0)
            .map_err(|error| CallError::Lost(format!("the answer: {error}")))?;
        if let (Some(result), Some(value)) = (results.first_mut(), values.pop()) {
            *result = value;
        }
        Ok(())
    }
}
