//! Reads for many at once, in parts that one answer of the database can hold.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage;

/// What is done with the rows of a part.
type Take<'a, T, R> = &'a mut dyn FnMut(&[T], R) -> Result<(), Error>;

/// Reads for all of these, at most `most` at once, and hands on what came. Where it is too much for one answer, halves are read
/// apart; so nobody's rows keep those of others back.
///
/// # Errors
/// Storage, among it that the rows of a single one are too many; what `take` says.
pub(crate) fn each<T, R>(
    all: &[T],
    most: usize,
    read: &mut dyn FnMut(&[T]) -> Result<R, storage::Error>,
    take: Take<'_, T, R>,
) -> Result<(), Error> {
    for part in all.chunks(most.max(1)) {
        match read(part) {
            Ok(rows) => take(part, rows)?,
            Err(storage::Error::TooLarge(_)) if part.len() > 1 => {
                each(part, part.len().div_ceil(2), read, take)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
