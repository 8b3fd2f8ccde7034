//! Incremental check whether text that arrives line by line is incomplete, without compiling it for each line.

/// What a text has left open so far.
#[derive(Default)]
pub struct Open {
    /// Open constructs, innermost last.
    inside: Vec<Inside>,
    /// Whether the last line with code ends with something that requires more.
    dangling: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Bracket,
    /// Code of `${..}` in a string.
    Code,
    /// `"..."`, which ends with its line unless a backslash joins the next one.
    Quote,
    /// A string in backquotes.
    Text,
    /// `#"..."#` with this many signs.
    Raw(usize),
    Comment,
}

impl Open {
    /// Returns whether more lines must follow. If `false`, the text may still be incomplete.
    pub fn goes_on(&self) -> bool {
        !self.inside.is_empty() || self.dangling
    }

    /// Processes the next line.
    pub fn line(&mut self, line: &str) {
        let chars: Vec<char> = line.chars().collect();
        let mut i = 0;
        let mut last = None;
        while let Some(&c) = chars.get(i) {
            let next = chars.get(i + 1).copied();
            i += 1;
            match (self.inside.last().copied(), c, next) {
                // A backslash in backquotes stands for itself.
                (Some(Inside::Quote), '\\', _) => i += 1,
                (Some(Inside::Text), '$', Some('{')) => {
                    self.inside.push(Inside::Code);
                    i += 1;
                }
                (Some(Inside::Quote), '"', _) | (Some(Inside::Text), '`', _) => {
                    self.inside.pop();
                    last = Some(c);
                }
                (Some(Inside::Raw(signs)), '"', _) => {
                    let closing = chars[i..].iter().take_while(|c| **c == '#').take(signs).count();
                    if closing == signs {
                        i += signs;
                        self.inside.pop();
                        last = Some(c);
                    }
                }
                (Some(Inside::Comment), '*', Some('/')) => {
                    self.inside.pop();
                    i += 1;
                }
                (_, '/', Some('*')) if !self.in_string() => {
                    self.inside.push(Inside::Comment);
                    i += 1;
                }
                (Some(Inside::Quote | Inside::Text | Inside::Raw(_) | Inside::Comment), ..) => {}
                (_, '/', Some('/')) => break,
                (_, '\'', _) => {
                    // A character literal, which may be a bracket or a quote.
                    let length = if next == Some('\\') { 2 } else { 1 };
                    if chars.get(i + length) == Some(&'\'') {
                        i += length + 1;
                    }
                    last = Some(c);
                }
                (_, '#', Some('#' | '"')) => {
                    let signs = 1 + chars[i..].iter().take_while(|c| **c == '#').count();
                    if chars.get(i + signs - 1) == Some(&'"') {
                        self.inside.push(Inside::Raw(signs));
                        i += signs;
                    }
                }
                (_, '"', _) => self.inside.push(Inside::Quote),
                (_, '`', _) => self.inside.push(Inside::Text),
                (_, '(' | '[' | '{', _) => self.inside.push(Inside::Bracket),
                (Some(Inside::Bracket | Inside::Code), ')' | ']' | '}', _) => {
                    self.inside.pop();
                    last = Some(c);
                }
                (_, c, _) if c.is_whitespace() => {}
                (_, c, _) => last = Some(c),
            }
        }
        if self.inside.last() == Some(&Inside::Quote) && chars.last() != Some(&'\\') {
            self.inside.pop();
        }
        if let Some(last) = last {
            self.dangling = "+-*/%=<>&|^,.:".contains(last);
        }
    }

    fn in_string(&self) -> bool {
        matches!(self.inside.last(), Some(Inside::Quote | Inside::Text | Inside::Raw(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on(text: &str) -> bool {
        let mut open = Open::default();
        text.lines().for_each(|line| open.line(line));
        open.goes_on()
    }

    #[test]
    fn brackets_texts_comments_and_operators_stay_open() {
        for open in ["let x = [1,\n2,", "f(", "`a\nb", "/* a", "x +\n// more", "`${f(1", "#\"a\nb", "\"a\\"] {
            assert!(goes_on(open), "{open:?}");
        }
        for whole in [
            "let x = [1,\n2];",
            "`a\n(b`",
            "/* ( */ 1",
            "\"(\"",
            "'('",
            "// (",
            "`${f(1)} (`",
            "#\"(\"#",
            "\"(",
            "x)",
            "'\\'' + '\"'",
            r"let s = `C:\`;",
        ] {
            assert!(!goes_on(whole), "{whole:?}");
        }
    }
}
