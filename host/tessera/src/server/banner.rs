//! The one block that a start prints.

use std::{fmt::Write as _, io::Write as _, net::SocketAddr, path::Path};

use tessera_engine::Plugin;

use crate::commands::plugin::size;

/// What it tells.
pub(crate) struct Banner<'a> {
    /// This process, where it is one of several.
    pub(crate) node: Option<&'a str>,
    /// Of all tenants.
    pub(crate) names: &'a [String],
    pub(crate) listeners: &'a [SocketAddr],
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) data: &'a Path,
    pub(crate) plugins: &'a [Plugin],
    /// `[server] welcome`.
    pub(crate) welcome: &'a str,
}

impl Banner<'_> {
    /// Prints it. That nobody reads standard output is no reason to stop.
    pub(crate) fn print(&self) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(self.text().as_bytes()).and_then(|()| out.flush());
    }

    fn text(&self) -> String {
        let urls: Vec<String> = self.listeners.iter().map(|address| url(*address)).collect();
        let mut text = format!("\nTessera {} is ready\n\n", env!("CARGO_PKG_VERSION"));
        let mut line = |title: &str, value: &str| {
            let _ = writeln!(text, "{title:<14}{value}");
        };
        if let Some(node) = self.node {
            line("Node:", node);
        }
        if !urls.is_empty() {
            line("Address:", &urls.join(", "));
        }
        match self.names {
            [name] => line("Server name:", name),
            names => line("Server names:", &few(names)),
        }
        let mut title = "Plug-ins:";
        for plugin in self.plugins {
            let bytes = usize::try_from(plugin.size).unwrap_or(usize::MAX);
            line(title, &format!("{} {} ({})", plugin.name(), plugin.version(), size(bytes)));
            title = "";
        }
        line("Data folder:", &self.data.display().to_string());
        if let Some(address) = self.metrics {
            line("Metrics:", &format!("{}/metrics", url(address)));
        }
        let first = urls.first().map(String::as_str).unwrap_or_default();
        if let ([name], true) = (self.names, self.node.is_none()) {
            text.push_str(&self.welcome.replace("{url}", first).replace("{name}", name));
        }
        let _ = writeln!(text, "{:<14}Ctrl-C, or kill {}\n", "Stop:", std::process::id());
        text
    }
}

/// The first of many names, and how many there are.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// Where a browser on this machine finds it.
pub(super) fn url(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("http://127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{}", v6.port()),
        other => format!("http://{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Banner, few, url};

    #[test]
    fn of_many_names_the_first_are_shown() {
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        assert_eq!(few(&names), "a, b, c and 2 more");
        assert_eq!(few(names.get(..3).unwrap()), "a, b, c");
    }

    #[test]
    fn an_address_of_everywhere_is_shown_as_one_that_can_be_opened() {
        assert_eq!(url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(url("[::2]:80".parse().unwrap()), "http://[::2]:80");
    }

    #[test]
    fn the_welcome_is_filled_in() {
        let banner = Banner {
            node: None,
            names: &["example.org".to_owned()],
            listeners: &["127.0.0.1:8008".parse().unwrap()],
            metrics: None,
            data: std::path::Path::new("/data"),
            plugins: &[],
            welcome: "@a:{name} at {url}\n",
        };
        assert!(banner.text().contains("@a:example.org at http://127.0.0.1:8008\n"));
        assert!(banner.text().contains("Data folder:  /data\n"));
    }
}
