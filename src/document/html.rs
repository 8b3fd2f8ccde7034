//! Documents as HTML without a style sheet, since notebooks keep none; reports style the same elements.

use super::{Block, Cell, Column, Document, Line, Role, Table};

/// Escapes the characters that have a meaning in HTML.
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

impl Line {
    /// Formats the line as HTML to stand within an element.
    pub fn to_html(&self) -> String {
        let span = |span: &super::Span| {
            let text = escape_html(&span.text);
            let text = match span.role {
                Role::Head | Role::Error | Role::Warning => format!("<b>{text}</b>"),
                Role::Emphasis => format!("<em>{text}</em>"),
                Role::Strong => format!("<strong>{text}</strong>"),
                Role::Code => format!("<code>{text}</code>"),
                Role::Faint => format!("<span style=\"opacity:0.65\">{text}</span>"),
                _ => text,
            };
            match &span.link {
                Some(address) => format!("<a href=\"{}\">{text}</a>", escape_html(address)),
                None => text,
            }
        };
        self.spans().iter().map(span).collect()
    }
}

impl Document {
    /// Formats the document as HTML.
    pub fn to_html(&self) -> String {
        self.blocks().iter().map(block).collect()
    }
}

fn lines(lines: &[Line], between: &str) -> String {
    lines.iter().map(Line::to_html).collect::<Vec<_>>().join(between)
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, line) => format!("<h{level}>{}</h{level}>\n", line.to_html()),
        Block::Paragraph(line) => format!("<p>{}</p>\n", line.to_html()),
        Block::Lines(all) => {
            // Text of one width needs no faint brackets to be read.
            let clear = |line: &Line| line.clone().without(Role::Faint);
            let all: Vec<Line> = all.iter().map(clear).collect();
            format!("<pre style=\"margin:0\">{}</pre>\n", lines(&all, "\n"))
        }
        // The element fades as a whole, so its spans need not.
        Block::Note(all) => {
            let plain: Vec<Line> = all.iter().map(|line| Line::from(line.text())).collect();
            format!("<div style=\"opacity:0.65\">{}</div>\n", lines(&plain, "<br>\n"))
        }
        Block::Table(table) => table.to_html(),
        Block::Code { lines: all, .. } => format!("<pre><code>{}</code></pre>\n", lines(all, "\n")),
        Block::List { ordered, items } => {
            let tag = if *ordered { "ol" } else { "ul" };
            let items: String = items.iter().map(|item| format!("<li>{}</li>\n", item.to_html())).collect();
            format!("<{tag}>\n{items}</{tag}>\n")
        }
        Block::Gap => String::new(),
    }
}

impl Table {
    /// Formats the table as an HTML `<table>`; alignment is inline, and cells on the right have the class `number`.
    pub fn to_html(&self) -> String {
        let style = |column: &Column| match column.right {
            true => " class=\"number\" style=\"text-align:right\"",
            false => " style=\"text-align:left\"",
        };
        let empty = Cell::default();
        let row = |cells: &[Cell], head: bool| {
            let cell = |(i, column): (usize, &Column)| {
                let tag = if head || column.names { "th" } else { "td" };
                let text = lines(&cells.get(i).unwrap_or(&empty).0, "<br>");
                format!("<{tag}{}>{text}</{tag}>", style(column))
            };
            format!("<tr>{}</tr>", self.columns.iter().enumerate().map(cell).collect::<String>())
        };
        let mut out = String::from("<table>\n");
        if let Some(head) = &self.head {
            out += &format!("<thead>{}</thead>\n", row(head, true));
        }
        out += "<tbody>\n";
        for cells in &self.rows {
            out += &row(cells, false);
            out.push('\n');
        }
        out + "</tbody>\n</table>\n"
    }
}
