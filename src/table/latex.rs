//! Tables as LaTeX, with the rules of the package booktabs.

use super::Table;
use super::show::columns;
use crate::declare::Options;
use crate::error::Result;

/// Options of [`Table::to_latex`].
#[derive(Debug, Clone, Options)]
pub struct LatexOptions {
    /// Caption, as LaTeX. With a caption or a label the table is a float, a `table` environment.
    pub caption: String,
    /// Label for `\ref`, such as "tab:fid".
    pub label: String,
}

impl Table {
    /// Formats the table as a LaTeX `tabular` with the rules of booktabs. Pairs of means and deviations are one column.
    pub fn to_latex(&self, options: &LatexOptions) -> Result<String> {
        let table = self.plus_minus()?;
        let columns = columns(&table.data());
        let sides: String = columns.iter().map(|c| if c.right { 'r' } else { 'l' }).collect();
        let line = |cells: Vec<String>| {
            // After the end of a line these would be its options.
            let first =
                if cells.first().is_some_and(|cell| cell.starts_with(['[', '*'])) { "{}" } else { "" };
            format!("{first}{} \\\\\n", cells.join(" & "))
        };
        let mut out = format!("\\begin{{tabular}}{{{sides}}}\n\\toprule\n");
        out.push_str(&line(columns.iter().map(|c| escaped(&c.name)).collect()));
        out.push_str("\\midrule\n");
        for i in 0..table.len() {
            let cell = |right: bool, text: &str| if right { number(text) } else { escaped(text) };
            out.push_str(&line(columns.iter().map(|c| cell(c.right, &c.cells[i])).collect()));
        }
        out.push_str("\\bottomrule\n\\end{tabular}\n");
        if options.caption.is_empty() && options.label.is_empty() {
            return Ok(out);
        }
        let mut float = String::from("\\begin{table}\n\\centering\n");
        if !options.caption.is_empty() {
            float.push_str(&format!("\\caption{{{}}}\n", options.caption));
        }
        // The number that a label refers to is that of the caption before it.
        if !options.label.is_empty() {
            float.push_str(&format!("\\label{{{}}}\n", options.label));
        }
        Ok(format!("{float}{out}\\end{{table}}\n"))
    }
}

/// Returns a number, or two with `±` between them, in math mode where it has a sign or an exponent.
fn number(text: &str) -> String {
    let one = |text: &str| match text.split_once('e') {
        Some((digits, power)) => format!("{digits} \\times 10^{{{power}}}"),
        None => text.replace(',', "{,}"),
    };
    let numeric = |text: &str| text.replace(',', "").parse::<f64>().is_ok_and(f64::is_finite);
    match text.split_once(" ± ") {
        Some((mean, std)) if numeric(mean) && numeric(std) => format!("${} \\pm {}$", one(mean), one(std)),
        None if numeric(text) && text.contains(['-', 'e']) => format!("${}$", one(text)),
        _ => escaped(text),
    }
}

/// Returns text in which no character is a command.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '±' => out.push_str("$\\pm$"),
            '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::{Map, Value};
    use crate::table::FromRowsOptions;

    #[test]
    fn text_at_the_start_of_a_row_is_no_option_of_the_row_before() {
        let names = ["[ours]", "*base", "a < b | c"];
        let rows = names.map(|name| Map::from([("m".to_string(), Value::Str(name.into()))])).to_vec();
        let text = Table::from_rows(rows, &FromRowsOptions::default())
            .and_then(|table| table.to_latex(&LatexOptions::default()))
            .unwrap();
        assert!(text.contains("\\midrule\n{}[ours] \\\\\n{}*base \\\\\na \\textless{} b"), "{text}");
    }

    #[test]
    fn numbers_are_mathematics_and_text_is_escaped() {
        let row = |name: &str, mean: f64, std: f64, gain: f64| {
            Map::from([
                ("a_name".to_string(), Value::Str(name.into())),
                ("fid_mean".to_string(), Value::Float(mean)),
                ("fid_std".to_string(), Value::Float(std)),
                ("gain".to_string(), Value::Float(gain)),
            ])
        };
        let rows = vec![row("50% & more", 11.0, 1.41, -0.5), row("x^2", 9.0, 0.2, 0.25)];
        let table = Table::from_rows(rows, &FromRowsOptions::default()).unwrap();
        let text = table.to_latex(&LatexOptions::default()).unwrap();
        let lines = [
            "\\begin{tabular}{lrr}",
            "\\toprule",
            "a\\_name & fid & gain \\\\",
            "\\midrule",
            "50\\% \\& more & $11.0 \\pm 1.4$ & $-0.50$ \\\\",
            "x\\textasciicircum{}2 & $9.00 \\pm 0.20$ & 0.25 \\\\",
            "\\bottomrule",
            "\\end{tabular}\n",
        ];
        assert_eq!(text, lines.join("\n"));
        let options = LatexOptions { caption: "FID.".to_string(), label: "tab:fid".to_string() };
        let float = table.to_latex(&options).unwrap();
        let head = "\\begin{table}\n\\centering\n\\caption{FID.}\n\\label{tab:fid}\n";
        assert_eq!(float, format!("{head}{text}\\end{{table}}\n"));
        assert_eq!(
            [number("1e-6"), number("-1,234"), number("NaN")],
            ["$1 \\times 10^{-6}$", "$-1{,}234$", "NaN"]
        );
    }
}
