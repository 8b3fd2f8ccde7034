//! Benchmark of the start-up time of the program.

use std::process::{Command, Stdio};

use serde_json::json;

use super::Setting;
use crate::error::{Error, Result};

/// Times `spectral repl` with empty input, from the start of the process to its end.
pub(super) fn bench(setting: &Setting) -> Result<()> {
    let own =
        std::env::current_exe().map_err(|e| Error::internal(format!("this program is not found: {e}")))?;
    let times = setting.time(|| {
        let ended = Command::new(&own)
            .arg("repl")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|e| Error::internal(format!("the prompt did not start: {e}")))?;
        crate::ensure!(ended.success(), "the prompt ended with {ended}");
        Ok(())
    })?;
    setting.row("start", &times, json!({}));
    Ok(())
}
