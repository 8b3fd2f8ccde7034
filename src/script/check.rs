//! What can be found wrong in a script without running it.
