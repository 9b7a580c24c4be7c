//! One descriptor in several processes, with PostgreSQL and NATS.

mod clients;
mod kills;
mod mistakes;
mod rolling;
mod spread;
mod versions;
