//! Spans of requests, sent to an OpenTelemetry collector (`[tracing]`).
//!
//! Every part of the host opens spans with the target [`TARGET`]. Only the layer made here listens to
//! them: without `[tracing] otlp` they are switched off where they stand.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use opentelemetry::{
    KeyValue,
    trace::{TraceContextExt, TracerProvider as _},
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
    },
};
use tessera_manifest::Tracing;
use tokio::runtime::Handle;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

pub(crate) use tessera_engine::trace::TARGET;

mod w3c;

/// Spans that wait for being sent; more are dropped. Some 1 KiB each.
const QUEUE: usize = 8192;

/// Spans of one message to the collector.
const BATCH: usize = 512;

/// Spans are sent this often, so that a trace can be looked at soon.
const DELAY: Duration = Duration::from_secs(1);

/// How long the collector may take for one message.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the last spans may take at the stop.
const LAST: Duration = Duration::from_secs(2);

/// What sends spans; to be told of the stop.
#[derive(Debug, Clone)]
pub(crate) struct Spans {
    provider: SdkTracerProvider,
}

impl Spans {
    /// Makes ready what sends spans; none where no collector is named. `node` is told to the collector.
    /// Whether the collector answers is seen later.
    pub(crate) fn start(
        settings: &Tracing,
        node: Option<&str>,
        runtime: &Handle,
    ) -> Result<Option<Self>> {
        let Some(collector) = &settings.otlp else { return Ok(None) };
        let exporter = Patient {
            inner: Arc::new(exporter(collector)?),
            runtime: runtime.clone(),
            collector: without_login(collector),
            login: login(collector).map(ToOwned::to_owned),
            failing: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let mut resource = Resource::builder()
            .with_service_name(settings.service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if let Some(node) = node {
            resource =
                resource.with_attribute(KeyValue::new("service.instance.id", node.to_owned()));
        }
        let root = Sampler::TraceIdRatioBased(settings.sample);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(root)))
            .with_resource(resource.build())
            .with_span_processor(
                BatchSpanProcessor::builder(exporter).with_batch_config(batches).build(),
            )
            .build();
        tessera_engine::trace::set_hooks(inject, adopt);
        Ok(Some(Self { provider }))
    }

    /// The layer that takes the spans.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        OpenTelemetryLayer::new(self.provider.tracer("tessera"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|data| data.target() == TARGET && data.is_span()))
    }

    /// Sends what waits; takes at most two seconds.
    pub(crate) async fn stop(self) {
        let stopped =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LAST)).await;
        match stopped {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the last spans were not sent"),
            Err(error) => tracing::error!(%error, "the last spans were not sent"),
        }
    }
}

/// `url` is the collector's; the path of traces is added where it is missing.
fn exporter(url: &str) -> Result<opentelemetry_otlp::SpanExporter> {
    // The HTTP client takes the process's provider; whoever set one first keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let path = "/v1/traces";
    let base = url.trim_end_matches('/');
    let whole = if base.ends_with(path) { base.to_owned() } else { format!("{base}{path}") };
    opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(whole)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| {
            let url = without_login(url);
            format!("`[tracing] otlp`: cannot send to `{url}`; write it as http://127.0.0.1:4318")
        })
}

/// User and password of an address, with the `@`.
fn login(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.get(..=authority.rfind('@')?)
}

/// The address as it may be told: without user and password, and without the query, where keys may be, too.
fn without_login(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    login(plain).map_or_else(|| plain.to_owned(), |login| plain.replacen(login, "", 1))
}

/// Sends from the server's runtime, because batches come from a plain thread; says once that the collector
/// fails, and once that it is back.
struct Patient {
    inner: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Handle,
    /// As it may be told.
    collector: String,
    /// Kept out of what the client says.
    login: Option<String>,
    failing: AtomicBool,
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("collector", &self.collector).finish_non_exhaustive()
    }
}

impl SpanExporter for Patient {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let inner = Arc::clone(&self.inner);
        let sent = self.runtime.spawn(async move { inner.export(batch).await }).await;
        let sent =
            sent.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        match &sent {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!(collector = self.collector, "spans are sent again");
            }
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                let mut error = error.to_string();
                if let Some(login) = &self.login {
                    error = error.replace(login, "");
                }
                tracing::warn!(
                    collector = self.collector,
                    error,
                    "spans cannot be sent; they are dropped until the collector answers"
                );
            }
            _ => {}
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}

/// The `traceparent` of the span that runs now.
fn inject() -> Option<String> {
    let context = tracing::Span::current().context();
    let span = context.span();
    w3c::write(span.span_context())
}

/// Makes a span the child of a `traceparent`; one that is not understood is passed over.
fn adopt(span: &tracing::Span, traceparent: &str) {
    let Some(parent) = w3c::read(traceparent) else { return };
    let context = opentelemetry::Context::new().with_remote_span_context(parent);
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(%error, "a traceparent came too late");
    }
}

#[cfg(test)]
mod tests {
    use super::without_login;

    #[test]
    fn what_is_told_of_an_address_holds_no_password() {
        for (url, told) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("https://me:p@ss@a.org/v1/traces?token=x", "https://a.org/v1/traces"),
            ("https://a.org/p@th", "https://a.org/p@th"),
            ("me:secret@a.org", "a.org"),
        ] {
            assert_eq!(without_login(url), told);
        }
    }
}
