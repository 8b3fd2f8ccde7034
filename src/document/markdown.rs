//! Documents from a subset of Markdown: headings, paragraphs, lists, fenced code; bold, italics, code and links inside.
//!
//! Everything else, including HTML, remains literal text.

use super::{Block, Document, Line, Role};

impl Document {
    /// Reads a text in Markdown, which may be indented as the code around it. Headings become those of levels 3 and 4,
    /// below the title and the sections of a page.
    pub fn from_markdown(text: &str) -> Self {
        let mut document = Document::new();
        let mut lines = text.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            if line.is_empty() {
                continue;
            }
            document.push(if line.starts_with("```") {
                let code = lines.by_ref().take_while(|inner| !inner.starts_with("```"));
                Block::Code { lines: code.map(Line::from).collect(), indent: 0 }
            } else if let Some((level, title)) = heading(line) {
                Block::Heading(level, Line::from_markdown(title))
            } else if let Some((ordered, first)) = item(line) {
                let mut items = vec![first.to_string()];
                while let Some(next) = lines.peek().copied() {
                    match item(next) {
                        Some((other, text)) if other == ordered => items.push(text.to_string()),
                        // A continuation line belongs to the item above it.
                        None if !next.is_empty() && starts_paragraph(next) => {
                            if let Some(last) = items.last_mut() {
                                last.push(' ');
                                last.push_str(next);
                            }
                        }
                        _ => break,
                    }
                    lines.next();
                }
                Block::List { ordered, items: items.iter().map(|item| Line::from_markdown(item)).collect() }
            } else {
                let mut paragraph = vec![line];
                while let Some(next) = lines.next_if(|l| !l.is_empty() && starts_paragraph(l)) {
                    paragraph.push(next);
                }
                Block::Paragraph(Line::from_markdown(&paragraph.join(" ")))
            });
        }
        document
    }
}

impl Line {
    /// Reads one line of Markdown: `**bold**`, `*italics*`, `` `code` `` and `[text](address)`.
    pub fn from_markdown(text: &str) -> Self {
        let (mut line, mut rest) = (Line::new(), text);
        while let Some(c) = rest.chars().next() {
            let found = match c {
                '`' => enclosed(rest, "`").map(|(code, after)| (Line::of(Role::Code, code), after)),
                '*' => stressed(rest, "**", Role::Strong).or_else(|| stressed(rest, "*", Role::Emphasis)),
                '[' => link(rest),
                _ => None,
            };
            let (part, after) = found.unwrap_or_else(|| {
                let (first, after) = rest.split_at(c.len_utf8());
                (Line::from(first), after)
            });
            line.append(part);
            rest = after;
        }
        line
    }
}

fn starts_paragraph(line: &str) -> bool {
    !line.starts_with("```") && heading(line).is_none() && item(line).is_none()
}

fn heading(line: &str) -> Option<(u8, &str)> {
    let level = line.bytes().take_while(|b| *b == b'#').count();
    let title = line.get(level..)?.strip_prefix(' ')?;
    (1..=6).contains(&level).then(|| (if level < 3 { 3 } else { 4 }, title.trim()))
}

/// Returns the text of an item of a list, and whether it is numbered.
fn item(line: &str) -> Option<(bool, &str)> {
    if let Some(text) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Some((false, text.trim()));
    }
    let (number, text) = line.split_once(". ")?;
    let numbered = !number.is_empty() && number.len() < 4 && number.bytes().all(|b| b.is_ascii_digit());
    numbered.then(|| (true, text.trim()))
}

fn enclosed<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let inner = text.strip_prefix(mark)?;
    let end = inner.find(mark)?;
    let content = &inner[..end];
    let tight = !content.is_empty() && !content.starts_with(' ') && !content.ends_with(' ');
    tight.then(|| (content, &inner[end + mark.len()..]))
}

fn stressed<'a>(text: &'a str, mark: &str, role: Role) -> Option<(Line, &'a str)> {
    enclosed(text, mark).map(|(inner, after)| (Line::from_markdown(inner).as_role(role), after))
}

fn link(text: &str) -> Option<(Line, &str)> {
    let (label, after) = text.strip_prefix('[')?.split_once("](")?;
    let (address, after) = after.split_once(')')?;
    // Addresses that could run code remain text.
    let harmless =
        address.starts_with("https://") || address.starts_with("http://") || !address.contains(':');
    let plain = !label.contains('[') && !address.contains(char::is_whitespace);
    (harmless && plain).then(|| (Line::from_markdown(label).leading_to(address), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        Line::from_markdown(text).to_html()
    }

    #[test]
    fn blocks_and_marks() {
        let text = "# Part\n\nOne *two*\n**three** `a < b`.\n\n- x\n- y\n  goes on\n\n1. first\n\n```\nlet a = 1;\n```";
        assert_eq!(
            Document::from_markdown(text).to_html(),
            "<h3>Part</h3>\n<p>One <em>two</em> <strong>three</strong> <code>a &lt; b</code>.</p>\n\
             <ul>\n<li>x</li>\n<li>y goes on</li>\n</ul>\n<ol>\n<li>first</li>\n</ol>\n\
             <pre><code>let a = 1;</code></pre>\n"
        );
    }

    #[test]
    fn what_is_no_markup_stays_text() {
        assert_eq!(html("2 * 3 * 4 <b> [x] `open"), "2 * 3 * 4 &lt;b&gt; [x] `open");
        assert_eq!(html("[x](javascript:alert(1))"), "[x](javascript:alert(1))");
        assert_eq!(html("**a `b` *c***"), "<strong>a </strong><code>b</code><strong> *c</strong>*");
        assert_eq!(html("[p](https://a.b/c?d=1&e)"), "<a href=\"https://a.b/c?d=1&amp;e\">p</a>");
    }
}
