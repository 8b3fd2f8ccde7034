//! Location of an argument or option in the text of a call, so that a message can point at it.

/// A part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The argument with this index, from 0.
    Argument(usize),
    /// The key of an option map.
    Option(&'a str),
}

/// Returns line and column, from 1, of a part of the call whose name starts at a location.
pub fn find(text: &str, line: usize, column: usize, part: Part) -> Option<(usize, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut at, mut depth, mut quote) = ((1, 1), 0usize, None);
    // The next character that is not a space starts this argument.
    let (mut argument, mut pending) = (0, false);
    for (i, &c) in chars.iter().enumerate() {
        let here = at;
        at = if c == '\n' { (at.0 + 1, 1) } else { (at.0, at.1 + 1) };
        if here < (line, column) {
            continue;
        }
        if pending && !c.is_whitespace() {
            pending = false;
            if part == Part::Argument(argument) && c != ')' {
                return Some(here);
            }
        }
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '`', None) => quote = Some(c),
            ('(' | '[' | '{', None) => {
                pending = depth == 0;
                depth += 1;
            }
            (')' | ']' | '}', None) if depth <= 1 => return None,
            (')' | ']' | '}', None) => depth -= 1,
            (',', None) if depth == 1 => (argument, pending) = (argument + 1, true),
            // The call ends without brackets: it was a property or an operator.
            (';', None) if depth == 0 => return None,
            (c, None) if depth > 0 && word(c) && !word(chars[i - 1]) => {
                let name: String = chars[i..].iter().take_while(|c| word(**c)).collect();
                let next = chars[i + name.chars().count()..].iter().find(|c| !c.is_whitespace());
                if part == Part::Option(&name) && next == Some(&':') {
                    return Some(here);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "x.f(1, \"b: )\", #{ a: g(2, 3),\n  b: 3 }); h(#{ c: 1 })";

    #[test]
    fn an_option_is_found_in_its_own_call_only() {
        assert_eq!(find(TEXT, 1, 3, Part::Option("b")), Some((2, 3)));
        assert_eq!(find(TEXT, 1, 3, Part::Option("c")), None);
    }

    #[test]
    fn arguments_are_counted_outside_brackets_and_strings() {
        assert_eq!(find(TEXT, 1, 3, Part::Argument(0)), Some((1, 5)));
        assert_eq!(find(TEXT, 1, 3, Part::Argument(1)), Some((1, 8)));
        assert_eq!(find(TEXT, 1, 3, Part::Argument(2)), Some((1, 16)));
        assert_eq!(find(TEXT, 1, 3, Part::Argument(3)), None);
        assert_eq!(find("f()", 1, 1, Part::Argument(0)), None);
    }
}
