//! User settings: `config.toml` and `init.rhai` in the system's configuration folder.

use std::path::PathBuf;

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files;

/// Settings in `config.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Key bindings: `emacs` or `vi`.
    pub edit_mode: Mode,
    /// Number of cells that the history keeps.
    pub history: usize,
    /// Number of lines after which a result is cut.
    pub lines: usize,
    /// Editor for long cells; takes precedence over `$VISUAL` and `$EDITOR`.
    pub editor: Option<String>,
    /// Picture protocol: `kitty`, `iterm`, `sixel`, `blocks` or `none`; detected by default.
    pub images: Option<String>,
    /// Whether a matching earlier cell is shown as a hint after the cursor.
    pub hints: bool,
}

/// Key bindings of the line editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Bindings of GNU Emacs and bash.
    Emacs,
    /// Bindings of vi.
    Vi,
}

impl Default for Config {
    fn default() -> Self {
        Self { edit_mode: Mode::Emacs, history: 10_000, lines: 60, editor: None, images: None, hints: true }
    }
}

impl Config {
    /// Reads the user's file; returns the defaults if there is none.
    pub fn read() -> Result<Self> {
        let Some(path) = folder().map(|f| f.join("config.toml")).filter(|p| p.is_file()) else {
            return Ok(Self::default());
        };
        let text = files::read_text(&path)?;
        toml::from_str(&text).map_err(|error| {
            let before =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count());
            Error::file(format!("{}:{}", path.display(), before + 1), error.message().replace('\n', ", "))
        })
    }
}

/// Returns the folder of `config.toml` and `init.rhai`.
pub fn folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("spectral"))
}

/// Returns the script that runs before the first cell, if it exists.
pub fn init() -> Option<PathBuf> {
    folder().map(|f| f.join("init.rhai")).filter(|p| p.is_file())
}

/// Returns the path of the history, or `None` if there is no place for it; creates the folder.
pub fn history_file() -> Result<Option<PathBuf>> {
    let Ok(base) = etcetera::choose_base_strategy() else { return Ok(None) };
    let folder = base.data_dir().join("spectral");
    files::make_dir(&folder)?;
    Ok(Some(folder.join("history.txt")))
}
