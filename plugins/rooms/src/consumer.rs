//! What `accounts` tells: `accounts.profiles` and `accounts.users`.

use serde::Deserialize;
use tessera_sdk::consumer::{self, Guest, Message};
use tessera_sdk::matrix::Error;

use crate::{Plugin, profiles, shut_down};

#[derive(Deserialize)]
struct User {
    user_id: String,
    change: String,
}

impl Guest for Plugin {
    fn handle(messages: Vec<Message>) -> Result<u32, String> {
        consumer::each(&messages, one)
    }
}

fn one(message: &Message) -> Result<(), Error> {
    match message.topic.as_str() {
        "accounts.users" => {
            let user: User = consumer::payload(message)?;
            match user.change.as_str() {
                "deactivated" => shut_down::leaves_all(&user.user_id),
                _ => Ok(()),
            }
        }
        _ => profiles::changed(consumer::payload(message)?),
    }
}
