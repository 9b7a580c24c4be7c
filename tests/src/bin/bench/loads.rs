//! The loads by name.

mod client;
mod edge;
mod engine;
mod initial;
mod joins;
mod modules;
mod nodes;
mod send;
mod start;
mod state;
mod swap;
mod tenants;
mod wake;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use crate::{Options, figure::Figure, target::Target};

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    Start,
    Edge,
    Engine,
    Spread,
    Hot,
    Joins,
    State,
    Wake,
    OneRoom,
    Initial,
    Nodes,
    Tenants,
    Modules,
    Client,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |v| v.get_name()))
    }
}

impl Load {
    /// All that run when none is named, in an order in which the idle memory is measured before the process has grown.
    pub(crate) fn all() -> Vec<Self> {
        // `client` takes the better part of an hour: it runs when it is named.
        Self::value_variants().iter().copied().filter(|load| *load != Self::Client).collect()
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Start => "first answer and idle memory",
            Self::Edge => "a plug-in's smallest route against a native handler",
            Self::Engine => "calls, services, a decision and an empty route, without a homeserver",
            Self::Spread => "30 rooms of 10 members, 16 senders",
            Self::Hot => "one room of 50 members, 8 and 32 senders",
            Self::Joins => "one room, joined by many",
            Self::State => "joins, leaves and topics in a room of 50",
            Self::Wake => "idle syncs, 10 wake per message",
            Self::OneRoom => "idle syncs, all in one room",
            Self::Initial => "first syncs of 20 rooms",
            Self::Nodes => "one process against several, on PostgreSQL and NATS",
            Self::Tenants => "many server names in one process",
            Self::Modules => "modules in Rust, JavaScript and Python in the way of a message",
            Self::Client => "a full account, a very large room, search, keys, media",
        }
    }

    pub(crate) async fn run(self, target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
        match self {
            Self::Start => start::run(target).await,
            Self::Edge => edge::run(target, options).await,
            Self::Engine => engine::run(target).await,
            Self::Spread => send::spread(target, options).await,
            Self::Hot => send::hot(target, options).await,
            Self::Joins => joins::run(target, options).await,
            Self::State => state::run(target, options).await,
            Self::Wake => wake::tens(target, options).await,
            Self::OneRoom => wake::one_room(target, options).await,
            Self::Initial => initial::run(target, options).await,
            Self::Nodes => nodes::run(target, options).await,
            Self::Tenants => tenants::run(target, options).await,
            Self::Modules => modules::run(target, options).await,
            Self::Client => client::run(target, options).await,
        }
    }
}
