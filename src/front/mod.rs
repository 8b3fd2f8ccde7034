//! Front ends: run, check, docs, repl.
