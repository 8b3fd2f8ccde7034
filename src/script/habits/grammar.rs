//! Python syntax that rhai cannot parse.

use super::line::{self, Line, ours};
use super::{Instead, arguments, calls, modules, write};
use crate::script::names::Names;

/// Returns what to write instead of a line.
pub fn instead(line: &Line, names: &Names) -> Instead {
    let forms: [fn(&Line) -> Instead; 15] = [
        imports,
        magics,
        definitions,
        comments,
        strings,
        lambda,
        comprehension,
        blocks,
        conditional,
        matching,
        slices,
        signs,
        words,
        maps,
        tuples,
    ];
    // A keyword argument may occur in a line of the other forms, and they in its line.
    forms[..10]
        .iter()
        .find_map(|form| form(line))
        .or_else(|| keyword(line, names))
        .or_else(|| forms[10..].iter().find_map(|form| form(line)))
}

/// Explains `import torch` and `from torch import nn`, which sometimes parse too.
pub fn imports(line: &Line) -> Instead {
    let python = (line.is(0, "import") && line.is_word(1)) || (line.is(0, "from") && line.is_word(1));
    python.then(|| {
        (
            Some(format!(
                "`{}` is not needed: all namespaces are built in",
                line.text(0, line.parts.len()).trim_end_matches(';')
            )),
            "remove the line; `tensor::`, `model::`, `train::` and the others need no import, and your own \
             script is imported with `import \"file\" as name;`"
                .to_string(),
        )
    })
}

/// Explains lines of IPython that are commands: `%time x`, `!ls`, `pip install x`.
pub fn magics(line: &Line) -> Instead {
    let rest = |from: usize| line.text(from, line.parts.len());
    if line.is(0, "pip") && line.is(1, "install") {
        let hint =
            "all functions are built in, and your own script is imported with `import \"file\" as name;`";
        return Some((Some("nothing is installed from a script".to_string()), hint.to_string()));
    }
    if line.is(0, "!") && line.is_word(1) && !line.is(2, "(") && line.parts.len() > 1 {
        let hint = format!("at a prompt, write `:shell {}`; Jupyter has a terminal", rest(1));
        return Some((Some("`!` does not run a shell command".to_string()), hint));
    }
    let start = (0..2).take_while(|i| line.is(*i, "%")).count();
    if start == 0 || !line.is_word(start) {
        return None;
    }
    let (name, more) = (line.part(start), rest(start + 1));
    let command = |name: &str| format!("write `:{}`", format!("{name} {more}").trim_end());
    let hint = match name.as_str() {
        "time" => command("time"),
        "timeit" => command("bench"),
        "prun" => command("profile"),
        "run" | "load" => command("load"),
        "who" | "whos" => command("vars"),
        "reset" => command("reset"),
        "history" => command("history"),
        "matplotlib" => "figures are shown below the cell: remove the line".to_string(),
        _ => "`:help` lists the commands, such as `:time`, `:bench`, `:profile` and `:vars`".to_string(),
    };
    Some((Some("commands start with a colon".to_string()), hint))
}

fn definitions(line: &Line) -> Instead {
    if line.is(0, "@") && line.is_word(1) {
        let hint = match line.find(1, "no_grad").or_else(|| line.find(1, "inference_mode")) {
            Some(_) => "write `no_grad(|| { .. })` in the function".to_string(),
            None => "call the function inside another one".to_string(),
        };
        return Some((Some("there are no decorators".to_string()), hint));
    }
    let start = usize::from(line.is(0, "async"));
    if line.is(start, "class") && line.is_word(start + 1) {
        return Some((
            Some("there are no classes".to_string()),
            "a map holds values and closures: `let counter = #{ n: 0, add: |by| this.n += by };`".to_string(),
        ));
    }
    if !(line.is(start, "def") && line.is(start + 2, "(")) {
        return None;
    }
    let params = line.arguments(start + 2).unwrap_or_default();
    let names: Vec<String> = params.iter().map(|(a, _)| line.part(*a)).collect();
    write(
        "a function is defined with `fn` and braces",
        format!("fn {}({}) {{ .. }}", line.part(start + 1), names.join(", ")),
    )
}

