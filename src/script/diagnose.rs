//! Conversion of a rhai error to a diagnosis with location and call chain.

use rhai::{EvalAltResult, Position, Scope};

use super::call_text::Part;
use super::engine::{Exit, Language};
use super::errors;
use super::failure::{At, Diagnosis, End, Failure, Frame};
use super::fix;
use super::habits;
use super::names::Names;
use super::source::{Place, SESSION};
use super::stops::Stop;
use super::translate::{self, Surroundings, translate, with_makers};
use crate::error::{Error, Kind, names};

/// rhai's function that runs a text.
const EVAL: &str = "eval";

/// Returns the diagnosis of the error that ended a cell.
pub fn diagnose(language: &Language, scope: &Scope, error: &EvalAltResult) -> Diagnosis {
    let mut chain =
        Chain { language, source: SESSION.to_string(), frames: Vec::new(), in_function: false, text: None };
    let inner = chain.descend(error);
    let place = chain.locate(inner.position());
    let mut around = Surroundings::with_sources(&language.engine, &language.sources);
    around.variables = scope.iter_raw().map(|(name, ..)| name.to_string()).collect();
    around.variables.extend(language.sources.variables(&chain.source));
    around.in_function = chain.in_function;
    if chain.in_function {
        around.variables.extend(language.sources.functions().into_iter().flat_map(|f| f.params));
    }

    let (error, kind, first) = match inner {
        EvalAltResult::ErrorRuntime(value, _) if value.is::<Failure>() => {
            let failure = value.clone_cast::<Failure>();
            // An error thrown where it was raised has no second location.
            let again = chain.text.is_none() && failure.at.position != inner.position();
            let first = again.then(|| language.sources.locate(&failure.at.source, failure.at.position));
            (with_makers(failure.error), failure.kind, first.flatten())
        }
        EvalAltResult::ErrorRuntime(value, _) => {
            (errors::thrown(&language.types, value, At::default()).error, "thrown", None)
        }
        other => {
            let shared = place.as_ref().and_then(|place| of_shared(language, scope, place, other));
            let (error, kind) = translate(shared.as_ref().unwrap_or(other), &around);
            let calls = chain.frames.last().and_then(|frame| frame.place.as_ref());
            let locked = calls.and_then(|place| of_locked(place, other));
            (locked.unwrap_or(error), kind, None)
        }
    };
    let mut frames = chain.frames;
    frames.reverse();
    // An error that was caught and thrown again remembers where it was first raised.
    if let Some(first) = first.filter(|first| Some(first) != place.as_ref()) {
        frames.insert(0, Frame { text: "raised first".to_string(), place: Some(first) });
    }
    let end = match inner {
        EvalAltResult::ErrorTerminated(token, _) => match token.clone().try_cast::<Exit>() {
            Some(Exit(code)) => End::Exit(code),
            None if Stop::of(token).is_some() => End::Failed,
            None => End::Interrupted,
        },
        _ if error.kind() == Kind::Usage => End::Usage,
        _ if error.kind() == Kind::Interrupted => End::Interrupted,
        _ => End::Failed,
    };
    let told = error.clone();
    let (error, place) = match place {
        // The lines of a text given to `eval` are not kept.
        Some(place) if chain.text.is_some() => (error, Some(place)),
        Some(place) => habit(language, scope, &chain.source, place, kind, error, &around),
        None => (error, None),
    };
    // A wrong argument or option is marked itself, instead of the function's name.
    let place = place.map(|place| {
        if chain.text.is_some() {
            return place;
        }
        let option = error.option();
        let find = |part: Part| language.sources.part(&chain.source, &place, part);
        let in_entry = |name: &str| error.entry_with_option().and_then(|i| find(Part::Option(name, Some(i))));
        // The array may have been made elsewhere.
        let part = match &option {
            Some(name) => in_entry(name).or_else(|| find(Part::Option(name, None))),
            None => error.argument_index().and_then(|index| find(Part::Argument(index))),
        };
        part.unwrap_or(place)
    });
    // A wrong command line is not the fault of any line of the script.
    let place = place.filter(|_| end != End::Usage);
    // The argument is marked now, so that it can be seen which entry of a map it is.
    let error = match &place {
        Some(place) => of_entry(language, &chain.source, place, error),
        None => error,
    };
    let frames = if end == End::Usage { Vec::new() } else { frames };
    let (mut fix, mut foreign) = (None, None);
    // Files on disk are not changed.
    if let (Some(place), true) = (&place, chain.source == SESSION)
        && let Some((cell, before)) = language.sources.cell(place)
    {
        fix = error.correction().and_then(|meant| fix::of_word(&cell, before, place, meant));
        foreign = fix::of_foreign(&cell, before, place, told.problem()).filter(|_| fix.is_none());
    }
    let mut diagnosis = Diagnosis {
        place: place.map(Box::new),
        frames: frames.into(),
        end,
        kind,
        fix: fix.map(Box::new),
        ..Diagnosis::from(error.clone())
    };
    if let Some((fix, hint)) = foreign {
        if error.problem() == told.problem() {
            diagnosis.hint = Some(hint);
        }
        // What is corrected is what the hint says.
        let named = diagnosis.hint.as_ref().is_some_and(|hint| names(hint, &fix.text));
        diagnosis.fix = named.then(|| Box::new(fix));
    }
    diagnosis
}

