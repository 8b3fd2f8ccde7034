//! Layout of a document in lines, and as plain text.

use super::{Block, Document, Line, Role};

impl Document {
    /// Lays the document out in lines of at most `width` columns, if that is possible.
    pub fn lines(&self, width: Option<usize>) -> Vec<Line> {
        self.blocks.iter().flat_map(|block| lines(block, width)).collect()
    }

    /// Formats the document as plain text in lines of at most `width` columns, without a final line break.
    pub fn to_text(&self, width: Option<usize>) -> String {
        super::line::joined(&self.lines(width))
    }
}

fn lines(block: &Block, width: Option<usize>) -> Vec<Line> {
    let wrapped = |line: &Line| match width {
        Some(width) => line.wrapped(width),
        None => vec![line.clone()],
    };
    match block {
        Block::Heading(_, line) => wrapped(&line.clone().as_role(Role::Head)),
        Block::Paragraph(line) => width.map_or_else(|| vec![line.clone()], |width| line.flowed(width)),
        Block::Lines(lines) | Block::Note(lines) => lines.iter().flat_map(wrapped).collect(),
        Block::Table(table) => table.lines(width).iter().flat_map(wrapped).collect(),
        Block::Code { lines, indent: 0 } => lines.iter().flat_map(wrapped).collect(),
        Block::Code { lines, indent } => {
            let indented = |line: &Line| {
                let mut out = Line::from(" ".repeat(*indent));
                out.append(line.clone());
                out
            };
            lines.iter().map(indented).collect()
        }
        Block::List { ordered, items } => {
            let item = |(i, item): (usize, &Line)| {
                let mut line = if *ordered { Line::from(format!("{}. ", i + 1)) } else { Line::from("- ") };
                line.append(item.clone());
                wrapped(&line)
            };
            items.iter().enumerate().flat_map(item).collect()
        }
        Block::Gap => vec![Line::new()],
    }
}
