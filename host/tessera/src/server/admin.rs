//! What a running server answers on its admin socket.

use std::{pin::Pin, sync::Arc};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    admin::{Answering, Question},
    tenants::{Entry, Tenants},
    topics,
};

/// Answers for all tenants.
pub(crate) struct Admin {
    pub(crate) tenants: Arc<Tenants>,
}

impl Answering for Admin {
    fn answer(
        &self,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Result<Value>> + Send + '_>> {
        Box::pin(async move {
            Ok(match question {
                Question::Status { tenant } => {
                    let entry = self.entry(tenant.as_deref())?;
                    let Some(running) = entry.awake() else {
                        bail!("`{}` is asleep: no plug-in of it runs", entry.name);
                    };
                    serde_json::to_value(running.tenant.status())?
                }
                Question::Topics { tenant } => {
                    let entry = self.entry(tenant.as_deref())?;
                    let running = self.tenants.wake(&entry).await?;
                    serde_json::to_value(topics::report(&running.database).await?)?
                }
                Question::Letters { tenant, action, chosen } => {
                    let entry = self.entry(tenant.as_deref())?;
                    let running = self.tenants.wake(&entry).await?;
                    serde_json::to_value(topics::act(&running.database, action, &chosen).await?)?
                }
            })
        })
    }
}

impl Admin {
    /// The tenant of this name; the only one where none is named.
    fn entry(&self, name: Option<&str>) -> Result<Arc<Entry>> {
        if let Some(name) = name {
            return self.tenants.entry(name).with_context(|| {
                format!("there is no tenant `{name}`; `tessera tenant list` shows them")
            });
        }
        let mut entries = self.tenants.entries();
        match (entries.pop(), entries.is_empty()) {
            (Some(entry), true) => Ok(entry),
            _ => bail!(
                "there are several tenants; name one with --server-name NAME (`tessera tenant list` shows them)"
            ),
        }
    }
}
