//! `[plugins.accounts.config]`.

use serde::Deserialize;
use serde_json::{Map, Value};
use tessera_sdk::matrix::Error;

/// Who may register.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registration {
    /// Anybody who passes the stages.
    #[default]
    Open,
    /// Nobody.
    Closed,
    /// Who knows the shared secret, through the admin endpoint.
    SharedSecret,
}

/// Whether somebody who registers proves an e-mail address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Email {
    /// They cannot.
    #[default]
    Off,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// When the link in a mail confirms an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailLinks {
    /// After a press of the button on the page, so that programs that follow links do not confirm.
    #[default]
    Confirm,
    /// At once; not for new passwords, which always need the button.
    AtOnce,
}

/// Who may read profiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileLookups {
    /// Whoever asks.
    #[default]
    Anybody,
    /// Users of this server.
    Users,
}

/// Whom to ask about captchas.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recaptcha {
    /// Shown to clients.
    pub public_key: String,
    /// Shown to the verifier.
    pub private_key: String,
    /// Whether who registers must solve one.
    #[serde(default = "yes")]
    pub required: bool,
    /// Takes `secret`, `response`, `remoteip` as a form and answers `{"success": true}`.
    #[serde(default = "google")]
    pub verify_url: String,
}

/// TURN servers for calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Turn {
    /// Such as `turn:turn.example.org?transport=udp`.
    pub uris: Vec<String>,
    /// Shared with the TURN server: names and passwords are made from it.
    #[serde(default)]
    pub secret: Option<String>,
    /// Fixed name, where there is no shared secret.
    #[serde(default)]
    pub username: Option<String>,
    /// Fixed password, where there is no shared secret.
    #[serde(default)]
    pub password: Option<String>,
    /// How long credentials are good.
    #[serde(default = "a_day")]
    pub lifetime_ms: u64,
}

/// Notices from the server to its users.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerNotices {
    /// Of the user who sends them: nobody's else, nobody can register it.
    pub localpart: String,
    /// That user's display name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// That user's avatar, an mxc URI.
    #[serde(default)]
    pub avatar_url: Option<String>,
    /// Name of the rooms in which they are sent.
    #[serde(default = "notices")]
    pub room_name: String,
    /// Avatar of those rooms, an mxc URI.
    #[serde(default)]
    pub room_avatar_url: Option<String>,
    /// Topic of those rooms.
    #[serde(default)]
    pub room_topic: Option<String>,
    /// Whether users are in their room at once, in place of being invited.
    #[serde(default)]
    pub auto_join: bool,
}

fn notices() -> String {
    "Server Notices".to_owned()
}

