//! What goes into the database and what comes out of it.

/// One SQL value, as a parameter or in a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A truth value; in results only for columns declared `boolean` and for truth-valued
    /// expressions that stand by themselves in a select list.
    Boolean(bool),
    /// `bigint`.
    Integer(i64),
    /// `double`; must be finite.
    Double(f64),
    /// `text`, compared bytewise; U+0000 is refused.
    Text(String),
    /// `blob`.
    Blob(Vec<u8>),
    /// Parameter only, for `IN ($n)`.
    IntegerList(Vec<i64>),
    /// Parameter only, for `IN ($n)`.
    TextList(Vec<String>),
    /// Parameter of a commit only: the commit's first position plus this number, which must be
    /// below [`Batch::positions`].
    Position(u32),
}

/// One SELECT.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// The statement, in the dialect of `docs/sql.md`.
    pub sql: String,
    /// `$1` is the first.
    pub params: Vec<Value>,
}

/// One INSERT, UPDATE or DELETE of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statement {
    /// The statement, in the dialect of `docs/sql.md`.
    pub sql: String,
    /// Run once per row of parameters; empty: once, without parameters.
    pub rows: Vec<Vec<Value>>,
    /// Rows that all runs together must affect, else the batch is a conflict.
    pub expect: Option<u64>,
}

/// A message put into a topic by a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The topic; one without a registered consumer keeps nothing.
    pub topic: String,
    /// Messages of one key are delivered in order.
    pub key: String,
    /// The body, opaque to the host.
    pub payload: String,
}

/// A change to a full-text index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FullTextEntry {
    /// An index that the plug-in declared.
    pub index: String,
    /// What a hit returns; a later entry of the same key replaces the earlier one.
    pub key: String,
    /// What a search may be restricted to.
    pub group: String,
    /// The text, or `None` to remove the entry.
    pub text: Option<String>,
}

/// What a search gives first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// What fits best.
    Best,
    /// What was made last; its rank is 0.
    Newest,
}

/// What a crash may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was acknowledged.
    #[default]
    Durable,
    /// The last moments: for data whose loss nobody notices.
    Relaxed,
}

/// What a commit does, all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Makes the commit repeatable: a second one with the same id changes nothing.
    pub id: Option<String>,
    /// Run in order.
    pub statements: Vec<Statement>,
    /// How many positions of the tenant's sequence to take.
    pub positions: u32,
    /// Messages to emit.
    pub messages: Vec<Message>,
    /// A message that this commit consumes, as the consumer named like the session's plug-in.
    pub done: Option<u64>,
    /// Topics to wake when the horizon has reached the commit's positions.
    pub wake: Vec<String>,
    /// Full-text changes.
    pub full_text: Vec<FullTextEntry>,
    /// What a crash may take.
    pub durability: Durability,
}

/// A result table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Column names.
    pub columns: Vec<String>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

/// Several results of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The horizon of that moment.
    pub horizon: u64,
    /// One per query, in order.
    pub results: Vec<Rows>,
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Committed {
    /// The first position taken; 0 if none was asked for.
    pub first_position: u64,
    /// Rows affected, one number per statement.
    pub affected: Vec<u64>,
    /// What RETURNING gave, one table per statement; empty for a duplicate.
    pub returned: Vec<Rows>,
    /// Nothing was changed: the commit's id or its `done` was there already.
    pub duplicate: bool,
}

/// One full-text hit.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Of the entry.
    pub key: String,
    /// Of the entry.
    pub group: String,
    /// Higher is better; comparable within one answer only.
    pub rank: f64,
}

/// A message due for a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Unique in the database, rising.
    pub id: u64,
    /// Its topic.
    pub topic: String,
    /// Its ordering key.
    pub key: String,
    /// Its body.
    pub payload: String,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When it was committed, milliseconds since the epoch.
    pub emitted_ms: u64,
    /// The first position of the commit that emitted it; 0 where that took none.
    pub position: u64,
}

/// What to look for in the outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxQuery {
    /// The topic.
    pub topic: String,
    /// A registered consumer of it.
    pub consumer: String,
    /// Messages being delivered right now: they are left out, and so are later ones of their keys.
    pub in_flight: Vec<u64>,
    /// Milliseconds since the epoch; messages whose next try is later are left out.
    pub now_ms: u64,
    /// At most this many.
    pub limit: u32,
    /// Only messages of this key; `None`: of all.
    pub key: Option<String>,
}

/// The first message of a key that a consumer could be given now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The topic.
    pub topic: String,
    /// Who is to get it.
    pub consumer: String,
    /// Its ordering key.
    pub key: String,
    /// The message.
    pub id: u64,
}

/// What a database holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Rows of all plug-ins' tables; on PostgreSQL as its statistics have them.
    pub rows: u64,
    /// Bytes on disk, indexes and host tables included.
    pub bytes: u64,
}

/// A registered consumer and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// What it consumes.
    pub topic: String,
    /// Its name.
    pub consumer: String,
    /// Messages not settled yet.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
}

/// A message given up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who gave up.
    pub consumer: String,
    /// The message.
    pub id: u64,
    /// Its topic.
    pub topic: String,
    /// Its ordering key.
    pub key: String,
    /// Its body.
    pub payload: String,
    /// Failed attempts.
    pub attempts: u32,
    /// The last failure.
    pub error: String,
    /// When it died, milliseconds since the epoch.
    pub died_ms: u64,
}

/// A persisted timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Whose.
    pub plugin: String,
    /// Unique per plug-in.
    pub name: String,
    /// Milliseconds since the epoch.
    pub due_ms: u64,
    /// Opaque.
    pub payload: String,
    /// Changes with every set, so that `timer_finish` does not remove a timer that was set anew.
    pub generation: u64,
}
