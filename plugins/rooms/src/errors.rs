//! Faults of the core as clients see them.

use tessera_sdk::matrix::Error;

use crate::core::build::BuildError;
use crate::core::content::ContentError;

impl From<ContentError> for Error {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::NotJson(text) => Self::not_json(text),
            ContentError::BadJson(text) => Self::bad_json(text),
        }
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::TooLarge(text) => Self::too_large(text),
            BuildError::Malformed(text) => Self::bad_json(text),
        }
    }
}
