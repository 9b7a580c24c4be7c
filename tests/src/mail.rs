//! A sink for mail, and the lines of a descriptor that lead there.

pub use tessera_test_services::{Mail, MailSink};
