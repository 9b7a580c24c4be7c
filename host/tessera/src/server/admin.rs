//! What a running server answers on its admin socket.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tessera_engine::Tenant;

use super::nodes;
use crate::{
    admin::{Answering, ModuleQuestion, Question, TenantQuestion},
    cluster::{self, Member},
    commands::plugin::log::Logged,
    reload::Reloader,
    tenants::{Entry, Running, Tenants, archive::Progress, report::Done},
    topics,
};

/// Answers for all tenants.
pub(crate) struct Admin {
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) tenants: Arc<Tenants>,
    /// Names of the descriptor's nodes.
    pub(crate) nodes: Vec<String>,
}

impl Answering for Admin {
    fn answer(
        &self,
        question: Question,
        progress: Progress,
    ) -> Pin<Box<dyn Future<Output = Result<Value>> + Send + '_>> {
        Box::pin(async move {
            Ok(match question {
                Question::Status { tenant } => {
                    let running = self.awake(tenant.as_deref())?;
                    status(&running.tenant)?
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
                Question::Tenant(question) => self.tenant(question, &progress).await?,
                Question::Reload => serde_json::to_value(self.reloader.again().await?)?,
                Question::Module(question) => self.module(question).await?,
                Question::Forget { tenant, consumer } => {
                    let entry = self.entry(tenant.as_deref())?;
                    let running = self.tenants.wake(&entry).await?;
                    if running.tenant.status().iter().any(|plugin| plugin.name == consumer) {
                        bail!(
                            "`{consumer}` is here and consumes; only one that is gone is forgotten"
                        );
                    }
                    serde_json::to_value(topics::forget(&running.database, &consumer).await?)?
                }
                Question::Nodes => {
                    let expected = self.nodes.iter().map(String::as_str);
                    serde_json::to_value(nodes::list(self.member()?, expected))?
                }
                Question::Drain { node } => {
                    cluster::drain_node(&self.member()?.cluster, &node).await?;
                    Value::Null
                }
            })
        })
    }
}

/// How often it is looked whether a recording has all its rounds.
const LOOK: Duration = Duration::from_millis(50);

fn unknown(plugin: &str) -> String {
    format!("no plug-in `{plugin}` runs here; `tessera plugin status` shows those that do")
}

impl Admin {
    /// The tenant of this name, or the only one; it must be awake.
    fn awake(&self, name: Option<&str>) -> Result<Arc<Running>> {
        let entry = self.entry(name)?;
        entry.awake().with_context(|| format!("`{}` is asleep: no plug-in of it runs", entry.name))
    }

    fn member(&self) -> Result<&Member> {
        self.tenants.host.member.as_ref().context(
            "this server is one process by itself: `[bus] engine` is \"embedded\", so there are no nodes",
        )
    }

    async fn module(&self, question: ModuleQuestion) -> Result<Value> {
        Ok(match question {
            ModuleQuestion::Change(change) => {
                serde_json::to_value(self.reloader.change(&change).await?)?
            }
            ModuleQuestion::Release { tenant, name } => {
                if !self.awake(tenant.as_deref())?.tenant.release(&name) {
                    bail!(unknown(&name));
                }
                Value::Null
            }
            ModuleQuestion::Record { tenant, name, rounds, seconds } => {
                let running = self.awake(tenant.as_deref())?;
                let tenant = &running.tenant;
                if !tenant.status().iter().any(|plugin| plugin.name == name) {
                    bail!(unknown(&name));
                }
                tenant.record(&name, rounds as usize);
                let until = Instant::now() + Duration::from_secs(seconds);
                while !tenant.has_recorded(&name) && Instant::now() < until {
                    tokio::time::sleep(LOOK).await;
                }
                serde_json::to_value(tenant.recorded(&name))?
            }
            ModuleQuestion::Replay { tenant, name, round } => {
                let running = self.awake(tenant.as_deref())?;
                running.tenant.replay(&name, &round).await.map_err(anyhow::Error::msg)?
            }
            ModuleQuestion::Log { tenant, name } => {
                let entries = match &tenant {
                    Some(tenant) => vec![self.entry(Some(tenant))?],
                    None => self.tenants.entries(),
                };
                serde_json::to_value(logged(&entries, name.as_deref())?)?
            }
        })
    }

    async fn tenant(&self, question: TenantQuestion, progress: &Progress) -> Result<Value> {
        let tenants = &self.tenants;
        Ok(match question {
            TenantQuestion::List => serde_json::to_value(tenants.list())?,
            TenantQuestion::Show { name } => serde_json::to_value(tenants.show(&name).await?)?,
            TenantQuestion::Add { name, entry } => {
                let notes = tenants.add(&name, *entry).await?;
                serde_json::to_value(Done { name: name.to_string(), notes, ..Done::default() })?
            }
            TenantQuestion::Suspend { name } => self.suspend(name, true).await?,
            TenantQuestion::Resume { name } => self.suspend(name, false).await?,
            TenantQuestion::Remove { name, export } => {
                let file = export.then(|| tenants.host.stores.export_file(&name)).transpose()?;
                let file = tenants.remove(&name, file, progress).await?;
                serde_json::to_value(Done { name, file, ..Done::default() })?
            }
            TenantQuestion::Export { name, file } => {
                let end = tenants.export(&name, file.clone(), progress).await?;
                let (file, end) = (Some(file), Some(end));
                serde_json::to_value(Done { name, file, end, ..Done::default() })?
            }
            TenantQuestion::Import { file, over } => {
                let (name, notes) = tenants.import(file, *over, progress).await?;
                serde_json::to_value(Done { name: name.to_string(), notes, ..Done::default() })?
            }
        })
    }

    async fn suspend(&self, name: String, suspended: bool) -> Result<Value> {
        let unchanged = !self.tenants.set_suspended(&name, suspended).await?;
        Ok(serde_json::to_value(Done { name, unchanged, ..Done::default() })?)
    }

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

/// How a tenant's plug-ins are, with what went wrong in them.
fn status(tenant: &Tenant) -> Result<Value> {
    let mut all = Vec::new();
    for plugin in tenant.status() {
        let mut value = serde_json::to_value(&plugin)?;
        if let Value::Object(fields) = &mut value {
            let faults = serde_json::to_value(tenant.faults(&plugin.name))?;
            fields.insert("faults".to_owned(), faults);
        }
        all.push(value);
    }
    Ok(Value::Array(all))
}

/// What was refused and went wrong, oldest first.
fn logged(entries: &[Arc<Entry>], name: Option<&str>) -> Result<Vec<Logged>> {
    let mut all = Vec::new();
    for entry in entries {
        let Some(running) = entry.awake() else { continue };
        let names: Vec<String> = match name {
            Some(name) => vec![name.to_owned()],
            None => running.tenant.status().into_iter().map(|plugin| plugin.name).collect(),
        };
        for plugin in names {
            for written in running.tenant.journal(&plugin) {
                let line = Logged {
                    tenant: entry.name.to_string(),
                    plugin: plugin.clone(),
                    entry: serde_json::to_value(&written)?,
                };
                all.push((written.at_ms, line));
            }
        }
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, line)| line).collect())
}
