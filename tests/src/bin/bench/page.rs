//! The table on the terminal and the page in the documentation.

use std::fmt::Write as _;

use crate::{
    figure::{Figure, Results, short},
    goals::{self, Bound},
};

/// Markdown rows: figure, value, target, whether it is met, the same figure of each peer.
pub(crate) fn table(results: &Results, peers: &[(String, Results)]) -> String {
    let mut text = String::from("| figure | measured | target | |");
    for (name, _) in peers {
        let _ = write!(text, " {name} |");
    }
    text.push_str(" known before |\n|---|---|---|---|");
    text.push_str(&"---|".repeat(peers.len() + 1));
    text.push('\n');
    for figure in &results.0 {
        row(&mut text, figure, peers);
    }
    text
}

fn row(text: &mut String, figure: &Figure, peers: &[(String, Results)]) {
    let goal = goals::of(&figure.name);
    let target = goal.map_or(String::new(), |g| match g.bound {
        Bound::Most(limit) => format!("≤ {} {}", short(limit), figure.unit),
        Bound::Least(limit) => format!("≥ {} {}", short(limit), figure.unit),
    });
    let met = goal.map_or("", |g| if g.bound.holds(figure.value) { "met" } else { "**missed**" });
    let _ = write!(
        text,
        "| {} | {} {} | {target} | {met} |",
        figure.name,
        short(figure.value),
        figure.unit
    );
    for (_, peer) in peers {
        let value = peer
            .get(&figure.name)
            .map_or(String::new(), |v| format!("{} {}", short(v), figure.unit));
        let _ = write!(text, " {value} |");
    }
    let _ = writeln!(text, " {} |", goal.map_or("", |g| g.peers));
}

/// The whole page.
pub(crate) fn render(results: &Results, peers: &[(String, Results)]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench`; run it again instead of editing. Taken on {cores} cores that the load generator \
         shares with the server, so rates are lower bounds and CPU per operation (user and system, from `/proc`) is the \
         figure to trust. SQLite, durable commits.\n\n{}\n\
         ## What each load does\n\n\
         - **start**: the process is started on an existing data folder; until `/_matrix/client/versions` answers 200.\n\
         - **edge**: 16 connections ask a plug-in's smallest route, then a native axum handler that gives the same bytes.\n\
         - **call**, **service**, **decision**: the engine on the guests of `tests/fixtures`, without HTTP or storage; CPU of \
         one thread, the middle of seven rounds. A call takes an instance out of the pool, enters the guest under all limits and \
         gives the instance back. A service call goes through the linker to another plug-in, with a note of six fields and so many events of \
         330 bytes; the events come back. A decision parses the state and content of a recorded message, builds and hashes the \
         event and asks the auth rules; wasm and native take turns.\n\
         - **noop**: 16 connections, then one, ask an empty route of a plug-in, one of the edge itself and one of axum, all in one \
         process, in turn. CPU is the serving process's.\n\
         - **spread**: 16 senders, 30 rooms of 10 members. **hot**: one room of 50 members.\n\
         - **joins**: many users join one room, 16 at a time. **state**: joins, leaves and topics in a room of 50.\n\
         - **wake**: all clients hold a long poll; a message wakes the 10 of its room. From the answer of the PUT to the end \
         of each poll's answer; the CPU of the send is counted in. Memory per idle sync includes its connection.\n\
         - **one room**: the same with all clients in one room; until the last has its answer.\n\
         - **initial**: first sync of a member of 20 rooms with 25 members and 20 messages each.\n\
         - **first sync**, **a message and its sync**: 20 clients of members of 300 rooms with 300 members and 20 messages each, at once; then one client, \
         message after message. **room of**: the last 500 joins of so many, then sends, topics and syncs on top of 100,000 messages. **search**: in messages of ten rooms; \
         one in 10,000 has the rare word. **keys**: all ask for the keys of the same devices. **media**: four at once. (`bench client`)\n\
         - **nodes**: the load of *spread*, each message at the next node, with PostgreSQL (commits synced) and NATS on the same \
         cores; their CPU stands apart, and the consumers' work after the last event is counted in. *With everything*: each node runs \
         each plug-in. *With parts*: each plug-in in two of the nodes, so that most requests are answered by another node than the one that \
         took them. A call: `/_matrix/client/versions`, one after the other, where its plug-in runs and where it does not.\n\
         - **tenants**: server names in one process, on SQLite. Never used: listed in the descriptor. Awake: a user, a room and a message in each. \
         Fell asleep: what the process grew by while three quarters of them were woken one after the other and slept again, after the first quarter had. Full load: 32 connections of one tenant send all they can, another \
         sends one message after the other.\n\
         - **module**: one checker (parses the event, looks for three words) in three languages, asked through the linker by another plug-in; CPU of \
         one thread, beyond what it costs to ask nobody. A fresh instance: each call makes one and throws it away. Memory: what the process grows by for \
         each tenant whose instance stays warm. **hook**: the same question to nobody, to one module in Rust, to five. **send, checker**: one user sends one message \
         after the other to four servers in turn, without a module and with each; the middle of nine rounds.\n",
        table(results, peers)
    )
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::figure::{Results, figure};

    #[test]
    fn figure_stands_beside_target_and_peer() {
        let ours = Results(vec![
            figure("joins: CPU each", 6.0, "ms"),
            figure("start: memory idle", 70.0, "MiB"),
        ]);
        let peer = Results(vec![figure("joins: CPU each", 58.0, "ms")]);
        let text = table(&ours, &[("Synapse".into(), peer)]);
        assert!(
            text.contains("| joins: CPU each | 6.00 ms | ≤ 5.00 ms | **missed** | 58.0 ms |"),
            "{text}"
        );
        assert!(text.contains("| start: memory idle | 70.0 MiB | ≤ 80.0 MiB | met |  |"), "{text}");
    }
}
