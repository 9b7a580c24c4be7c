//! Roles, the catalog and quotas of a tenant.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::Error;
use crate::catalog::Catalog;
use crate::fence::Fence;

use super::Engine;
use super::names;
use super::ops::{ask_on, text};
use super::pool::Leased;
use super::script::{Script, Step, quoted};

/// Rows of plug-ins' tables and bytes of all.
pub(super) fn usage_sql(schema: &str) -> String {
    format!(
        "SELECT coalesce(sum(greatest(s.n_live_tup, 0)) FILTER (WHERE c.relname NOT LIKE 'tessera\\_%'), 0), \
         coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class AS c \
         LEFT JOIN pg_stat_user_tables AS s ON s.relid = c.oid \
         WHERE c.relkind = 'r' AND c.relnamespace = '{schema}'::regnamespace"
    )
}

impl Engine {
    /// Whether a commit that adds may go on. Looks anew from time to time, and before it refuses.
    pub(super) async fn within_quota(self: &Arc<Self>) -> Result<(), Error> {
        if self.config.max_rows.is_none() && self.config.max_bytes.is_none() {
            return Ok(());
        }
        if self.quota.due() {
            self.quota.seen(self.usage().await?, &self.config, true);
        }
        self.quota.check()
    }

    fn roles(&self) -> std::sync::MutexGuard<'_, HashMap<String, HashSet<String>>> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants may have gone with a view that was made anew.
    pub(super) fn forget_roles(&self) {
        self.roles().clear();
    }

    pub(super) fn role(&self, plugin: &str) -> String {
        names::role(&self.database, &self.tenant, plugin)
    }

    /// Makes sure that a plug-in's role is there and may read the granted views that exist. Gives
    /// its name.
    pub(super) async fn ready_role(
        &self,
        leased: &mut Leased,
        fence: &Fence,
    ) -> Result<String, Error> {
        let role = self.role(&fence.plugin);
        let catalog = self.catalog.load();
        let views = || fence.reads.iter().filter(|view| catalog.views.contains_key(*view));
        let ready =
            self.roles().get(&role).is_some_and(|has| views().all(|view| has.contains(view)));
        if ready {
            return Ok(role);
        }
        let mut script = self.locked();
        self.make_role(&mut script, &role);
        for view in views() {
            let (schema, view) = (quoted(&self.schema), quoted(view));
            let grant = format!("SELECT tessera.grant_view({schema}, {view}, '{role}')");
            script.push(Step::Quiet, &grant);
        }
        script.push(Step::Commit, "COMMIT");
        leased.in_transaction = true;
        leased.run(&script, |_, _| Ok(())).await?;
        leased.in_transaction = false;
        self.roles().entry(role.clone()).or_default().extend(views().cloned());
        Ok(role)
    }

    /// Begins a transaction that nobody else changes this tenant's schema in.
    pub(super) fn locked(&self) -> Script {
        let mut script = Script::default();
        script.push(Step::Quiet, "BEGIN");
        let lock = format!("SELECT pg_advisory_xact_lock(-{}, 1)", self.number);
        script.push(Step::Quiet, &lock);
        script
    }

    pub(super) fn make_role(&self, script: &mut Script, role: &str) {
        let schema = quoted(&self.schema);
        let number = self.number;
        script
            .push(Step::Quiet, &format!("SELECT tessera.make_role({number}, {schema}, '{role}')"));
    }

    /// Reads what tables and views there are, and lets statements be compiled anew if that has changed.
    pub(super) async fn load_catalog(&self) -> Result<(), Error> {
        let mut leased = self.pool.lease().await?;
        self.load_catalog_on(&mut leased).await
    }

    /// As `load_catalog`, by who has a connection already: nobody waits for a second one.
    pub(super) async fn load_catalog_on(&self, leased: &mut Leased) -> Result<(), Error> {
        let space = format!("'{}'::regnamespace", self.schema);
        // First: what changes after it is seen as a change the next time.
        let shape = format!(
            "SELECT md5(string_agg(concat_ws(' ', c.oid, a.attname, a.atttypid), ',' \
             ORDER BY c.oid, a.attnum)) FROM pg_class AS c JOIN pg_attribute AS a \
             ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE c.relnamespace = {space} AND c.relkind IN ('r', 'v')"
        );
        let shape = text(&ask_on(leased, Step::Host, &shape).await?, 0, 0).to_owned();
        let relations = format!(
            "SELECT relname, relkind FROM pg_class WHERE relnamespace = {space} \
             AND relkind IN ('r', 'v')"
        );
        let lines = ask_on(leased, Step::Host, &relations).await?;
        let mut known = HashSet::new();
        let mut views: HashMap<String, HashSet<String>> = HashMap::new();
        for i in 0..lines.len() {
            let name = text(&lines, i, 0).to_owned();
            if text(&lines, i, 1) == "v" {
                views.insert(name.clone(), HashSet::new());
            }
            known.insert(name);
        }
        let reads = format!(
            "SELECT DISTINCT v.relname, t.relname FROM pg_depend AS d \
             JOIN pg_rewrite AS r ON r.oid = d.objid JOIN pg_class AS v ON v.oid = r.ev_class \
             JOIN pg_class AS t ON t.oid = d.refobjid WHERE d.classid = 'pg_rewrite'::regclass \
             AND d.refclassid = 'pg_class'::regclass AND v.relnamespace = {space} \
             AND t.oid <> v.oid"
        );
        let lines = ask_on(leased, Step::Host, &reads).await?;
        for i in 0..lines.len() {
            let parts = views.entry(text(&lines, i, 0).to_owned()).or_default();
            parts.insert(text(&lines, i, 1).to_owned());
        }
        let indexes = format!("SELECT plugin, name FROM {}.tessera_fulltext_indexes", self.schema);
        let lines = ask_on(leased, Step::Host, &indexes).await?;
        let pair = |i| (text(&lines, i, 0).to_owned(), text(&lines, i, 1).to_owned());
        let full_text = (0..lines.len()).map(pair).collect();
        let catalog = Catalog { known: Arc::new(known), views, full_text };
        let mut known_shape = self.shape.lock().unwrap_or_else(PoisonError::into_inner);
        // A plug-in that asks for a table that is not there must not have everybody's statements compiled anew.
        if *known_shape != shape || **self.catalog.load() != catalog {
            self.catalog.store(Arc::new(catalog));
            self.generation.fetch_add(1, Ordering::Release);
            *known_shape = shape;
        }
        drop(known_shape);
        self.forget_roles();
        Ok(())
    }
}
