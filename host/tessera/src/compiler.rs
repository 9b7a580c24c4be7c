//! Where components are compiled: in a child of this program that can harm nobody.

use std::{env, path::PathBuf};

use tessera_engine::{ChildCompiler, Compiler};
use tessera_manifest::Engine;

/// This program by another name, with the limits of the descriptor.
pub(crate) fn of(settings: &Engine) -> Compiler {
    // What runs, also where its file was replaced meanwhile: another version's machine code would be of no use.
    let running = PathBuf::from("/proc/self/exe");
    let program = if running.exists() { Ok(running) } else { env::current_exe() };
    match program {
        Ok(program) => Compiler::Child(ChildCompiler {
            program,
            arguments: vec!["__compile".into()],
            memory: settings.compile_memory.get(),
            time: settings.compile_time.get(),
        }),
        Err(error) => {
            tracing::warn!(%error, "components are compiled in this process: its program is not found");
            Compiler::InProcess
        }
    }
}
