//! Syntax errors of a script, in plain words.

use rhai::{LexError, ParseErrorType};

use super::translate::lower;
use crate::error::{Error, Kind, Problem};

/// Hint for a loop over something else.
pub(super) const LOOPS: &str =
    "for a map write `for k in m.keys()`, for a table `for row in t.rows()`, and for a count `for i in 0..n`";

/// Converts a parse error to a message and a hint.
pub fn explain(error: &ParseErrorType) -> Error {
    use ParseErrorType as P;
    let say = |text: String| Error::argument(text);
    match error {
        P::UnexpectedEOF => say("the script ends in the middle of a statement".to_string())
            .hint("a bracket, brace or string is still open, or a value is missing"),
        P::BadInput(lex) => character(lex),
        P::UnknownOperator(op) => {
            let error = say(format!("unknown operator `{op}`"));
            match op.as_str() {
                "++" => error.hint("write `x += 1`").meant("++", " += 1"),
                "--" => error.hint("write `x -= 1`").meant("--", " -= 1"),
                _ => error,
            }
        }
        P::MissingToken(token, why) => missing(token, why),
        P::MissingSymbol(text) => say(lower(text)),
        P::MalformedIndexExpr(text) => say(described("the index in `[..]` is wrong", text)),
        P::MalformedCapture(text) => say(described("the captured variables are wrong", text)),
        P::DuplicatedProperty(name) => say(format!("`{name}` is twice in the map")),
        P::DuplicatedVariable(name) => say(format!("`{name}` is declared twice")),
        P::PropertyExpected => say("expected a name after the dot, or a key in the map".to_string()),
        P::VariableExpected => say("expected a variable's name".to_string()),
        P::ForbiddenVariable(name) => say(format!("`{name}` cannot be a variable's name")),
        P::Reserved(word) => reserved(word),
        P::MismatchedType(expected, found) => {
            let error = say(format!("expected {expected}, found {found}"));
            match expected.as_str() {
                "an iterable value" => error.hint(LOOPS),
                "a boolean expression" => error.hint("write a comparison, such as `x > 0`"),
                _ => error,
            }
        }
        P::ExprExpected(what) => say(format!("expected {}", an(what))),
        P::WrongFnDefinition => say("a function is defined inside another block".to_string())
            .hint("move `fn` to the outermost level, or write a closure: let f = |x| ..;"),
        P::WrongDocComment => say("a `///` comment must stand right before a function".to_string())
            .hint("write `//` for a plain comment"),
        P::FnDuplicatedDefinition(name, count) => {
            say(format!("the function `{name}` with {count} parameters is defined twice"))
        }
        P::FnMissingName => say("expected the function's name after `fn`".to_string())
            .hint("a function without a name is a closure: |x| x + 1"),
        P::FnMissingParams(name) => say(format!("expected `(..)` with the parameters of `{name}`")),
        P::FnDuplicatedParam(name, param) if name.is_empty() => {
            say(format!("the closure has two parameters called `{param}`"))
        }
        P::FnDuplicatedParam(name, param) => say(format!("`{name}` has two parameters called `{param}`")),
        P::FnMissingBody(name) if name.is_empty() => say("expected the body of the closure".to_string()),
        P::FnMissingBody(name) => say(format!("expected the body `{{ .. }}` of `{name}`")),
        P::WrongExport => say("`export` is only allowed at the outermost level".to_string()),
        P::AssignmentToConstant(name) => say(format!("`{name}` is a constant and cannot be changed"))
            .hint(format!("declare it with `let {name} = ..`")),
        P::AssignmentToInvalidLHS(_) => say("this cannot be assigned to".to_string()).hint(
            "a comparison is written `==`; what a call returns gets a name with `let` before it is changed",
        ),
        P::VariableUndefined(name) => Error::of(Kind::Argument, Problem::NoVariable(name.clone())),
        P::ModuleUndefined(name) => say(format!("there is no namespace `{name}`")),
        P::ExprTooDeep => {
            say("the expression is nested too deeply".to_string()).hint("split it with variables")
        }
        P::TooManyFunctions => say("there are too many functions".to_string()),
        P::LiteralTooLarge(what, most) => say(format!("{} exceeds its limit of {most}", lower(what))),
        P::LoopBreak => say("`break` and `continue` are only allowed in a loop".to_string()),
        P::WrongSwitchIntegerCase => say("a number cannot follow a range in `switch`".to_string()),
        P::WrongSwitchDefaultCase => say("the case `_` must be the last of `switch`".to_string()),
        P::WrongSwitchCaseCondition => say("this case of `switch` cannot have a condition".to_string()),
        other => say(lower(&other.to_string())),
    }
}

fn described(text: &str, detail: &str) -> String {
    if detail.is_empty() { text.to_string() } else { format!("{text}: {}", lower(detail)) }
}

fn an(what: &str) -> String {
    match what {
        "" => "an expression".to_string(),
        what if what.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {what} expression"),
        what => format!("a {what} expression"),
    }
}

fn missing(token: &str, why: &str) -> Error {
    let why = why
        .replace("for a matching ( in this expression", "to close the bracket")
        .replace("for a matching [ in this index expression", "to close the index")
        .replace("arguments list of this function call", "arguments of")
        .replace("function call ", "")
        .replace("object map literal", "map")
        .replace("array literal", "array")
        .replace("parameters list", "parameters")
        .replace('\'', "`");
    let (token, purpose) = (token.to_string(), why.trim().to_string());
    let error = Error::of(Kind::Argument, Problem::MissingToken { token: token.clone(), purpose });
    match token.as_str() {
        ";" => error.hint("statements end with a semicolon; is a comma or operator missing before this?"),
        "}" if why.contains("block") => error.hint("a `{` before this place is never closed"),
        ")" | "]" | "}" => error.hint("is a comma or closing bracket missing before this?"),
        _ => error,
    }
}