fn comments(line: &Line) -> Instead {
    let sign = (0..line.parts.len()).find(|i| {
        let next = line.parts.get(i + 1);
        line.is(*i, "#")
            && !next.is_some_and(|n| {
                n.start == line.parts[*i].end && matches!(line.part(i + 1).as_bytes()[0], b'{' | b'"' | b'#')
            })
    })?;
    let comment = line.text(sign + 1, line.parts.len());
    write("a comment starts with `//`", format!("// {comment}"))
}

/// Explains strings with a letter before them, and those in three quotes.
fn strings(line: &Line) -> Instead {
    for i in 1..line.parts.len() {
        if !line.is_text(i) || line.parts[i - 1].end != line.parts[i].start {
            continue;
        }
        let (before, text) = (line.part(i - 1), line.part(i));
        let inside = text.trim_matches(['"', '\'']);
        match before.to_lowercase().as_str() {
            "f" | "rf" | "fr" => {
                let code = format!("`{}`", interpolated(inside));
                return write("an interpolated string needs backquotes", line.with(i - 1, i + 1, &code));
            }
            "r" => {
                return write(
                    "a raw string is written `#\"..\"#`",
                    line.with(i - 1, i + 1, &format!("#\"{inside}\"#")),
                );
            }
            "b" => return write("there are no byte strings", line.with(i - 1, i + 1, &text)),
            "\"\"" | "''" => {
                return Some((
                    Some("a multi-line string is written in backquotes".to_string()),
                    "write `..` in backquotes, or `//` before each line of a comment".to_string(),
                ));
            }
            _ => {}
        }
    }
    None
}

/// Converts `{x:.3f}` of a Python string to `${x}`.
fn interpolated(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.peek() == Some(&'{') => {
                chars.next();
                out.push('{');
            }
            '}' if chars.peek() == Some(&'}') => {
                chars.next();
                out.push('}');
            }
            '{' => {
                let inside: String = chars.by_ref().take_while(|c| *c != '}').collect();
                let value = inside.split([':', '!', '=']).next().unwrap_or_default();
                out.push_str(&format!("${{{}}}", ours(value)));
            }
            c => out.push(c),
        }
    }
    out
}

fn lambda(line: &Line) -> Instead {
    let at = line.find(0, "lambda")?;
    let colon = line.find_level(at + 1, &[":"])?;
    let end = line.find_level(colon + 1, &[",", ";"]);
    let end = end.or_else(|| line.find_level(colon + 1, &[")", "]", "}"])).unwrap_or(line.parts.len());
    let (names, body) = (line.text(at + 1, colon), ours(&line.text(colon + 1, end)));
    write("a closure is written between bars", line.with(at, end, &format!("|{names}| {body}")))
}

/// Explains `[f(x) for x in xs if p(x)]`.
fn comprehension(line: &Line) -> Instead {
    let open = (0..line.parts.len()).find(|i| {
        ["[", "(", "{"].iter().any(|b| line.is(*i, b))
            && line.find_level(i + 1, &["for"]).is_some_and(|f| {
                // A loop after other statements is no comprehension.
                let after = line.find_level(i + 1, &[";"]).is_some_and(|end| end < f)
                    || line.is(*i, "{") && line.is(f - 1, "}") && line.find_level(i + 1, &[":"]).is_none();
                f > i + 1 && !after && line.find_level(f, &["in"]).is_some()
            })
    })?;
    let each = line.find_level(open + 1, &["for"])?;
    let within = line.find_level(each, &["in"])?;
    let close = line.closing(open).unwrap_or(line.parts.len());
    let condition = line.find_level(within, &["if"]).filter(|i| *i < close);
    let (value, name) = (ours(&line.text(open + 1, each)), line.text(each + 1, within));
    let source = ours(&line.text(within + 1, condition.unwrap_or(close)));
    let test = condition.map(|i| ours(&line.text(i + 1, close)));
    let message = "an array is made from another with `map` and `filter`";
    // A call keeps its brackets; an array does not.
    let call = line.is(open, "(") && open > 0 && line.ends_value(open - 1);
    let name = name.trim_matches(['(', ')']).to_string();
    if let (true, Some((key, value))) = (line.is(open, "{"), value.split_once(':')) {
        let set = format!("m[{}] = {};", key.trim(), value.trim());
        let inner = test.map_or(set.clone(), |test| format!("if {test} {{ {set} }}"));
        let name = if name.contains(',') { format!("({name})") } else { name };
        let code = format!("let m = #{{}}; for {name} in {source} {{ {inner} }}");
        return write("a map is filled in a loop", code);
    }
    if source.contains("..") || name.contains(',') {
        let name = if name.contains(',') { format!("({name})") } else { name };
        let push = format!("ys.push({value});");
        let inner = test.map_or(push.clone(), |test| format!("if {test} {{ {push} }}"));
        return write(
            "an array is made in a loop, or from another with `map`",
            format!("let ys = []; for {name} in {source} {{ {inner} }}"),
        );
    }
    let source =
        if source.contains(' ') && !source.starts_with('[') { format!("({source})") } else { source };
    let filter = test.map_or(String::new(), |test| format!(".filter(|{name}| {test})"));
    let map = if value == name { String::new() } else { format!(".map(|{name}| {value})") };
    let code = format!("{source}{filter}{map}");
    let (from, to) = if call { (open + 1, close) } else { (open, (close + 1).min(line.parts.len())) };
    write(message, line.with(from, to, &code))
}

