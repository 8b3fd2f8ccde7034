//! Execution of cells on the engine's thread: code, help and commands, as in the REPL.

use std::collections::BTreeMap;
use std::time::Duration;

use jupyter_protocol::{ExecuteReply, ExecutionCount, JupyterMessage, MediaType, Payload, ReplyStatus};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::media::Bundle;
use super::message::{self, error_fields};
use super::publish::Publisher;
use super::queue::{Job, Queue};
use super::shared::{Past, Shared};
use crate::error::Error;
use crate::script::failure::{Diagnosis, End};
use crate::script::help;
use crate::session::commands::{self, Effect, View};
use crate::session::complete::{Question, Topic, of_name, question};
use crate::session::tokens::ends_with_semicolon;
use crate::session::{Outcome, Session};

/// Number of characters in a line of text in a notebook.
const WIDTH: usize = 100;

/// Time that an error waits for cells that were sent together with the one that failed.
const BEHIND: Duration = Duration::from_millis(30);

/// The engine's side of the Jupyter kernel.
pub struct Cells {
    /// Session that runs the code.
    pub session: Session,
    /// Receiver of outputs.
    pub publisher: Publisher,
    /// State shared with the sockets' thread.
    pub shared: Shared,
    /// Waiting cells.
    pub queue: Queue,
    /// Channel for replies.
    pub replies: UnboundedSender<JupyterMessage>,
    /// Asks for input while a cell runs.
    pub asker: super::input::Asker,
    /// Number of the last cell.
    pub number: usize,
    /// Example that help showed last.
    pub example: Option<String>,
}

/// What a cell leaves to be shown.
enum Shown {
    Nothing,
    Result(Outcome),
    Page(Bundle),
    /// Text of the next cell, which replaces the one that failed.
    Retype(String),
}

impl Cells {
    /// Runs cells until the Jupyter kernel ends.
    pub fn run(mut self) {
        self.shared.update(self.session.surroundings());
        while let Some(job) = self.queue.next() {
            self.answer(&job);
        }
    }

    fn answer(&mut self, job: &Job) {
        let Job { request, cell } = job;
        self.publisher.begin(request, cell.silent);
        let counted = cell.store_history && !cell.silent;
        self.number += usize::from(counted);
        self.publisher.input(&cell.code, self.number);
        self.asker.allow(cell.allow_stdin.then(|| request.clone()));
        self.shared.set_running(true);
        let result = self.evaluate(&cell.code, counted);
        self.asker.allow(None);
        self.say_hidden();
        let (reply, failed) = match result {
            Ok(shown) => (self.succeeded(shown, cell, counted), false),
            Err(diagnosis) => self.failed(&diagnosis, cell, counted),
        };
        self.shared.set_running(false);
        self.shared.update(self.session.surroundings());
        self.publisher.flush();
        let waiting = if failed && cell.stop_on_error { self.behind() } else { Vec::new() };
        self.reply(request.reply(reply));
        self.publisher.end();
        for job in waiting {
            self.abort(&job);
        }
    }

    fn reply(&self, message: JupyterMessage) {
        // Sending fails only when the Jupyter kernel ends.
        let _ = self.replies.send(message);
    }

    /// Returns the cells that were sent before their client could know that this one fails.
    fn behind(&self) -> Vec<Job> {
        std::thread::sleep(BEHIND);
        self.queue.drain()
    }

    fn abort(&self, job: &Job) {
        self.publisher.busy(&job.request);
        let reply = ExecuteReply {
            status: ReplyStatus::Aborted,
            execution_count: ExecutionCount::new(self.number),
            ..ExecuteReply::default()
        };
        self.reply(job.request.reply(reply));
        self.publisher.idle(&job.request);
    }

    fn say_hidden(&self) {
        let hidden = self.publisher.take_hidden();
        if hidden > 0 {
            let text =
                format!("output is cut: {hidden} more bytes were printed; write long output to a file");
            self.publisher.output(jupyter_protocol::StreamContent::stderr(&format!("{text}\n")), text.len());
        }
    }

