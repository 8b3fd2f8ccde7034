//! Subset of Markdown: headings, paragraphs, lists, fenced code; bold, italics, code and links inside.
//!
//! Everything else, including HTML, remains literal text.

use crate::text::escape_html;

/// Converts a Markdown text to HTML.
pub fn to_html(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().map(unindent).peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if line.starts_with("```") {
            let mut code = Vec::new();
            for inner in lines.by_ref() {
                if inner.starts_with("```") {
                    break;
                }
                code.push(escape_html(inner));
            }
            out.push_str(&format!("<pre><code>{}</code></pre>\n", code.join("\n")));
        } else if let Some((level, title)) = heading(line) {
            out.push_str(&format!("<h{level}>{}</h{level}>\n", inline(title)));
        } else if let Some((tag, first)) = item(line) {
            let mut items = vec![first.to_string()];
            while let Some(next) = lines.peek().copied() {
                match item(next) {
                    Some((other, text)) if other == tag => items.push(text.to_string()),
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
            let items: String = items.iter().map(|i| format!("<li>{}</li>\n", inline(i))).collect();
            out.push_str(&format!("<{tag}>\n{items}</{tag}>\n"));
        } else {
            let mut paragraph = vec![line];
            while let Some(next) = lines.next_if(|l| !l.is_empty() && starts_paragraph(l)) {
                paragraph.push(next);
            }
            out.push_str(&format!("<p>{}</p>\n", inline(&paragraph.join(" "))));
        }
    }
    out
}

/// Removes indentation, since text in a script is often indented with the code around it.
fn unindent(line: &str) -> &str {
    line.trim()
}

fn starts_paragraph(line: &str) -> bool {
    !line.starts_with("```") && heading(line).is_none() && item(line).is_none()
}

/// Parses a heading; levels start below those of the page's own title and sections.
fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.bytes().take_while(|b| *b == b'#').count();
    let title = line.get(level..)?.strip_prefix(' ')?;
    (1..=6).contains(&level).then(|| (if level < 3 { 3 } else { 4 }, title.trim()))
}

fn item(line: &str) -> Option<(&'static str, &str)> {
    if let Some(text) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Some(("ul", text.trim()));
    }
    let (number, text) = line.split_once(". ")?;
    let numbered = !number.is_empty() && number.len() < 4 && number.bytes().all(|b| b.is_ascii_digit());
    numbered.then(|| ("ol", text.trim()))
}

/// Converts one line to HTML: `**bold**`, `*italics*`, `` `code` `` and `[text](address)`.
pub fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let found = match c {
            '`' => enclosed(rest, "`")
                .map(|(code, after)| (format!("<code>{}</code>", escape_html(code)), after)),
            '*' => enclosed(rest, "**")
                .map(|(inner, after)| (format!("<strong>{}</strong>", inline(inner)), after))
                .or_else(|| enclosed(rest, "*").map(|(i, after)| (format!("<em>{}</em>", inline(i)), after))),
            '[' => link(rest),
            _ => None,
        };
        match found {
            Some((html, after)) => {
                out.push_str(&html);
                rest = after;
            }
            None => {
                out.push_str(&escape_html(&rest[..c.len_utf8()]));
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

fn enclosed<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let inner = text.strip_prefix(mark)?;
    let end = inner.find(mark)?;
    let content = &inner[..end];
    let tight = !content.is_empty() && !content.starts_with(' ') && !content.ends_with(' ');
    tight.then(|| (content, &inner[end + mark.len()..]))
}

fn link(text: &str) -> Option<(String, &str)> {
    let (label, after) = text.strip_prefix('[')?.split_once("](")?;
    let (address, after) = after.split_once(')')?;
    // Addresses that could run code remain text.
    let harmless =
        address.starts_with("https://") || address.starts_with("http://") || !address.contains(':');
    let plain = !label.contains('[') && !address.contains(char::is_whitespace);
    (harmless && plain)
        .then(|| (format!("<a href=\"{}\">{}</a>", escape_html(address), inline(label)), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_marks() {
        let text = "# Part\n\nOne *two*\n**three** `a < b`.\n\n- x\n- y\n  goes on\n\n1. first\n\n```\nlet a = 1;\n```";
        assert_eq!(
            to_html(text),
            "<h3>Part</h3>\n<p>One <em>two</em> <strong>three</strong> <code>a &lt; b</code>.</p>\n\
             <ul>\n<li>x</li>\n<li>y goes on</li>\n</ul>\n<ol>\n<li>first</li>\n</ol>\n\
             <pre><code>let a = 1;</code></pre>\n"
        );
    }

    #[test]
    fn what_is_no_markup_stays_text() {
        assert_eq!(inline("2 * 3 * 4 <b> [x] `open"), "2 * 3 * 4 &lt;b&gt; [x] `open");
        assert_eq!(inline("[x](javascript:alert(1))"), "[x](javascript:alert(1))");
        assert_eq!(inline("[p](https://a.b/c?d=1&e)"), "<a href=\"https://a.b/c?d=1&amp;e\">p</a>");
    }
}