/// Explains blocks that a colon opens.
fn blocks(line: &Line) -> Instead {
    let head = line.part(0);
    let known = ["if", "elif", "else", "for", "while", "try", "except", "finally", "with", "match"];
    if !known.contains(&head.as_str())
        || line.find_level(1, &["{"]).is_some() && line.part(line.parts.len() - 1) != ":"
    {
        return None;
    }
    let colon = line.find_level(1, &[":"])?;
    let rest = ours(&line.text(1, colon));
    let body = ours(&line.text(colon + 1, line.parts.len()));
    let body = if body.is_empty() { "..".to_string() } else { body };
    let block = |head: String| write("a block is written in braces", format!("{head} {{ {body} }}"));
    match head.as_str() {
        "elif" => block(format!("else if {rest}")),
        "for" => {
            let (names, values) = rest.split_once(" in ")?;
            let entries = values.strip_prefix("enumerate(").and_then(|v| v.strip_suffix(')'));
            match (names.split(',').map(str::trim).collect::<Vec<_>>().as_slice(), entries) {
                ([i, x], Some(values)) => block(format!("for ({x}, {i}) in {values}")),
                (_, None) => block(format!("for {names} in {values}")),
                _ => None,
            }
        }
        "try" => write("a block is written in braces", "try { .. } catch (e) { .. }"),
        "except" => write("an error is caught with `catch`", "try { .. } catch (e) { .. }"),
        "finally" => Some((
            Some("there is no `finally`".to_string()),
            "write what always runs after `try { .. } catch { .. }`".to_string(),
        )),
        "with" if rest.ends_with("no_grad()") => {
            write("what runs without gradients is a closure", "no_grad(|| { .. })")
        }
        "with" => Some((
            Some("there is no `with`".to_string()),
            "values are freed with their last name; files are written whole by their functions".to_string(),
        )),
        "match" => block(format!("switch {rest}")),
        _ => block(format!("{head} {rest}").trim().to_string()),
    }
}

/// Explains `match value { .. }`; here `match` is only the name of an option.
fn matching(line: &Line) -> Instead {
    let at = (0..line.parts.len()).find(|i| line.is(*i, "match") && line.is_word(i + 1))?;
    line.find_level(at + 1, &["{"])?;
    write("`match` is written `switch`", line.with(at, at + 1, "switch"))
}

