//! Completion, inspection and completeness of cells, answered while cells run and without running code.

use rhai::Engine;
use serde_json::{Value, json};

use super::cell::{help_bundle, source_page};
use super::message::Cursor;
use super::shared::Shared;
use crate::script::help;
use crate::script::syntax;
use crate::session::complete::{self, Sort};

/// Returns the reply to a completion request. Its metadata has types and descriptions for clients that show them.
pub fn complete(wanted: &Cursor, shared: &Shared) -> Value {
    let cursor = wanted.bytes();
    let found = complete::complete(&wanted.code, cursor, shared.catalog(), &shared.around());
    let (start, end) = (wanted.characters(found.start), wanted.characters(cursor));
    let detail = |c: &complete::Candidate| json!({ "start": start, "end": end, "text": c.text, "type": kind(c.sort), "signature": c.about });
    json!({
        "status": "ok",
        "matches": found.candidates.iter().map(|c| c.text.as_str()).collect::<Vec<_>>(),
        "cursor_start": start,
        "cursor_end": end,
        "metadata": {
            "_jupyter_types_experimental": found.candidates.iter().map(detail).collect::<Vec<_>>(),
        },
    })
}

/// Returns what clients call a type of candidate, for its color or symbol.
fn kind(sort: Sort) -> &'static str {
    match sort {
        Sort::Variable => "instance",
        Sort::Function => "function",
        Sort::Property => "property",
        Sort::Namespace => "module",
        Sort::Option => "param",
        Sort::Value => "value",
        Sort::Keyword => "keyword",
        Sort::Path => "path",
        Sort::Command => "magic",
    }
}

/// Returns the reply to an inspection request.
pub fn inspect(wanted: &Cursor, shared: &Shared) -> Value {
    let around = shared.around();
    let topic = complete::topic(&wanted.code, wanted.bytes(), shared.catalog(), &around);
    drop(around);
    let bundle = topic.and_then(|topic| {
        let source = (wanted.detail_level > 0).then(|| help::source(&topic.name).ok()).flatten();
        match source {
            Some(code) => Some(source_page(&code)),
            None => help_bundle(&topic).ok(),
        }
    });
    match bundle {
        Some(bundle) => {
            json!({ "status": "ok", "found": true, "data": bundle.data, "metadata": bundle.metadata })
        }
        None => json!({ "status": "ok", "found": false, "data": {}, "metadata": {} }),
    }
}

/// Returns the reply to an is-complete request.
pub fn is_complete(code: &str, engine: &Engine) -> Value {
    let line = code.trim();
    if line.starts_with(':') || line.is_empty() || complete::question(line).is_some() {
        return json!({ "status": "complete" });
    }
    if !syntax::is_complete(engine, code) {
        return json!({ "status": "incomplete", "indent": indent(code) });
    }
    // A cell that does not compile is run all the same, since the error message explains what is wrong.
    match syntax::compiles(engine, code) {
        true => json!({ "status": "complete" }),
        false => json!({ "status": "invalid" }),
    }
}

/// Returns the indentation of the next line: that of the last line, and four more spaces if it opens a bracket.
fn indent(code: &str) -> String {
    let last = code.trim_end().lines().last().unwrap_or_default();
    let blanks = last.len() - last.trim_start().len();
    let opens = last.trim_end().ends_with(['{', '(', '[']);
    " ".repeat(blanks + if opens { 4 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(code: &str) -> Cursor {
        Cursor { code: code.to_string(), ..Cursor::default() }
    }

    #[test]
    fn candidates_have_types_and_places_in_characters() {
        let reply = complete(&cursor("let β = filter::gau"), &Shared::default());
        assert_eq!(reply["matches"][0], "filter::gaussian(".trim_start_matches("filter::"));
        assert_eq!((&reply["cursor_start"], &reply["cursor_end"]), (&json!(16), &json!(19)));
        let detail = &reply["metadata"]["_jupyter_types_experimental"][0];
        assert_eq!(detail["type"], "function");
        assert!(detail["signature"].as_str().unwrap().len() > 10, "{detail}");
    }

    #[test]
    fn inspection_finds_pages_and_sources() {
        let found = inspect(&cursor("filter::gaussian"), &Shared::default());
        assert_eq!(found["found"], true);
        let markdown = found["data"]["text/markdown"].as_str().unwrap();
        assert!(markdown.contains("| `sigma` |") && markdown.contains("```rust"), "{markdown}");
        let source = inspect(&Cursor { detail_level: 1, ..cursor("sweep::run") }, &Shared::default());
        assert!(source["data"]["text/plain"].as_str().unwrap().contains("fn run("));
        assert_eq!(inspect(&cursor("nothing_of_this_name"), &Shared::default())["found"], false);
    }

    #[test]
    fn cells_are_whole_open_or_wrong() {
        let engine = Engine::new();
        for (code, status) in [
            ("1 + 1", "complete"),
            ("fn f() {", "incomplete"),
            ("x)", "invalid"),
            (":vars", "complete"),
            ("filter::gaussian?", "complete"),
        ] {
            assert_eq!(is_complete(code, &engine)["status"], status, "{code}");
        }
        assert_eq!(is_complete("if a {\n    b(", &engine)["indent"], "        ");
    }
}