/// Returns the error with the entry that a map may lack, if it is about `()`.
fn of_entry(language: &Language, source: &str, place: &Place, error: Error) -> Error {
    let Some((text, _)) = language.sources.text_at(source, place) else { return error };
    match habits::entries::missing(&error, &place.text, place.column, &text) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Returns the error about a value that a function reads while the method that called it changes the value, with its
/// name; the place is that of the method, as rhai gives the error none.
fn of_locked(place: &Place, error: &EvalAltResult) -> Option<Error> {
    let EvalAltResult::ErrorDataRace(name, _) = error else { return None };
    let before: String = place.text.chars().take(place.column.saturating_sub(1)).collect();
    let before = before.trim_end().strip_suffix('.').filter(|_| name.is_empty())?;
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let value = before.rsplit(|c| !word(c)).next()?;
    let root = value.split('.').next().filter(|root| !root.is_empty())?;
    let method: String = place.text.chars().skip(place.column.saturating_sub(1)).take(place.length).collect();
    let message = format!("`{root}` cannot be read in the function that `{value}.{method}(..)` calls");
    Some(Error::argument(message).hint(format!(
        "`{method}` may change `{root}`: copy what the function reads before the call, as in `let before = {root};`"
    )))
}

/// Returns the error about the type of a variable that a closure has captured with the type of its value; rhai names
/// that of the cell which holds it.
fn of_shared(
    language: &Language,
    scope: &Scope,
    place: &Place,
    error: &EvalAltResult,
) -> Option<EvalAltResult> {
    let EvalAltResult::ErrorMismatchDataType(expected, found, at) = error else { return None };
    let name: String = place.text.chars().skip(place.column.saturating_sub(1)).take(place.length).collect();
    let value = scope.get(&name).filter(|_| translate::is_cell(found))?;
    let found = language.types.lift(value).ok()?.type_name().to_string();
    Some(EvalAltResult::ErrorMismatchDataType(expected.clone(), found, *at))
}

/// Returns the error and its location, explained for Python users if the line is a Python habit.
fn habit(
    language: &Language,
    scope: &Scope,
    source: &str,
    place: Place,
    kind: &str,
    error: Error,
    around: &Surroundings,
) -> (Error, Option<Place>) {
    let Some((text, line)) = language.sources.text_at(source, &place) else { return (error, Some(place)) };
    let names = Names::of(&language.engine, Some(&language.sources));
    let variables = |name: &str| match scope.get(name) {
        Some(value) => Some(language.types.lift(value).ok().map(|v| v.type_name().to_string())),
        None => around.variables.iter().any(|v| v == name).then_some(None),
    };
    let spot = habits::Spot { text: &text, line, column: place.column };
    let around = habits::Around { names: &names, variables: &variables };
    let (error, earlier) = habits::explained(error, kind == "syntax", &spot, &around);
    let place = match earlier {
        Some(earlier) => place.on_line(&text, line, earlier),
        None => place,
    };
    (error, Some(place))
}

struct Chain<'a> {
    language: &'a Language,
    source: String,
    frames: Vec<Frame>,
    in_function: bool,
    /// Where the text comes from that `eval` runs, while the error is in it: positions are those in that text.
    text: Option<Place>,
}

impl Chain<'_> {
    fn locate(&self, position: Position) -> Option<Place> {
        self.text.clone().or_else(|| self.language.sources.locate(&self.source, position))
    }

    /// Follows the error inwards, and collects the calls it passed through and the source it is in.
    fn descend<'e>(&mut self, error: &'e EvalAltResult) -> &'e EvalAltResult {
        match error {
            EvalAltResult::ErrorInFunctionCall(name, _, inner, position) if name == EVAL => {
                self.text = self.locate(*position);
                self.descend(inner)
            }
            EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                let place = self.locate(*position);
                let callee = match name.as_str() {
                    name if name.starts_with("anon$") => "a closure".to_string(),
                    name if name.contains(' ') => name.to_string(),
                    name => format!("`{name}`"),
                };
                self.in_function = !name.starts_with("anon$");
                self.frames.push(Frame { text: format!("in {callee}, called"), place });
                self.text = None;
                self.source = self.language.sources.home(name).unwrap_or_else(|| source.clone());
                self.descend(inner)
            }
            EvalAltResult::ErrorInModule(file, inner, position) => {
                let place = self.locate(*position);
                self.frames.push(Frame { text: format!("in the script {file}, imported"), place });
                self.text = None;
                self.source = file.clone();
                self.in_function = false;
                self.descend(inner)
            }
            other => other,
        }
    }
}
