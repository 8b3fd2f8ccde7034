//! The user's settings: `config.toml` and `init.rhai` in the folder of the system for them.

use std::path::PathBuf;

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files;

/// What `config.toml` may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `emacs` or `vi`.
    pub edit_mode: Mode,
    /// How many cells the history keeps.
    pub history: usize,
    /// How many lines of a result are shown before it is cut.
    pub lines: usize,
    /// The editor for long cells; `$VISUAL` and `$EDITOR` come after it.
    pub editor: Option<String>,
    /// How pictures are shown: `kitty`, `iterm`, `sixel`, `blocks` or `none`; found out when it is not set.
    pub images: Option<String>,
    /// Whether the start of an earlier cell that fits is shown behind the cursor.
    pub hints: bool,
}

/// The keys that edit a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Those of GNU Emacs and bash.
    Emacs,
    /// Those of vi.
    Vi,
}

impl Default for Config {
    fn default() -> Self {
        Self { edit_mode: Mode::Emacs, history: 10_000, lines: 60, editor: None, images: None, hints: true }
    }
}

impl Config {
    /// Reads the user's file; the defaults where there is none.
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

/// The folder of `config.toml` and `init.rhai`.
pub fn folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("spectral"))
}

/// The script that runs before the first cell, if there is one.
pub fn init() -> Option<PathBuf> {
    folder().map(|f| f.join("init.rhai")).filter(|p| p.is_file())
}

/// Where the history is kept, if anywhere; the folder is made.
pub fn history_file() -> Result<Option<PathBuf>> {
    let Ok(base) = etcetera::choose_base_strategy() else { return Ok(None) };
    let folder = base.data_dir().join("spectral");
    files::make_dir(&folder)?;
    Ok(Some(folder.join("history.txt")))
}
