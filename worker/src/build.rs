//! The answer to the question of which build a program is. `gatewayd upgrade-binary` asks each program before it uses any.

use std::{
    env,
    io::{self, Write as _},
};

use ipc::{ASK_BUILD, BUILD};

/// Answers on standard output if the command line asks. The process is to end then. To be called before anything else.
pub fn answer_if_asked() -> bool {
    let is_asked = env::args_os().nth(1).is_some_and(|argument| argument == ASK_BUILD);
    if is_asked {
        // Whoever has asked and does not read is told nothing.
        let _ = writeln!(io::stdout(), "{BUILD}");
    }
    is_asked
}