    fn succeeded(&mut self, shown: Shown, cell: &message::Execute, counted: bool) -> ExecuteReply {
        let mut reply = self.well();
        let mut text = String::new();
        match shown {
            Shown::Nothing => {}
            Shown::Result(outcome) => {
                if let Some(display) = outcome.display_rich(WIDTH) {
                    text.clone_from(&display.text);
                    if !ends_with_semicolon(&cell.code) {
                        self.publisher.result(Bundle::from(&display), self.number);
                    }
                }
            }
            Shown::Page(bundle) => {
                self.publisher.display(bundle, None);
            }
            Shown::Retype(text) => reply.payload.push(Payload::SetNextInput { text, replace: true }),
        }
        if counted {
            self.shared.remember(Past { number: self.number, code: cell.code.clone(), result: text });
        }
        if let Some(wanted) = cell.user_expressions.as_ref().filter(|wanted| !wanted.is_empty()) {
            return self.with_expressions(reply, wanted);
        }
        reply
    }

    fn well(&self) -> ExecuteReply {
        ExecuteReply {
            execution_count: ExecutionCount::new(self.number),
            user_expressions: Some(Default::default()),
            ..ExecuteReply::default()
        }
    }

    fn with_expressions(
        &mut self,
        mut reply: ExecuteReply,
        wanted: &BTreeMap<String, String>,
    ) -> ExecuteReply {
        use jupyter_protocol::ExpressionResult;
        let mut found = std::collections::HashMap::new();
        for (name, code) in wanted {
            let result = match self.session.run_cell(code, name) {
                Ok(outcome) => {
                    let display = outcome.display_rich(WIDTH);
                    let bundle = display.as_ref().map_or_else(|| Bundle::text("()"), Bundle::from);
                    ExpressionResult::Ok { data: bundle.data, metadata: bundle.metadata }
                }
                Err(diagnosis) => {
                    let error = fields(&diagnosis);
                    ExpressionResult::Error {
                        ename: error.ename,
                        evalue: error.evalue,
                        traceback: error.traceback,
                    }
                }
            };
            found.insert(name.clone(), result);
        }
        reply.user_expressions = Some(found);
        reply
    }

    /// Returns the reply to a cell that failed, and whether it counts as a failure.
    fn failed(
        &mut self,
        diagnosis: &Diagnosis,
        cell: &message::Execute,
        counted: bool,
    ) -> (ExecuteReply, bool) {
        if counted {
            let past = Past { number: self.number, code: cell.code.clone(), result: String::new() };
            self.shared.remember(past);
        }
        if let End::Exit(code) = diagnosis.end {
            let text = format!(
                "exit({code}) ended this cell; the Jupyter kernel is still running: \
                 shut it down or restart it from the menu"
            );
            if code == 0 {
                self.publisher.remark(&text);
                return (self.well(), false);
            }
            let error = jupyter_protocol::ReplyError {
                ename: "exit".to_string(),
                evalue: code.to_string(),
                traceback: vec![text],
            };
            self.publisher.error(&error);
            let error = Some(Box::new(error));
            return (ExecuteReply { status: ReplyStatus::Error, error, ..self.well() }, true);
        }
        let error = fields(diagnosis);
        self.publisher.error(&error);
        let error = Some(Box::new(error));
        (ExecuteReply { status: ReplyStatus::Error, error, ..self.well() }, true)
    }

    fn evaluate(&mut self, code: &str, counted: bool) -> Result<Shown, Diagnosis> {
        let line = code.trim();
        if line.is_empty() {
            return Ok(Shown::Nothing);
        }
        if line.starts_with('?') && line.contains('\n') {
            let error = Error::argument("a question ends with its line, and more follows");
            return Err(error.hint("put what follows into a cell of its own").into());
        }
        match question(line) {
            Some(Question::Source(name)) => return Ok(Shown::Page(source_page(&help::source(name)?))),
            Some(Question::Page(name)) => return self.explain(name).map_err(Diagnosis::from),
            None => {}
        }
        match line.starts_with(':') {
            true => self.command(line, counted),
            false => self.code(code, counted).map(Shown::Result),
        }
    }