/// Explains `a if c else b`.
fn conditional(line: &Line) -> Instead {
    let at = (1..line.parts.len()).find(|i| {
        line.is(*i, "if")
            && line.ends_value(i - 1)
            && !line.is(i - 1, "}")
            && line.find_level(i + 1, &["{"]).is_none()
    })?;
    let other = line.find_level(at + 1, &["else"])?;
    if line.find(at, "is_available").is_some_and(|i| i < other) {
        let hint = "name the device \"auto\", which is a GPU if there is one".to_string();
        return Some((Some("`if` comes before the values that it chooses from".to_string()), hint));
    }
    // The value starts after the last sign that ends another expression.
    let mut start = at;
    while start > 0 {
        let stops = ["=", ",", "(", "[", "return", ":", ";", "+=", "-=", "*=", "/=", "=>"];
        let before = line.part(start - 1);
        if matches!(before.as_str(), ")" | "]" | "}") {
            let open = (0..start).rev().find(|i| {
                line.closing(*i) == Some(start - 1) && ["(", "[", "{"].iter().any(|b| line.is(*i, b))
            })?;
            start = open;
            continue;
        }
        if stops.contains(&before.as_str()) {
            break;
        }
        start -= 1;
    }
    let end = line.find_level(other + 1, &[",", ";"]);
    let end = end.or_else(|| line.find_level(other + 1, &[")", "]", "}"])).unwrap_or(line.parts.len());
    let piece = |from, to| ours(&line.text(from, to));
    let code = format!(
        "if {} {{ {} }} else {{ {} }}",
        piece(at + 1, other),
        piece(start, at),
        piece(other + 1, end)
    );
    write("`if` comes before the values that it chooses from", line.with(start, end, &code))
}

/// Explains `f(x, dim=1)`.
fn keyword(line: &Line, names: &Names) -> Instead {
    let at = (1..line.parts.len()).find(|i| {
        line.is(*i, "=") && line.is_word(i - 1) && *i >= 2 && (line.is(i - 2, "(") || line.is(i - 2, ","))
    })?;
    let open = (0..at).rev().find(|i| line.is(*i, "(") && line.closing(*i).is_none_or(|c| c > at))?;
    if open == 0 || !line.is_word(open - 1) {
        return None;
    }
    let mut root = open - 1;
    while root >= 2 && line.is(root - 1, ".") && line.is_word(root - 2) {
        root -= 2;
    }
    if root < open - 1 && modules::MODULES.contains(&line.part(root).as_str()) {
        return modules::module(line, root, names);
    }
    if line.is(open - 1, "print") {
        let advice =
            "`print` has no options: it ends with a line break, and `\\n` in a text begins a new line";
        return Some((Some("`print` takes one value".to_string()), advice.to_string()));
    }
    let message = "options stand in a map, and other arguments in their order";
    match arguments::rewritten(line, open, names) {
        Some((start, end, code)) => write(message, line.with(start, end, &code)),
        None => {
            let (signatures, unknown) = arguments::signatures(line, open, names)?;
            let message = match unknown {
                Some(unknown) => format!("`{}` takes no `{unknown}`", line.part(open - 1)),
                None => message.to_string(),
            };
            Some((Some(message), format!("it is called as {signatures}")))
        }
    }
}

/// Explains `x[:, None]`.
pub fn new_dimension(line: &Line) -> Instead {
    let open = line::index_with_none(line)?;
    let message = "a new dimension of size 1 is made by `unsqueeze(dim)`";
    match (line::new_axes(line, open), line.closing(open)) {
        (Some(code), Some(close)) => write(message, line.with(open, close + 1, &code)),
        _ => Some((
            Some(message.to_string()),
            "index without `None` first, then `.unsqueeze(dim)` with the place of the new dimension"
                .to_string(),
        )),
    }
}

/// Explains `~mask` and `f(*sizes)`.
fn signs(line: &Line) -> Instead {
    if let Some(at) = line.find(0, "~") {
        return write("a mask is inverted with `!`", line.with(at, at + 1, "!"));
    }
    let star = (2..line.parts.len()).find(|i| {
        let open = i - 1;
        line.is(*i, "*")
            && line.is(open, "(")
            && line.ends_value(open - 1)
            && line.arguments(open).is_some_and(|given| given.len() == 1)
    })?;
    let code = line.with(star - 1, star + 1, "(");
    write("an array is passed whole", code)
}

