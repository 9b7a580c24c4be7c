//! An event policy in a few lines: refuses messages that hold a word of a list.

use serde::Deserialize;
use tessera_sdk::hooks::Refusal;
use tessera_sdk::module::event_policy::{Guest, Objection, Origin};
use tessera_sdk::{config, log};

/// `[plugins.keyword-policy.config]` of the descriptor.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Words to refuse, whatever their case.
    words: Vec<String>,
}

/// The part of an event that is looked at.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    content: serde_json::Value,
}

/// The module.
#[derive(Debug)]
pub struct KeywordPolicy;

impl Guest for KeywordPolicy {
    fn check_event(event: String, _origin: Origin) -> Result<(), Objection> {
        let config: Config = config::get().map_err(|error| {
            log::error("keyword-policy cannot read its configuration", &[("reason", &error)]);
            refusal("the message policy is misconfigured")
        })?;
        match forbidden_word(&event, &config.words) {
            Some(word) => Err(refusal(&format!("messages here may not say \"{word}\""))),
            None => Ok(()),
        }
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_event_policy!(KeywordPolicy);

fn refusal(error: &str) -> Objection {
    Objection::Refuse(Refusal {
        status: 403,
        errcode: "M_FORBIDDEN".to_owned(),
        error: error.to_owned(),
    })
}

/// The first word of the list that a message's body holds.
fn forbidden_word<'a>(event: &str, words: &'a [String]) -> Option<&'a str> {
    let event: Event = serde_json::from_str(event).ok()?;
    if event.kind != "m.room.message" {
        return None;
    }
    let body = event.content.get("body")?.as_str()?.to_lowercase();
    words.iter().find(|word| body.contains(&word.to_lowercase())).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> String {
        serde_json::json!({ "type": "m.room.message", "content": { "body": body } }).to_string()
    }

    #[test]
    fn listed_word_is_found_whatever_its_case() {
        let words = ["Casino".to_owned()];
        assert_eq!(forbidden_word(&message("the CASINO is open"), &words), Some("Casino"));
        assert_eq!(forbidden_word(&message("good morning"), &words), None);
    }

    #[test]
    fn other_events_pass() {
        let topic = r#"{"type":"m.room.topic","content":{"body":"casino"}}"#;
        assert_eq!(forbidden_word(topic, &["casino".to_owned()]), None);
    }
}