    fn code(&mut self, code: &str, counted: bool) -> Result<Outcome, Diagnosis> {
        match self.session.refresh_imports(false) {
            Ok(changed) if changed.is_empty() => {}
            Ok(changed) => self.publisher.remark(&format!("read again: {}", changed.join(", "))),
            // Earlier imports remain.
            Err(diagnosis) => self.publisher.remark(diagnosis.render(true).trim_end()),
        }
        match counted {
            true => self.session.run_numbered(code, self.number),
            false => self.session.run_cell(code, "cell"),
        }
    }

    fn explain(&mut self, name: &str) -> Result<Shown, Error> {
        if name.is_empty() {
            return Ok(Shown::Page(Bundle::text(help::overview(WIDTH).to_text(Some(WIDTH)))));
        }
        let topic = of_name(name, &self.session.surroundings());
        self.example = help::example(&topic.name);
        Ok(Shown::Page(help_bundle(&topic)?))
    }

    fn command(&mut self, line: &str, counted: bool) -> Result<Shown, Diagnosis> {
        let (command, rest) = commands::parse(line)?;
        let (number, view) = (self.number, View { width: WIDTH, color: false, prompt: false });
        if command.at_prompt() {
            let error =
                Error::argument(format!("`:{}` works at the prompt, not in a notebook", command.name));
            return Err(Diagnosis::from(error.hint(elsewhere(command.name))));
        }
        if matches!(command.name, "help" | "doc") && !rest.is_empty() {
            return self.explain(rest).map_err(Diagnosis::from);
        }
        let effect = commands::run(&mut self.session, command, rest, &format!("cell {number}"), view);
        let effect = effect.inspect_err(|diagnosis| self.session.note_diagnosis(diagnosis))?;
        Ok(match effect {
            Effect::Show(text) | Effect::Page(text) => Shown::Page(Bundle::text(text.trim_end())),
            Effect::Result(outcome) => {
                let text = if command.name == "time" { rest } else { line };
                match counted {
                    true => Shown::Result(self.session.note(text, number, Ok(outcome))?),
                    false => Shown::Result(outcome),
                }
            }
            Effect::Run(text) => Shown::Result(self.code(&text, counted)?),
            Effect::Retype(text) => Shown::Retype(text),
            Effect::Trace => {
                let text = self.session.last_diagnosis().map(|diagnosis| diagnosis.render_full(false));
                Shown::Page(Bundle::text(text.as_deref().unwrap_or("there was no error").trim_end()))
            }
            Effect::Example => match self.example.clone() {
                Some(code) => {
                    self.publisher.print(&code);
                    Shown::Result(self.code(&code, counted)?)
                }
                None => {
                    let error = Error::argument("no example was shown yet").hint("`?name` shows one");
                    return Err(Diagnosis::from(error));
                }
            },
            Effect::Edit(_) | Effect::Last(_) | Effect::Shell(_) | Effect::Quit => Shown::Nothing,
        })
    }
}

fn elsewhere(command: &str) -> &'static str {
    match command {
        "quit" => "shut the kernel down from the menu",
        "last" => "export a value with its own method, such as `table.write` or `figure.save`",
        "shell" => "open a terminal in Jupyter",
        _ => "edit the cell itself",
    }
}

/// Converts a diagnosis to the protocol's fields: kind, message, and the text with caret, calls and hint.
fn fields(diagnosis: &Diagnosis) -> jupyter_protocol::ReplyError {
    error_fields(diagnosis.kind, &diagnosis.message, diagnosis.render(true).trim_end())
}