/// Explains `x[:, 0]` and `x[1:3]`.
fn slices(line: &Line) -> Instead {
    if let Some(found) = new_dimension(line) {
        return Some(found);
    }
    let open = (1..line.parts.len()).find(|i| {
        line.is(*i, "[")
            && line.ends_value(i - 1)
            && line.closing(*i).is_some_and(|close| {
                (i + 1..close)
                    .any(|k| line.is(k, ":") || line.is(k, "...") || line.is(k, "::") && !line.is_word(k + 1))
            })
    })?;
    let close = line.closing(open)?;
    if line.find(open, "...").is_some_and(|i| i < close) {
        return Some((
            Some("`...` for all other dimensions is not there".to_string()),
            "give each dimension an index, `x[.., .., 0]`, or write `x.select(-1, 0)`".to_string(),
        ));
    }
    let mut indices = Vec::new();
    for (number, (from, to)) in line.arguments(open)?.into_iter().enumerate() {
        let text = ours(&line.text(from, to));
        let ends: Vec<&str> = text.split(':').map(str::trim).collect();
        match ends.as_slice() {
            [start, end] => indices.push(format!("{start}..{end}")),
            ["", "", "-1"] => {
                let hint = line.with(open, close + 1, &format!(".flip([{number}])"));
                return Some((
                    Some("a range is written with dots, `x[1..3]`".to_string()),
                    format!("a range has no step: write `{hint}`"),
                ));
            }
            [_, _, step] if step.starts_with('-') => {
                return Some((
                    Some("a range is written with dots, `x[1..3]`".to_string()),
                    format!("a range has no step, and a negative one needs `x.flip([{number}])` first"),
                ));
            }
            [start, end, step] if !step.is_empty() => {
                let bound = |b: &str| if b.is_empty() { "()".to_string() } else { b.to_string() };
                let code = format!(".slice({number}, {}, {}, {step})", bound(start), bound(end));
                let hint = format!("a range has no step: write `{}`", line.with(open, close + 1, &code));
                return Some((Some("a range is written with dots, `x[1..3]`".to_string()), hint));
            }
            _ => indices.push(text),
        }
    }
    write(
        "a range is written with dots, `..` for a whole dimension",
        line.with(open, close + 1, &format!("[{}]", indices.join(", "))),
    )
}

/// Explains statements and operators that are words in Python.
fn words(line: &Line) -> Instead {
    if let Some(is) = line.find(1, "is").filter(|i| line.ends_value(i - 1)) {
        let (symbol, end) = if line.is(is + 1, "not") { ("!=", is + 2) } else { ("==", is + 1) };
        return write("values are compared with `==` and `!=`", ours(&line.with(is, end, symbol)));
    }
    if let Some(not) = line.find(1, "not").filter(|i| line.is(i + 1, "in")) {
        return write("a value that is not among others", line.with(not, not + 2, "!in"));
    }
    if (1..line.parts.len()).any(|i| line.is(i, "eval") && line.is(i - 1, ".") && line.is(i + 1, "(")) {
        return calls::modes("eval");
    }
    let rest = || ours(line.text(1, line.parts.len()).trim_end_matches(';'));
    let one = |message: &str, hint: String| Some((Some(message.to_string()), hint));
    match line.part(0).as_str() {
        "pass" => one("there is no `pass`", "an empty block is `{ }`".to_string()),
        "del" => {
            one("a variable ends with its block", format!("write `{} = ();` to free its value now", rest()))
        }
        "raise" => write("an error is thrown with `throw`", "throw \"what went wrong\";"),
        "assert" if !line.is(1, "(") => write("`assert` is a function", format!("assert({});", rest())),
        "global" | "nonlocal" => one(
            "a function does not see variables outside it",
            "pass the value as a parameter, or write a closure `|..| ..`".to_string(),
        ),
        "yield" | "await" => one("there are no generators", "fill an array with `xs.push(..)`".to_string()),
        "print" if !line.is(1, "(") => write("`print` is a function", format!("print({});", rest())),
        "var" | "auto" | "int" | "float" if line.is_word(1) => None,
        _ if line.is_word(0) && line.is(1, ":") && line.find(2, "=").is_some() => {
            let equal = line.find(2, "=")?;
            write(
                "variables have no types",
                format!("let {} = {}", line.part(0), ours(&line.text(equal + 1, line.parts.len()))),
            )
        }
        "let" if line.is(2, ":") && line.find(3, "=").is_some() => {
            let equal = line.find(3, "=")?;
            write(
                "variables have no types",
                format!("let {} = {}", line.part(1), ours(&line.text(equal + 1, line.parts.len()))),
            )
        }
        _ => (1..line.parts.len())
            .find(|i| {
                line.part(*i).starts_with('.')
                    && line.part(*i).len() > 1
                    && line.part(*i).as_bytes()[1].is_ascii_digit()
            })
            .or_else(|| {
                (line.part(0).starts_with('.')
                    && line.part(0).as_bytes().get(1).is_some_and(u8::is_ascii_digit))
                .then_some(0)
            })
            .and_then(|i| {
                write("a number starts with a digit", line.with(i, i + 1, &format!("0{}", line.part(i))))
            }),
    }
}

