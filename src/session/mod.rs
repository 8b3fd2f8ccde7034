//! Run a cell of script: results, errors, progress, interrupts; shared by every front end.
