//! One descriptor in several processes, with PostgreSQL and NATS.

mod clients;
mod kills;
mod rolling;
mod spread;
mod versions;