/// Returns the help on a topic in the formats that notebooks show.
pub fn help_bundle(topic: &Topic) -> Result<Bundle, Error> {
    let Topic { name, lead } = topic;
    let first = lead.as_ref().map(|text| format!("{text}\n\n")).unwrap_or_default();
    if name.is_empty() {
        return Ok(Bundle::text(first.trim_end()));
    }
    let page = help::answer(name, WIDTH)?.to_text(Some(WIDTH));
    let mut bundle = Bundle::text(format!("{first}{}", page.trim_end()));
    if let Some(markdown) = help::markdown(name) {
        bundle.data.content.push(MediaType::Markdown(format!("{first}{markdown}")));
    }
    Ok(bundle)
}

/// Returns source code in the formats that notebooks show.
pub fn source_page(code: &str) -> Bundle {
    let mut bundle = Bundle::text(code);
    bundle.data.content.push(MediaType::Markdown(format!("```rust\n{code}\n```")));
    bundle
}

/// Returns the reply to a history request.
pub fn history(shared: &Shared, wanted: &message::History) -> Value {
    let past = shared.past();
    let mut found: Vec<&Past> = match wanted.hist_access_type.as_str() {
        "range" => {
            let next = past.last().map_or(0, |p| p.number as i64 + 1);
            let from_end = |i: i64| if i < 0 { next + i } else { i };
            let range = from_end(wanted.start)..wanted.stop.map_or(i64::MAX, from_end);
            past.iter().filter(|p| range.contains(&(p.number as i64))).collect()
        }
        "search" => {
            let pattern = wanted.pattern.as_deref().unwrap_or("*");
            past.iter().filter(|p| matches(pattern, &p.code)).collect()
        }
        _ => past.iter().collect(),
    };
    if wanted.unique {
        let mut seen = std::collections::HashSet::new();
        found.reverse();
        found.retain(|p| seen.insert(p.code.as_str()));
        found.reverse();
    }
    let kept = wanted.n.filter(|_| wanted.hist_access_type != "range").unwrap_or(usize::MAX);
    let skipped = found.len().saturating_sub(kept);
    let entry = |p: &&Past| match wanted.output {
        true => json!([0, p.number, [p.code, p.result]]),
        false => json!([0, p.number, p.code]),
    };
    json!({ "status": "ok", "history": found[skipped..].iter().map(entry).collect::<Vec<_>>() })
}

/// Returns whether a text matches a pattern in which `*` stands for any characters and `?` for one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Backtracking point: the last star, and how much of the text it has taken.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_a_shell() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("let*", "let x = 1", true),
            ("*x*1", "let x = 11", true),
            ("l?t*", "let", true),
            ("let", "let x", false),
            ("*y*", "let x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn history_can_be_cut_searched_and_made_unique() {
        let shared = Shared::default();
        for (i, code) in ["1", "2", "1", "30"].iter().enumerate() {
            shared.remember(Past { number: i + 1, code: code.to_string(), result: format!("={code}") });
        }
        let codes = |wanted: &message::History| -> Vec<String> {
            let found = history(&shared, wanted);
            found["history"].as_array().unwrap().iter().map(|e| e[2].to_string()).collect()
        };
        let wanted = |kind: &str| message::History {
            hist_access_type: kind.to_string(),
            ..message::History::default()
        };
        assert_eq!(codes(&message::History { n: Some(2), ..wanted("tail") }), ["\"1\"", "\"30\""]);
        assert_eq!(
            codes(&message::History { start: 2, stop: Some(4), ..wanted("range") }),
            ["\"2\"", "\"1\""]
        );
        let last = message::History { start: -1, stop: None, ..wanted("range") };
        assert_eq!(codes(&last), ["\"30\""]);
        let search = message::History { pattern: Some("1*".to_string()), unique: true, ..wanted("search") };
        assert_eq!(codes(&search), ["\"1\""]);
        assert_eq!(
            codes(&message::History { output: true, n: Some(1), ..wanted("tail") }),
            ["[\"30\",\"=30\"]"]
        );
    }
}