fn character(error: &LexError) -> Error {
    let say = |text: String| Error::argument(text);
    match error {
        LexError::UnexpectedInput(text) if text == "=" => {
            say("unexpected `=`".to_string()).hint("a comparison is written `==`").meant("=", "==")
        }
        LexError::UnexpectedInput(text) => say(format!("unexpected `{text}`")),
        LexError::UnterminatedString => say("the string has no closing quote".to_string())
            .hint("a multi-line string is written in backquotes, `..`"),
        LexError::StringTooLong(most) => say(format!("the string is longer than {most} characters")),
        LexError::MalformedEscapeSequence(text) => {
            say(format!("unknown escape `{text}`")).hint("a backslash itself is written `\\\\`")
        }
        LexError::MalformedNumber(text) => say(format!("`{text}` is not a number")),
        LexError::MalformedChar(text) => {
            let error = say(format!("`{text}` is not one character"))
                .hint("strings are written in double quotes, single characters in single quotes");
            match text.contains(['"', '\\']) {
                true => error,
                false => error.meant(format!("'{text}'"), format!("\"{text}\"")),
            }
        }
        LexError::MalformedIdentifier(text) => say(format!("`{text}` cannot be a name")),
        LexError::ImproperSymbol(text, detail) => {
            let error = say(format!("unexpected `{text}`"));
            // rhai's remark ends in the suggestion, which is the helpful part.
            let better = ["Should it be ", "typo of "].iter().find_map(|start| detail.rsplit_once(start));
            match better {
                Some((_, better)) => {
                    let hint = format!("should it be {}", better.replace('\'', "`").replace("simply ", ""));
                    let quoted: Vec<&str> = better.split('\'').skip(1).step_by(2).collect();
                    match quoted.as_slice() {
                        [only] => error.hint(hint).meant(text, *only),
                        _ => error.hint(hint),
                    }
                }
                None => error,
            }
        }
        LexError::Runtime(text) => say(lower(text)),
        other => say(lower(&other.to_string())),
    }
}

fn reserved(word: &str) -> Error {
    let error = Error::argument(format!("`{word}` is a reserved word"));
    match word {
        "null" | "nil" | "None" => error.hint("write `()` for no value").meant(word, "()"),
        "case" => error.hint("write `switch value { 1 => .., _ => .. }`").meant(word, "switch"),
        "use" => error.hint("write `import \"file\" as name;`"),
        "++" | "--" => error.hint("write `x += 1`"),
        "?" => error.hint("write `if condition { a } else { b }`"),
        "var" => error.hint("write `let`"),
        word if word.chars().all(char::is_alphanumeric) => error.hint("choose another name"),
        _ => error,
    }
}

/// Returns whether a text is a whole cell: an error at its very end means that more lines may complete it.
pub fn is_complete(engine: &rhai::Engine, source: &str) -> bool {
    // A documentation comment belongs to the function that follows.
    let documents = |line: &str| line.trim().starts_with("///") && !line.trim().starts_with("////");
    if open_comment(source) || source.trim_end().lines().last().is_some_and(documents) {
        return false;
    }
    let source = &super::rewrite::compiled_form(engine, source);
    let trimmed = source.trim_end();
    let Err(error) = engine.compile(source) else { return true };
    match error.err_type() {
        ParseErrorType::UnexpectedEOF => false,
        // A string in double quotes must end on its line; a text in backquotes need not.
        ParseErrorType::BadInput(LexError::UnterminatedString) => {
            let (line, column) = (error.position().line(), error.position().position());
            let at = line.zip(column).and_then(|(l, c)| source.lines().nth(l - 1)?.chars().nth(c - 1));
            at != Some('`')
        }
        _ => {
            let Some(line) = error.position().line() else { return true };
            let column = error.position().position().unwrap_or(1);
            let (last, width) =
                (trimmed.lines().count(), trimmed.lines().last().map_or(0, |l| l.chars().count()));
            !(line > last || (line == last && column > width))
        }
    }
}

/// Returns whether a text compiles.
pub fn compiles(engine: &rhai::Engine, source: &str) -> bool {
    engine.compile(super::rewrite::compiled_form(engine, source)).is_ok()
}

/// Returns whether a comment is never closed, which rhai takes for a whole script.
fn open_comment(source: &str) -> bool {
    let (mut depth, mut quote, mut line) = (0usize, None, false);
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek(), quote) {
            ('\n', ..) => line = false,
            _ if line => {}
            ('\\', _, Some('"')) => {
                chars.next();
            }
            (c, _, Some(q)) if c == q => {
                quote = None;
            }
            ('*', Some('/'), None) if depth > 0 => {
                depth -= 1;
                chars.next();
            }
            ('/', Some('*'), None) => {
                depth += 1;
                chars.next();
            }
            ('/', Some('/'), None) if depth == 0 => line = true,
            ('"' | '`', _, None) if depth == 0 => quote = Some(c),
            _ => {}
        }
    }
    depth > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_goes_on_while_something_is_open() {
        let engine = rhai::Engine::new();
        for open in
            ["let x = [1,", "fn f(x) {", "foo(1,\n 2", "let s = `text", "/* note", "x +", "if a {\n b\n"]
        {
            assert!(!is_complete(&engine, open), "{open:?} is open");
        }
        for whole in ["let x = 1", "\"(\"", "1 + ", "x)", "let s = \"open", "// note /*", "`a /* b`"] {
            let open = whole == "1 + ";
            assert_eq!(is_complete(&engine, whole), !open, "{whole:?}");
        }
    }
}
