//! From an error that rhai raised to a report with place and call chain.

use rhai::{EvalAltResult, Position, Scope};

use super::engine::{Exit, Language};
use super::errors;
use super::report::{At, End, Failure, Frame, Report};
use super::source::{Place, SESSION};
use super::translate::{Surroundings, translate};
use crate::error::Kind;

/// The report of an error that a cell ended with.
pub fn diagnose(language: &Language, scope: &Scope, error: &EvalAltResult) -> Report {
    let mut chain = Chain { language, source: SESSION.to_string(), frames: Vec::new(), in_function: false };
    let inner = chain.descend(error);
    let place = chain.locate(inner.position());
    let mut around = Surroundings::with_sources(&language.engine, &language.sources);
    around.variables = scope.iter_raw().map(|(name, ..)| name.to_string()).collect();
    around.variables.extend(language.sources.variables(&chain.source));
    around.in_function = chain.in_function;

    let (error, first) = match inner {
        EvalAltResult::ErrorRuntime(value, _) if value.is::<Failure>() => {
            let failure = value.clone_cast::<Failure>();
            let first = language.sources.locate(&failure.at.source, failure.at.position);
            (failure.error, first)
        }
        EvalAltResult::ErrorRuntime(value, _) => {
            (errors::thrown(&language.types, value, At::default()).error, None)
        }
        other => (translate(other, &around).0, None),
    };
    let mut frames = chain.frames;
    frames.reverse();
    // An error that was caught and thrown again remembers where it came from.
    if let Some(first) = first.filter(|first| Some(first) != place.as_ref()) {
        frames.insert(0, Frame { text: "raised first".to_string(), place: Some(first) });
    }
    let end = match inner {
        EvalAltResult::ErrorTerminated(token, _) => match token.clone().try_cast::<Exit>() {
            Some(Exit(code)) => End::Exit(code),
            None => End::Interrupted,
        },
        _ if error.kind() == Kind::Usage => End::Usage,
        _ if error.kind() == Kind::Interrupted => End::Interrupted,
        _ => End::Failed,
    };
    // A wrong option stands somewhere behind the function's name.
    let place = place.map(|place| {
        option_named(error.message()).map_or(place.clone(), |option| {
            language.sources.option(&chain.source, &place, option).unwrap_or(place)
        })
    });
    // A wrong command line is the fault of no line of the script.
    let place = place.filter(|_| end != End::Usage);
    let frames = if end == End::Usage { Vec::new() } else { frames };
    Report { place, frames, end, ..Report::from(error) }
}

struct Chain<'a> {
    language: &'a Language,
    source: String,
    frames: Vec<Frame>,
    in_function: bool,
}

impl Chain<'_> {
    fn locate(&self, position: Position) -> Option<Place> {
        self.language.sources.locate(&self.source, position)
    }

    /// Follows the error inwards, keeping the calls it passed through and the source it is in.
    fn descend<'e>(&mut self, error: &'e EvalAltResult) -> &'e EvalAltResult {
        match error {
            EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                let place = self.locate(*position);
                let callee = match name.as_str() {
                    name if name.starts_with("anon$") => "a closure".to_string(),
                    name if name.contains(' ') => name.to_string(),
                    name => format!("`{name}`"),
                };
                self.in_function = !name.starts_with("anon$");
                self.frames.push(Frame { text: format!("in {callee}, called"), place });
                self.source = source.clone();
                self.descend(inner)
            }
            EvalAltResult::ErrorInModule(file, inner, position) => {
                let place = self.locate(*position);
                self.frames.push(Frame { text: format!("in the script {file}, imported"), place });
                self.source = file.clone();
                self.in_function = false;
                self.descend(inner)
            }
            other => other,
        }
    }
}

/// The option that a message is about.
fn option_named(message: &str) -> Option<&str> {
    let from = |start: &str| message.split_once(start).and_then(|(_, rest)| rest.split('`').next());
    from("unknown option `").or_else(|| from("option `")).or_else(|| {
        let (name, rest) =
            message.rsplit_once("` must be ").map(|(start, rest)| (start.rsplit('`').next(), rest))?;
        (!rest.is_empty()).then_some(name).flatten()
    })
}
