//! Syntax highlighting with the sixteen colors of the terminal's theme; red and green alone never make a
//! difference.

use std::ops::Range;

use crate::session::tokens::{Kind, tokens};

/// Returns the code in colors; `marked` are ranges of brackets to highlight.
pub fn code(text: &str, marked: &[Range<usize>]) -> String {
    let all = tokens(text);
    let (mut out, mut at) = (String::new(), 0);
    for (i, token) in all.iter().enumerate() {
        out += &text[at..token.start];
        at = token.end();
        let next = all.get(i + 1).map(|t| t.text);
        let paint = match token.kind {
            _ if marked.contains(&token.range()) => "1;7",
            Kind::Keyword => "1;35",
            Kind::Number => "36",
            Kind::Text(_) => "33",
            Kind::Comment => "90",
            Kind::Name if next == Some("::") => "34",
            Kind::Name if next == Some("(") => "94",
            _ => "",
        };
        match paint {
            "" => out += token.text,
            // Strings over several lines are colored line by line, since each line may be drawn alone.
            paint => {
                let lines = token.text.split('\n').map(|line| format!("\x1b[{paint}m{line}\x1b[0m"));
                out += &lines.collect::<Vec<_>>().join("\n");
            }
        }
    }
    out + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_change_no_character() {
        let text = "let a = f::g(1, \"x\"); // é\n`b\nc` /* open";
        let shown = code(text, &[]);
        let mut plain = String::new();
        let mut inside = false;
        for c in shown.chars() {
            match c {
                '\x1b' => inside = true,
                'm' if inside => inside = false,
                c if !inside => plain.push(c),
                _ => {}
            }
        }
        assert_eq!(plain, text);
        assert!(shown.starts_with("\x1b[1;35mlet\x1b[0m a"));
    }
}
