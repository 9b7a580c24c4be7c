//! The tables. Writers go through them in this order: files, thumbnails, pictures, blobs, usage, previews.

pub(crate) mod blobs;
pub(crate) mod files;
pub(crate) mod thumbnails;
