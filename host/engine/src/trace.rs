//! Where traces of several nodes meet: hooks of whoever exports spans. Without hooks nothing happens.
//!
//! Spans for export have the target [`TARGET`]; nothing else listens to it.

use std::sync::OnceLock;

use tracing::Span;

/// Target of spans that are exported.
pub const TARGET: &str = "tessera::span";

struct Hooks {
    inject: fn() -> Option<String>,
    adopt: fn(&Span, &str),
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Installs the hooks of the process: `inject` gives the W3C `traceparent` of the current span, `adopt` makes
/// such a text the parent of a span that was not entered yet. Only the first call counts; gives whether it was.
pub fn set_hooks(inject: fn() -> Option<String>, adopt: fn(&Span, &str)) -> bool {
    HOOKS.set(Hooks { inject, adopt }).is_ok()
}

/// The current span as a `traceparent`, to be sent along with a call.
#[must_use]
pub fn inject() -> Option<String> {
    HOOKS.get().and_then(|hooks| (hooks.inject)())
}

/// Makes what came along with a call the parent of `span`.
pub fn adopt(span: &Span, traceparent: &str) {
    if let Some(hooks) = HOOKS.get() {
        (hooks.adopt)(span, traceparent);
    }
}
