//! Tables: columns with alignment, cells of one or more lines, and their layout as text.

use super::{Line, Role};

/// How a table looks as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Rules above and below the head, and below the last row.
    Ruled,
    /// A frame around it, and a double rule below the head.
    Framed,
    /// Columns alone.
    Open,
}

/// A column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Column {
    /// Whether its cells stand on the right.
    pub right: bool,
    /// Whether its cells name the rows.
    pub names: bool,
    /// Spaces before it in a table without rules.
    pub gap: usize,
    /// Least width in a table without rules.
    pub least: usize,
}

impl Column {
    /// Returns a column of text.
    pub fn left() -> Self {
        Self::default()
    }

    /// Returns a column of numbers.
    pub fn right() -> Self {
        Self { right: true, ..Self::default() }
    }

    /// Returns the column with this space before it, in a table without rules.
    #[must_use]
    pub fn after(self, gap: usize) -> Self {
        Self { gap, ..self }
    }

    /// Returns the column with at least this width, in a table without rules.
    #[must_use]
    pub fn least(self, least: usize) -> Self {
        Self { least, ..self }
    }
}

/// A cell: one or more lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell(pub Vec<Line>);

impl Cell {
    /// Creates a cell of a text in a role; each line of the text is one of the cell.
    pub fn of(role: Role, text: &str) -> Self {
        Self(text.split('\n').map(|line| Line::of(role, line)).collect())
    }

    fn width(&self) -> usize {
        self.0.iter().map(Line::width).max().unwrap_or(0)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::of(Role::Plain, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::of(Role::Plain, &text)
    }
}

impl From<Line> for Cell {
    fn from(line: Line) -> Self {
        Cell(vec![line])
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// How it looks as text.
    pub look: Look,
    /// The columns.
    pub columns: Vec<Column>,
    /// The head, if it has one.
    pub head: Option<Vec<Cell>>,
    /// The rows; short ones are filled with empty cells.
    pub rows: Vec<Vec<Cell>>,
}

/// Least width of the last column of a table without rules, below which lines are broken as a whole.
const HANGING: usize = 20;

/// Least width to which a column is wrapped.
const NARROW: usize = 4;

impl Table {
    /// Creates a table without rows.
    pub fn new(look: Look, columns: Vec<Column>) -> Self {
        Self { look, columns, head: None, rows: Vec::new() }
    }

    /// Creates a table of names with values.
    pub fn facts<K: Into<Cell>, V: Into<Cell>>(facts: impl IntoIterator<Item = (K, V)>) -> Self {
        let names = Column { names: true, ..Column::left().after(2) };
        let mut table = Self::new(Look::Open, vec![names, Column::left().after(2)]);
        for (name, value) in facts {
            let Cell(name) = name.into();
            let name = Cell(name.into_iter().map(|line| line.as_role(Role::Key)).collect());
            table.rows.push(vec![name, value.into()]);
        }
        table
    }

    /// Adds the head.
    #[must_use]
    pub fn with_head<C: Into<Cell>>(mut self, cells: impl IntoIterator<Item = C>) -> Self {
        self.head = Some(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a row.
    pub fn push<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Lays the table out in lines of at most `columns` columns, if that is possible; cells are wrapped.
    pub fn lines(&self, columns: Option<usize>) -> Vec<Line> {
        let widths = self.widths(columns);
        let mut lines = Vec::new();
        let total = match self.look {
            Look::Open => 0,
            _ => (widths.iter().map(|w| w + 3).sum::<usize>()).saturating_sub(1),
        };
        let rule = |left: &str, fill: &str, right: &str| match self.look {
            Look::Open => None,
            Look::Ruled => Some(Line::of(Role::Faint, "─".repeat(total))),
            Look::Framed => Some(Line::of(Role::Faint, format!("{left}{}{right}", fill.repeat(total)))),
        };
        lines.extend(rule("┌", "─", "┐"));
        if let Some(head) = &self.head {
            lines.extend(self.row(head, &widths, Role::Head));
            lines.extend(rule("╞", "═", "╡"));
        }
        for cells in &self.rows {
            lines.extend(self.row(cells, &widths, Role::Plain));
        }
        lines.extend(rule("└", "─", "┘"));
        lines
    }

    /// Returns the widths of the columns: the widest shrink until a row fits.
    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let of = |i: usize| {
            let cells = self.head.iter().chain(&self.rows).filter_map(|row| row.get(i));
            let least = if self.look == Look::Open { self.columns[i].least } else { 0 };
            cells.map(Cell::width).max().unwrap_or(0).max(least)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(of).collect();
        let Some(most) = columns else { return widths };
        if let (Look::Open, Some((last, others))) = (self.look, widths.split_last_mut()) {
            let gaps: usize = self.columns.iter().map(|column| column.gap).sum();
            let room = most.saturating_sub(others.iter().sum::<usize>() + gaps);
            // Text that would be narrower than this is easier to read below its name.
            if room >= HANGING {
                *last = room.min(*last);
            }
        }
        if self.look != Look::Framed {
            return widths;
        }
        while widths.iter().map(|w| w + 3).sum::<usize>() + 1 > most {
            match (0..widths.len()).rev().max_by_key(|i| widths[*i]).filter(|i| widths[*i] > NARROW) {
                Some(widest) => widths[widest] -= 1,
                None => break,
            }
        }
        widths
    }

    fn row(&self, cells: &[Cell], widths: &[usize], role: Role) -> Vec<Line> {
        let empty = Cell::default();
        let cells: Vec<Vec<Line>> = (0..widths.len())
            .map(|i| {
                let cell = cells.get(i).unwrap_or(&empty);
                cell.0.iter().flat_map(|line| line.flowed(widths[i].max(1))).collect()
            })
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
        (0..height)
            .map(|y| {
                let mut out = Line::new();
                if self.look == Look::Framed {
                    out.push(Role::Faint, "│");
                }
                for (i, (column, cell)) in self.columns.iter().zip(&cells).enumerate() {
                    let line = cell.get(y).cloned().unwrap_or_default().as_role(role);
                    let (before, after) = match self.look {
                        Look::Open => (column.gap, 0),
                        _ => (1 + usize::from(i > 0), 1),
                    };
                    let free = widths[i].saturating_sub(line.width());
                    let (left, right) = if column.right { (free, 0) } else { (0, free) };
                    out.push(Role::Plain, " ".repeat(before + left));
                    out.append(line);
                    out.push(Role::Plain, " ".repeat(right + after));
                }
                match self.look {
                    Look::Framed => out.with(Role::Faint, "│"),
                    _ => out.trimmed(),
                }
            })
            .collect()
    }
}
