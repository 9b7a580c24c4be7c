//! How much an answer may read at once. What is read is held two or three times over before it is sent (as rows, as events, as text), and
//! a plug-in's memory is capped: who passes that cap is ended in the middle.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Moment, RowError, Rows, Select, Value};

/// Bytes of texts that an answer, or a part of one, is made of.
pub(crate) const MOST: usize = 8 << 20;

/// Why reading came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is more than may be read at once: less of it may be asked for.
    TooLarge,
    /// Anything else.
    Other(Error),
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::TooLarge(_) => Self::TooLarge,
            other => Self::Other(other.into()),
        }
    }
}

impl From<RowError> for Failure {
    fn from(error: RowError) -> Self {
        Self::Other(error.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TooLarge => Self::internal("storage: more than can be read at once"),
            Failure::Other(error) => error,
        }
    }
}

/// Bytes that may still be read; none: as many as the database gives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Budget(Option<usize>);

impl Budget {
    /// What an answer may read that can be made in other ways.
    pub(crate) fn usual() -> Self {
        Self(Some(MOST))
    }

    /// Reads, and takes off what came.
    ///
    /// # Errors
    /// It was too much, for the database or for the budget; anything else that the database says.
    pub(crate) fn snapshot(&mut self, selects: &[Select]) -> Result<Moment, Failure> {
        let moment = storage::snapshot(selects)?;
        if let Some(left) = &mut self.0 {
            let read = moment.results.iter().map(weigh).sum();
            *left = left.checked_sub(read).ok_or(Failure::TooLarge)?;
        }
        Ok(moment)
    }
}

/// Bytes of the texts in an answer.
fn weigh(rows: &Rows) -> usize {
    let text = |value: &Value| if let Value::Text(text) = value { text.len() } else { 0 };
    rows.rows.iter().flatten().map(text).sum()
}
