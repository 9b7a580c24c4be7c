//! `tessera reload`

use anyhow::Result;

use super::plugin::ask_server;
use crate::{admin::Question, cli::Settings};

/// Makes a running server read its descriptor and its plug-ins again: all of it is taken up, or nothing.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let notes: Vec<String> = ask_server(settings, &Question::Reload)?;
    println!("the descriptor and the plug-ins hold as they are now");
    for note in notes {
        println!("note: {note}");
    }
    Ok(())
}
