//! Log lines; the host adds tenant, plug-in and request. Never log secrets.

use crate::backend;
pub use crate::bindings::host::log::Level;

/// Writes a line with named fields.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    backend::with(|host| {
        if host.log_enabled(level) {
            let fields: Vec<_> =
                fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            host.log(level, message, &fields);
        }
    });
}

/// Something is broken and an operator should look.
pub fn error(message: &str, fields: &[(&str, &str)]) {
    write(Level::Error, message, fields);
}

/// Something is odd but served.
pub fn warn(message: &str, fields: &[(&str, &str)]) {
    write(Level::Warn, message, fields);
}

/// Something worth knowing happened.
pub fn info(message: &str, fields: &[(&str, &str)]) {
    write(Level::Info, message, fields);
}

/// For whoever looks for a fault.
pub fn debug(message: &str, fields: &[(&str, &str)]) {
    write(Level::Debug, message, fields);
}