/// Explains `{"a": 1}`.
fn maps(line: &Line) -> Instead {
    let open = (0..line.parts.len()).find(|i| {
        line.is(*i, "{")
            && (*i == 0 || !line.ends_value(i - 1) && !line.is(i - 1, "#") && !line.is(i - 1, "else"))
            && (line.is_text(i + 1) || line.is_word(i + 1) || line.is(i + 1, "}"))
            && (line.is(i + 2, ":") || line.is(i + 1, "}") && line.is(i.saturating_sub(1), "="))
    })?;
    let Some(close) = line.closing(open) else {
        return write("a map starts with `#{`", line.with(open, open + 1, "#{"));
    };
    // Keys in single quotes would be characters.
    let mut inside = line.text(open + 1, close);
    for key in (open + 1..close).filter(|i| line.is_text(*i) && line.is(i + 1, ":")) {
        let name = line.part(key);
        if let Some(plain) = name.strip_prefix('\'').and_then(|n| n.strip_suffix('\'')) {
            inside = inside.replace(&name, &format!("\"{plain}\""));
        }
    }
    write("a map starts with `#{`", line.with(open, close + 1, &format!("#{{{inside}}}")))
}

/// Explains `(1, 2)`, and `a, b = f()`.
fn tuples(line: &Line) -> Instead {
    let start = usize::from(line.is(0, "let"));
    let equal = line.find_level(start, &["="]);
    // The names may stand in brackets.
    let bracket = line.is(start, "(") || line.is(start, "[");
    let plain = |i: usize| line.is_word(i) || line.is(i, ",");
    let several = |e: usize| match bracket {
        true => {
            line.closing(start) == Some(e - 1) && line.is(start + 2, ",") && (start + 1..e - 1).all(plain)
        }
        false => line.is(start + 1, ",") && e > start + 1,
    };
    if let Some(equal) = equal.filter(|e| *e > start && several(*e)) {
        let names: Vec<String> = (start..equal).filter(|i| line.is_word(*i)).map(|i| line.part(i)).collect();
        let end = line.parts.len() - usize::from(line.is(line.parts.len() - 1, ";"));
        let next = |at: usize| line.find_level(at, &[","]).filter(|comma| *comma < end);
        let commas: Vec<usize> = std::iter::successors(next(equal + 1), |at| next(at + 1)).collect();
        let mut value = ours(&line.text(equal + 1, end));
        if commas.len() + 1 == names.len() {
            value = format!("[{value}]");
        }
        let each: Vec<String> =
            names.iter().enumerate().map(|(i, n)| format!("let {n} = both[{i}];")).collect();
        return write(
            "one variable is declared at a time",
            format!("let both = {value}; {}", each.join(" ")),
        );
    }
    if line.is(0, "for") && line.is(2, ",") {
        let within = line.find(3, "in")?;
        return write(
            "two loop variables are written in parentheses",
            line.with(1, within, &format!("({})", line.text(1, within))),
        );
    }
    let open = (0..line.parts.len()).find(|i| {
        line.is(*i, "(")
            && (*i == 0 || !line.ends_value(i - 1))
            && line.find_level(i + 1, &[","]).is_some()
            && !(*i > 0 && (line.is(i - 1, "for") || line.is(i - 1, "fn")))
    })?;
    let close = line.closing(open)?;
    let inside = ours(&line.text(open + 1, close));
    write(
        "several values are an array",
        line.with(open, close + 1, &format!("[{}]", inside.trim_end_matches(','))),
    )
}
