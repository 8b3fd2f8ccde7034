//! Documents for people: headings, paragraphs, tables, code and roles of words, made once and rendered as plain text,
//! as text with ANSI colors, or as HTML.
//!
//! - [`Document`]: blocks, one below the other; [`Line`]: a line of spans, each with a [`Role`]
//! - [`table`]: tables with aligned columns, and their layout
//! - [`width`]: widths of text in a terminal, shortening and wrapping
//! - `markdown`: documents from a subset of Markdown
//! - `layout`, `ansi`, `html`: the renderers

mod ansi;
mod html;
mod layout;
mod line;
mod markdown;
pub mod table;
pub mod width;

pub use html::escape_html;
pub use line::{Line, Role, Span, joined};
pub use table::{Cell, Column, Look, Table};

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A heading, from level 1.
    Heading(u8, Line),
    /// Text that flows.
    Paragraph(Line),
    /// Lines that keep their breaks; a line that is too long continues with an indent.
    Lines(Vec<Line>),
    /// Lines about what follows, of less importance.
    Note(Vec<Line>),
    /// A table.
    Table(Table),
    /// Code of a script.
    Code {
        /// The lines, which are not wrapped if they are indented.
        lines: Vec<Line>,
        /// Columns by which text is indented.
        indent: usize,
    },
    /// Items with bullets, or with numbers.
    List {
        /// Whether the items are numbered.
        ordered: bool,
        /// The items.
        items: Vec<Line>,
    },
    /// An empty line of text.
    Gap,
}

/// Blocks, one below the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    blocks: Vec<Block>,
}

impl Document {
    /// Creates an empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a document of a text whose first line names what it is about.
    pub fn titled(text: &str) -> Self {
        let role = |i: usize| if i == 0 { Role::Head } else { Role::Plain };
        let lines = text.split('\n').enumerate().map(|(i, line)| Line::of(role(i), line));
        Self::new().with(Block::Lines(lines.collect()))
    }

    /// Creates a document of a title and names with values below it.
    pub fn facts<K: Into<Cell>, V: Into<Cell>>(title: &str, facts: impl IntoIterator<Item = (K, V)>) -> Self {
        let head = Block::Lines(vec![Line::of(Role::Head, title)]);
        Self::new().with(head).with(Block::Table(Table::facts(facts)))
    }

    /// Creates a document of a text of several lines without roles.
    pub fn plain(text: &str) -> Self {
        Self::of(Block::Lines(text.split('\n').map(Line::from).collect()))
    }

    /// Creates a document of a value that is written as code.
    pub fn code(text: &str) -> Self {
        Self::of(Block::Code { lines: text.split('\n').map(Line::from).collect(), indent: 0 })
    }

    /// Creates a document that is one block.
    pub fn of(block: Block) -> Self {
        Self { blocks: vec![block] }
    }

    /// Adds a block.
    pub fn push(&mut self, block: Block) {
        self.blocks.push(block);
    }

    /// Returns the document with a further block.
    #[must_use]
    pub fn with(mut self, block: Block) -> Self {
        self.push(block);
        self
    }

    /// Adds the blocks of another document.
    pub fn extend(&mut self, other: Document) {
        self.blocks.extend(other.blocks);
    }

    /// Returns the blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Replaces the lines of code, such as by lines whose words have roles.
    #[must_use]
    pub fn map_code(mut self, highlighted: impl Fn(&str) -> Vec<Line>) -> Self {
        for block in &mut self.blocks {
            if let Block::Code { lines, .. } = block {
                *lines = highlighted(&joined(lines));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;
