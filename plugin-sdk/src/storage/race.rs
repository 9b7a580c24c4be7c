//! Read, decide, commit; again where another was quicker.

use super::Error;
use crate::matrix;

/// Why a try did not happen.
#[derive(Debug)]
pub enum Failure {
    /// Another was quicker: read again and decide again.
    Conflict,
    /// Anything else: not to be tried again.
    Other(matrix::Error),
}

impl<E: Into<matrix::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl Failure {
    /// Why a commit did not happen.
    pub fn of(error: Error) -> Self {
        match error {
            Error::Conflict(_) => Self::Conflict,
            other => Self::Other(other.into()),
        }
    }
}

/// Runs `attempt` until it does not end in a conflict, at most `tries` times.
///
/// # Errors
/// What `attempt` says; busy where others were always quicker.
pub fn race<T>(
    tries: usize,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, matrix::Error> {
    for _ in 0..tries {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(Failure::Conflict) => {}
            Err(Failure::Other(error)) => return Err(error),
        }
    }
    Err(Error::Busy.into())
}
