//! Namespaces `files` and `time`.

use std::sync::Arc;

use crate::declare::{Display, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::files::{self, Kind};
use crate::functions;
use crate::{scripted, text};

crate::api! {
    types: [Lock, Claim],
    functions: [text_files, folders, locks, time],
}

/// A lock that is held until its last clone is dropped.
#[derive(Clone)]
pub(crate) struct Lock {
    path: String,
    _held: Arc<files::Lock>,
}

scripted!(Lock, "lock", |l| Display::text(format!("lock({:?})", l.path)));

/// A claim that is held until its last clone is dropped.
#[derive(Clone)]
pub(crate) struct Claim {
    path: String,
    _held: Arc<files::claim::Claim>,
}

scripted!(Claim, "claim", |c| Display::text(format!("claim({:?})", c.path)));

fn json(value: &Value) -> Result<String> {
    value
        .to_json_lines()
        .ok_or_else(|| value.not_stored("data that can be stored (numbers, text, arrays, maps)"))
}

fn seconds() -> Result<f64> {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map(|d| d.as_secs_f64())
        .map_err(|_| Error::internal("the system clock is set to a time before 1970"))
}

pub mod text_files {
    use super::*;
    functions! { script in "files";
        /// Returns whether a file or folder exists.
        ///
        /// ```rhai
        /// assert_eq(files::exists("no/such/file"), false);
        /// ```
        fn exists(path: String) -> bool { Ok(std::path::Path::new(&path).exists()) }

        /// Reads a UTF-8 text file.
        ///
        /// ```rhai
        /// files::write_text("note.txt", "hello");
        /// assert_eq(files::read_text("note.txt"), "hello");
        /// ```
        fn read_text(path: String) -> String { files::read_text(path) }

        /// Writes a text file atomically: it is replaced completely, or unchanged after an error.
        ///
        /// Missing folders are created.
        ///
        /// ```rhai
        /// files::write_text("runs/new/note.txt", "hello");
        /// assert(files::exists("runs/new/note.txt"));
        /// ```
        fn write_text(path: String, content: String) -> () { files::write(path, content) }

        /// Appends one line to a text file in one write.
        ///
        /// ```rhai
        /// files::append_line("log.txt", "one");
        /// files::append_line("log.txt", "two");
        /// assert_eq(files::read_text("log.txt"), "one\ntwo\n");
        /// ```
        fn append_line(path: String, line: String) -> () { files::append_line(path, &line) }

        /// Reads a JSON file: objects become maps, null becomes `()`.
        ///
        /// Strings stay strings, and integers of more than 64 bits become strings too, so that no digit is lost. `NaN`,
        /// `Infinity` and `-Infinity` outside quotes are read as Python's `json` writes them.
        ///
        /// ```rhai
        /// files::write_json("settings.json", #{ steps: 400, lr: 3e-4 });
        /// assert_eq(files::read_json("settings.json").steps, 400);
        /// files::write_text("python.json", "{\"best\": -Infinity, \"name\": \"inf\"}");
        /// assert_eq(files::read_json("python.json"), #{ best: -1.0 / 0.0, name: "inf" });
        /// ```
        fn read_json(path: String) -> Value {
            let text = files::read_text(&path)?;
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            Value::from_json_text(text).map_err(|e| match files::recognize(text.as_bytes()) {
                Some(kind) if kind != Kind::Json => {
                    Error::file(&path, format!("expected JSON, found {}", kind.describe())).hint(kind.advice())
                }
                // After a whole first document, more follow.
                _ if e.starts_with("trailing characters") => Error::file(&path, format!("not JSON: {e}"))
                    .hint("of a file of JSON lines, parse each by `text::parse_json(line)`"),
                _ => Error::file(&path, format!("not JSON: {e}"))
                    .hint("JSON has double quotes around names and text, and no comma after the last entry"),
            })
        }

        /// Writes data as indented JSON, atomically.
        ///
        /// Floats that JSON lacks are written as Python's `json` writes them: `NaN`, `Infinity` and `-Infinity`.
        ///
        /// ```rhai
        /// files::write_json("list.json", [1, 2.5, "three", ()]);
        /// assert_eq(files::read_json("list.json"), [1, 2.5, "three", ()]);
        /// ```
        fn write_json(path: String, data: Value) -> () {
            files::check_extension(path.as_ref(), &["json"])?;
            files::write(path, json(&data)? + "\n")
        }
    }
}

pub mod folders {
    use super::*;
    functions! { script in "files";
        /// Creates a folder and its parents; an existing folder is not an error.
        ///
        /// ```rhai
        /// files::make_dir("runs/deep/folder");
        /// assert_eq(files::list("runs/deep"), ["folder"]);
        /// ```
        fn make_dir(path: String) -> () { files::make_dir(path) }

        /// Returns the names in a folder, sorted.
        ///
        /// ```rhai
        /// files::write_text("listed/b.txt", "");
        /// files::write_text("listed/a.txt", "");
        /// assert_eq(files::list("listed"), ["a.txt", "b.txt"]);
        /// ```
        fn list(path: Option<String>) -> Vec<String> { files::list(path.unwrap_or(".".to_string())) }

        /// Joins the parts of a path.
        ///
        /// ```rhai
        /// assert_eq(files::join(["runs", "first", "results.csv"]), "runs/first/results.csv");
        /// ```
        fn join(parts: Vec<String>) -> String { Ok(files::join(&parts)) }

        /// Removes one file, one link or an empty folder.
        ///
        /// ```rhai
        /// files::write_text("old.txt", "");
        /// files::remove("old.txt");
        /// assert(!files::exists("old.txt"));
        /// ```
        fn remove(path: String) -> () { files::remove(path) }
    }
}

pub mod locks {
    use super::*;
    functions! { script in "files";
        /// Acquires an exclusive lock on a file, or fails at once if it is held.
        ///
        /// The lock is released when the value is dropped, and when the program ends for any reason. The file
        /// itself stays, with its content; one that is new or empty notes the process. `train::fit` holds a lock in
        /// its folder, `sweep::run` one for each point that it works on.
        ///
        /// ```rhai
        /// let held = files::lock("runs/mine/lock");
        /// let told = "";
        /// try { files::lock("runs/mine/lock"); } catch (e) { told = e.message; }
        /// assert(told.contains("is working in this folder"), told);
        /// ```
        fn lock(path: String) -> Lock { Ok(Lock { _held: Arc::new(files::lock(&path)?), path }) }

        /// Locks a file as `files::lock` does, but returns `()` if another holder has it.
        ///
        /// The lock ends with the value, or with the process.
        ///
        /// ```rhai
        /// let held = files::try_lock("runs/mine/claim");
        /// assert(held != ());
        /// assert_eq(files::try_lock("runs/mine/claim"), ());
        /// ```
        fn try_lock(path: String) -> Option<Lock> {
            Ok(files::try_lock(&path)?.map(|held| Lock { _held: Arc::new(held), path }))
        }

        /// Claims a path among all processes that share its folder, including those on other machines; returns `()`
        /// if another one has it.
        ///
        /// The claim ends with the value, or with the process: at once for processes of the same machine, and after a
        /// minute for others. It consists of a lock on a file and a file `.owner` next to it, with machine and
        /// process, which the owner touches every ten seconds.
        ///
        /// ```rhai
        /// let held = files::try_claim("runs/mine/work");
        /// assert(held != ());
        /// assert_eq(files::try_claim("runs/mine/work"), ());
        /// ```
        fn try_claim(path: String) -> Option<Claim> {
            Ok(files::claim::try_claim(&path)?.map(|held| Claim { _held: Arc::new(held), path }))
        }
    }
}

pub mod time {
    use super::*;
    functions! { script in "time";
        /// Returns the time in seconds since 1970.
        ///
        /// ```rhai
        /// let start = time::now();
        /// assert(time::now() - start < 60.0);
        /// ```
        fn now() -> f64 { seconds() }

        /// Returns the time in UTC as text, `2026-03-01T14:05:09Z`: now, or the given seconds since 1970, up to
        /// the year 9999.
        ///
        /// ```rhai
        /// assert_eq(time::iso(0), "1970-01-01T00:00:00Z");
        /// ```
        fn iso(seconds: Option<f64>) -> String {
            let at = match seconds { Some(s) => s, None => super::seconds()? };
            // The first and last second that four digits can name the year of.
            let known = -62_167_219_200.0..253_402_300_800.0;
            ensure!(known.contains(&at), "expected seconds since 1970 in the years 0 to 9999, found {at:?}");
            Ok(text::iso_time(at.floor() as i64))
        }
    }
}
