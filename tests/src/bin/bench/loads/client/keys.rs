//! A storm of key claims: a message to a large room makes every sender claim a key of every device.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::{SETUP, of};
use crate::{
    Options,
    figure::Figure,
    measure::{self, Window},
    target::Target,
};

/// Devices, keys that each uploads, and devices that one claim asks for.
const DEVICES: usize = 100;
const KEYS: usize = 50;
const EACH: usize = 20;

pub(super) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let users = Arc::new(target.people.users(DEVICES).await?);
    let all = users.clone();
    let window = Window::open(target.pid)?;
    let mut latencies = measure::run(8, DEVICES, SETUP, move |_, turn| {
        let all = all.clone();
        async move {
            let user = all.get(turn).context("user")?;
            let keys: Map<String, Value> = (0..KEYS)
                .map(|key| {
                    let value = json!({"key": format!("{turn:021}{key:022}"), "signatures": {}});
                    (format!("signed_curve25519:K{key:04}"), value)
                })
                .collect();
            user.post("/keys/upload", &json!({"one_time_keys": keys})).await.map(drop)
        }
    })
    .await?;
    let mut figures = of("keys: upload of 50", window.close()?, &mut latencies);

    let claims = DEVICES * KEYS / EACH;
    let given = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let (all, seen) = (users.clone(), given.clone());
    let window = Window::open(target.pid)?;
    let patience = options.patience().saturating_mul(6);
    let mut latencies = measure::run(16, claims, patience, move |_, turn| {
        let (all, seen) = (all.clone(), seen.clone());
        async move {
            let wanted: Map<String, Value> = (0..EACH)
                .filter_map(|step| all.get((turn * EACH + step) % DEVICES))
                .map(|user| {
                    let device = json!({user.device_id.as_ref(): "signed_curve25519"});
                    (user.user_id.to_string(), device)
                })
                .collect();
            let asker = all.get(turn % DEVICES).context("user")?;
            let answer = asker.post("/keys/claim", &json!({"one_time_keys": wanted})).await?;
            let keys = answer.get("one_time_keys").and_then(Value::as_object).context("no keys")?;
            for (user, devices) in keys {
                let ids = devices.as_object().into_iter().flatten();
                for id in ids.filter_map(|(_, keys)| keys.as_object()).flatten().map(|(id, _)| id) {
                    let fresh =
                        seen.lock().is_ok_and(|mut seen| seen.insert(format!("{user} {id}")));
                    ensure!(fresh, "{id} of {user} was given out twice");
                }
            }
            Ok(())
        }
    })
    .await?;
    figures.extend(of("keys: claim of 20", window.close()?, &mut latencies));
    Ok(figures)
}
