//! Single runs on request, for a program that alternates between several of these.

use serde_json::json;

use super::{Setting, Times, Work, peak, reset_peak, work};
use crate::error::{Error, Result};
use crate::front::terminal;

/// Makes a run for each line of standard input that names a measurement, and prints its row.
pub(super) fn serve(setting: &Setting) -> Result<()> {
    let kinds = &setting.options.what;
    let mut works: Vec<(&str, Box<dyn Work>)> = Vec::new();
    for what in kinds {
        let work = work(setting, what)?;
        work.prepare(what)?;
        for _ in 0..setting.options.warmup {
            work.run(what)?;
        }
        works.push((what, work));
    }
    reset_peak(setting)?;
    terminal::out(&json!({ "ready": kinds }).to_string());
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| Error::internal(format!("the input broke off: {e}")))?;
        let what = line.trim();
        let Some((_, work)) = works.iter().find(|(kind, _)| *kind == what) else {
            return Err(Error::argument(format!("expected one of {}, found \"{what}\"", kinds.join(", "))));
        };
        let run = setting.one(&mut || work.run(what))?;
        setting.row(what, &Times::of(&[run])?, json!({ "peak_gib": peak(setting) }));
    }
    Ok(())
}
