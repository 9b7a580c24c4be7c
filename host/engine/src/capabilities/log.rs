//! `tessera:host/log`: tracing, with tenant, plug-in and request id, and a cap on lines per second.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tracing::Level;

use crate::{
    bindings::tessera::host::log as wit,
    capabilities::Capabilities,
    journal::{Event, Note},
    state::State,
};

/// Longest line; more is cut off.
const LINE_MAX: usize = 8 * 1024;

/// Lines that one plug-in may still write this second.
pub(crate) struct Rate {
    per_second: u32,
    window: Mutex<Window>,
}

struct Window {
    start: Instant,
    lines: u32,
    dropped: u64,
}

/// What to do with a line.
enum Verdict {
    /// Write it; so many before it were dropped.
    Write(u64),
    Drop,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            window: Mutex::new(Window { start: Instant::now(), lines: 0, dropped: 0 }),
        }
    }

    fn take(&self) -> Verdict {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.start.elapsed().as_secs() >= 1 {
            window.start = Instant::now();
            window.lines = 0;
        }
        if window.lines >= self.per_second {
            window.dropped = window.dropped.saturating_add(1);
            return Verdict::Drop;
        }
        window.lines = window.lines.saturating_add(1);
        Verdict::Write(std::mem::take(&mut window.dropped))
    }
}

/// Says that the plug-in tried what it is not granted, as long as its log rate allows: who tries once may try on.
/// Counts it and writes it down in any case.
pub(crate) fn refused(state: &State, what: &str, reason: &str) {
    let caps = &state.caps;
    caps.hit(what);
    let request_id = &*state.call.context.request_id;
    let note = Note { limit: what, reason, request_id, ..Note::default() };
    caps.journal.note(Event::Denied, &caps.version, note);
    if let Verdict::Write(dropped) = caps.log.take() {
        let (tenant, plugin) = (&*caps.shared.tenant, &*caps.plugin);
        tell_dropped(caps, dropped);
        tracing::warn!(tenant, plugin, what, reason = cut(reason), request_id, "refused");
    }
}

fn tell_dropped(caps: &Capabilities, dropped: u64) {
    if dropped > 0 {
        let (tenant, plugin) = (&*caps.shared.tenant, &*caps.plugin);
        tracing::warn!(target: "plugin", tenant, plugin, dropped, "log lines over the rate were dropped");
    }
}

/// One line, from the guest's `write` or its standard output.
pub(crate) fn line(
    caps: &Capabilities,
    request_id: &str,
    level: wit::Level,
    message: &str,
    fields: &[(String, String)],
) {
    let dropped = match caps.log.take() {
        Verdict::Write(dropped) => dropped,
        Verdict::Drop => {
            caps.hit("log");
            return;
        }
    };
    let (tenant, plugin) = (&*caps.shared.tenant, &*caps.plugin);
    tell_dropped(caps, dropped);
    let message = cut(message);
    let fields = Fields(fields);
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(target: "plugin", $level, tenant, plugin, request_id, fields = %fields, "{message}")
        };
    }
    match level {
        wit::Level::Error => event!(Level::ERROR),
        wit::Level::Warn => event!(Level::WARN),
        wit::Level::Info => event!(Level::INFO),
        wit::Level::Debug => event!(Level::DEBUG),
        wit::Level::Trace => event!(Level::TRACE),
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LINE_MAX)).unwrap_or(text)
}

/// `key=value` pairs, cut like a line.
struct Fields<'a>(&'a [(String, String)]);

impl std::fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut left = LINE_MAX;
        for (index, (key, value)) in self.0.iter().enumerate() {
            let cost = key.len().saturating_add(value.len());
            if cost > left {
                return f.write_str(" …");
            }
            left = left.saturating_sub(cost);
            write!(f, "{}{key}={value:?}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl wit::Host for State {
    fn write(
        &mut self,
        level: wit::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.enter()?;
        line(&self.caps, &self.call.context.request_id, level, &message, &fields);
        Ok(())
    }

    fn enabled(&mut self, level: wit::Level) -> wasmtime::Result<bool> {
        self.enter()?;
        Ok(match level {
            wit::Level::Error => tracing::enabled!(target: "plugin", Level::ERROR),
            wit::Level::Warn => tracing::enabled!(target: "plugin", Level::WARN),
            wit::Level::Info => tracing::enabled!(target: "plugin", Level::INFO),
            wit::Level::Debug => tracing::enabled!(target: "plugin", Level::DEBUG),
            wit::Level::Trace => tracing::enabled!(target: "plugin", Level::TRACE),
        })
    }
}
