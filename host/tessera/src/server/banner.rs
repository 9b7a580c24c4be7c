//! The one block that a start prints.

use std::{fmt::Write as _, io::Write as _, net::SocketAddr, path::Path};

use tessera_engine::Plugin;

use crate::commands::plugins::size;

/// What it tells.
pub(crate) struct Banner<'a> {
    pub(crate) name: &'a str,
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
        line("Address:", &urls.join(", "));
        line("Server name:", self.name);
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
        text.push_str(&self.welcome.replace("{url}", first).replace("{name}", self.name));
        let _ = writeln!(text, "{:<14}Ctrl-C, or kill {}\n", "Stop:", std::process::id());
        text
    }
}

/// Where a browser on this machine finds it.
fn url(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("http://127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{}", v6.port()),
        other => format!("http://{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Banner, url};

    #[test]
    fn an_address_of_everywhere_is_shown_as_one_that_can_be_opened() {
        assert_eq!(url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(url("[::2]:80".parse().unwrap()), "http://[::2]:80");
    }

    #[test]
    fn the_welcome_is_filled_in() {
        let banner = Banner {
            name: "example.org",
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