/// The section; defaults stand in `plugin.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Who may register.
    #[serde(default)]
    pub registration: Registration,
    /// Who registers needs a token that an administrator made.
    #[serde(default)]
    pub registration_token: bool,
    /// Who registers proves an address.
    #[serde(default)]
    pub email: Email,
    /// Who registers solves a captcha.
    #[serde(default)]
    pub recaptcha: Option<Recaptcha>,
    /// Who registers accepts these: by name, `version` and by language `name` and `url`.
    #[serde(default)]
    pub terms: Map<String, Value>,
    /// Whether guests may come.
    #[serde(default)]
    pub guests: bool,
    /// Secret of the admin registration endpoint; without it there is none.
    #[serde(default)]
    pub shared_secret: Option<String>,
    /// Base URL told by `/.well-known/matrix/client` and at login; what links in mail begin with.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Told by `/.well-known/matrix/client`.
    #[serde(default)]
    pub identity_server: Option<String>,
    /// Further members of `/.well-known/matrix/client`.
    #[serde(default)]
    pub well_known: Map<String, Value>,
    /// `/.well-known/matrix/support`.
    #[serde(default)]
    pub support: Map<String, Value>,
    /// `/.well-known/matrix/policy_server`.
    #[serde(default)]
    pub policy_server: Map<String, Value>,
    /// How long an access token that can be refreshed lives.
    #[serde(default = "an_hour")]
    pub access_token_lifetime_ms: u64,
    /// Told by `/capabilities`.
    #[serde(default = "version_12")]
    pub default_room_version: String,
    /// Whether users may change their password.
    #[serde(default = "yes")]
    pub password_changes: bool,
    /// Characters of a new password at least.
    #[serde(default = "one")]
    pub password_length: usize,
    /// Whether users may add and remove addresses.
    #[serde(default = "yes")]
    pub threepid_changes: bool,
    /// Whether `POST /login` takes `m.login.token`.
    #[serde(default = "yes")]
    pub token_login: bool,
    /// Whether a session may ask for a token that logs another device in.
    #[serde(default = "yes")]
    pub get_login_token: bool,
    /// Whether requests for mail answer alike for known and unknown addresses.
    #[serde(default = "yes")]
    pub hide_addresses: bool,
    /// When links in mail confirm.
    #[serde(default)]
    pub mail_links: MailLinks,
    /// Hosts that `next_link` may lead to beside that of `base-url`; `*`: any.
    #[serde(default)]
    pub next_link_hosts: Vec<String>,
    /// Identity servers that may be used; see [`tessera_sdk::matrix::identity_server_scheme`]. Absent: any that can be reached.
    #[serde(default = "any")]
    pub identity_servers: Vec<String>,
    /// Who may read profiles.
    #[serde(default)]
    pub profile_lookups: ProfileLookups,
    /// TURN servers.
    #[serde(default)]
    pub turn: Option<Turn>,
    /// Name of this service in mails; absent: the server name.
    #[serde(default)]
    pub mail_name: Option<String>,
    /// Texts of mails in place of ours: by kind `subject`, `text`, `html`.
    #[serde(default)]
    pub mail_texts: Map<String, Value>,
    /// Server notices; absent: there are none.
    #[serde(default)]
    pub server_notices: Option<ServerNotices>,
}

fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

fn an_hour() -> u64 {
    3_600_000
}

fn a_day() -> u64 {
    86_400_000
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn version_12() -> String {
    "12".to_owned()
}

fn google() -> String {
    "https://www.recaptcha.net/recaptcha/api/siteverify".to_owned()
}

impl Config {
    /// What cannot be, for the operator to read.
    ///
    /// # Errors
    /// The first such thing.
    pub fn check(&self) -> Result<(), String> {
        if self.registration == Registration::SharedSecret && self.shared_secret.is_none() {
            return Err("registration = \"shared-secret\" needs `shared-secret`".to_owned());
        }
        if let Some(url) = &self.base_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            return Err("base-url is an http or https URL".to_owned());
        }
        if let Some(notices) = &self.server_notices {
            let localpart = crate::ids::check_new_localpart(&notices.localpart);
            localpart.map_err(|error| format!("server-notices.localpart: {}", error.message()))?;
            for uri in notices.avatar_url.iter().chain(&notices.room_avatar_url) {
                if !uri.starts_with("mxc://") {
                    return Err("avatars of server-notices are mxc URIs".to_owned());
                }
            }
        }
        for (name, policy) in &self.terms {
            let languages = policy.as_object().into_iter().flatten();
            let known = languages.filter(|(_, text)| text.get("url").is_some_and(Value::is_string));
            if policy.get("version").is_none_or(|it| !it.is_string()) || known.count() == 0 {
                let needs = "needs `version` and a language with `name` and `url`";
                return Err(format!("terms.{name} {needs}"));
            }
        }
        Ok(())
    }

    /// What links of this server begin with, without a slash at the end.
    pub fn base(&self) -> String {
        let base = self.base_url.clone();
        let base =
            base.unwrap_or_else(|| format!("https://{}", tessera_sdk::crypto::tenant_name()));
        base.trim_end_matches('/').to_owned()
    }
}

/// Reads the section.
///
/// # Errors
/// `M_UNKNOWN`; cannot happen after the life cycle's start has checked it.
pub fn get() -> Result<Config, Error> {
    tessera_sdk::config::get().map_err(Error::internal)
}
