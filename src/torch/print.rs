//! Printing of tensors: a line with shape, dtype, device and range, then a summary of the values.

use crate::document::{Block, Document, Line, Role};
use crate::error::Result;
use crate::torch::{DType, Device, Tensor};

/// Default of the largest width of a printed line of values.
pub const WIDTH: usize = 80;

/// Largest number of elements, and of rows, of a tensor that is printed in full.
const WHOLE: (usize, usize) = (100, 16);

/// Returns shape, dtype, device, range and a summary of values, in lines of at most `width` characters.
///
/// ```text
/// tensor [2, 3] float32 cpu, -1.5 to 2, mean 0.25, requires grad
/// [[-1.5000,  0.0000,  1.0000],
///  [ 2.0000,  0.5000, -0.5000]]
/// ```
pub fn document(tensor: &Tensor, width: usize) -> Document {
    // A tensor must print whatever state it is in.
    try_document(tensor, width)
        .unwrap_or_else(|error| Document::plain(&format!("{} ({error})", tensor.signature())))
}

/// Formats [`document`] as text.
pub fn render(tensor: &Tensor, width: usize) -> String {
    document(tensor, width).to_text(None)
}

fn try_document(tensor: &Tensor, width: usize) -> Result<Document> {
    let values = tensor.detach()?;
    let mut head = vec![
        Line::of(Role::Head, format!("tensor {:?}", tensor.shape()))
            .with(Role::Plain, " ")
            .with(Role::Type, tensor.dtype().name())
            .with(Role::Plain, format!(" {}", tensor.device())),
    ];
    head.extend(statistics(&values)?.into_iter().map(|part| Line::of(Role::Faint, part)));
    if tensor.requires_grad() {
        head.push(Line::of(Role::Faint, "requires grad"));
    }
    let mut shown = Shown::of(&values, 3)?;
    // Rows that are abbreviated anyway are shortened until each fits on one line.
    for edge in [2, 1] {
        if shown.is_cut() && shown.row_width() > width {
            shown = Shown::of(&values, edge)?;
        }
    }
    if shown.shape.is_empty() {
        let mut line = broken(&head, usize::MAX).into_iter().next().unwrap_or_default();
        line.push(Role::Plain, format!(": {}", shown.cells.concat()));
        return Ok(Document::of(Block::Note(vec![line])));
    }
    Ok(Document::of(Block::Note(broken(&head, width))).with(Block::Lines(shown.layout(width))))
}

/// Joins the parts with commas; a part that does not fit starts a new line, indented by two characters.
fn broken(parts: &[Line], width: usize) -> Vec<Line> {
    let (mut lines, mut line) = (Vec::new(), Line::new());
    for (i, part) in parts.iter().enumerate() {
        // A comma follows each part but the last.
        if i > 0 && line.width() + part.width() + 3 > width {
            line.push(Role::Faint, ",");
            lines.push(std::mem::replace(&mut line, Line::from("  ")));
        } else if i > 0 {
            line.push(Role::Faint, ", ");
        }
        line.append(part.clone());
    }
    lines.push(line);
    lines
}

fn statistics(tensor: &Tensor) -> Result<Vec<String>> {
    let mut parts = Vec::new();
    // One element is its own range.
    if tensor.count() == 1 {
        return Ok(parts);
    }
    if tensor.count() == 0 {
        return Ok(vec!["empty".to_string()]);
    }
    match tensor.dtype() {
        DType::Bool => {
            let count = tensor.count_nonzero(&[], false)?.item_i64()?;
            parts.push(format!("{count} of {} true", tensor.count()));
        }
        dtype => {
            let (sizes, name) =
                if dtype.is_complex() { (tensor.abs()?, "|z| ") } else { (tensor.clone(), "") };
            let sizes =
                if dtype.is_float() && dtype.size() < 4 { sizes.to_dtype(DType::Float32)? } else { sizes };
            let finite = sizes.isfinite()?;
            let kept = if finite.all(&[], false)?.item_i64()? != 0 {
                sizes.clone()
            } else {
                sizes.masked_select(&finite)?
            };
            if kept.count() > 0 {
                let (low, high) = kept.aminmax()?;
                let mean = kept.to_dtype(DType::Float64)?.mean(&[], false)?.item()?;
                parts.push(format!("{name}{} to {}", short(low.item()?), short(high.item()?)));
                parts.push(format!("mean {}", short(mean)));
            }
            for (word, mask) in [("NaN", sizes.isnan()?), ("inf", sizes.isinf()?)] {
                match mask.count_nonzero(&[], false)?.item_i64()? {
                    0 => {}
                    count => parts.push(format!("{count} {word}")),
                }
            }
        }
    }
    Ok(parts)
}

/// Formats four significant digits, without trailing zeros.
fn short(x: f64) -> String {
    if x == 0.0 {
        return "0".to_string();
    }
    if x == x.trunc() && x.abs() < 1e9 {
        return format!("{x:.0}");
    }
    if x.abs() < 1e-4 || x.abs() >= 1e6 {
        return format!("{x:.3e}");
    }
    let decimals = (3 - x.abs().log10().floor() as i32).max(0) as usize;
    let text = format!("{x:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

/// Printed elements as text, row-major.
struct Shown {
    /// Sizes of the whole tensor.
    whole: Vec<i64>,
    /// Sizes of the printed part; where smaller, an ellipsis is in the middle.
    shape: Vec<i64>,
    cells: Vec<String>,
}

impl Shown {
    /// Selects all of a small tensor, else its ends, `edge` elements of the last dimension on each side.
    fn of(tensor: &Tensor, edge: i64) -> Result<Self> {
        let whole = tensor.shape();
        let mut part = tensor.clone();
        let rows: i64 = whole.iter().rev().skip(1).product();
        if tensor.count() > WHOLE.0 || rows > WHOLE.1 as i64 {
            for dim in 0..whole.len() {
                // The last dimension shows the most elements, so that a batch of images stays within a page.
                let edge = match whole.len() - dim {
                    1 => edge,
                    2 => 2,
                    _ => 1,
                };
                let size = whole[dim];
                if size > 2 * edge {
                    let ends: Vec<i64> = (0..edge).chain(size - edge..size).collect();
                    let ends = Tensor::from_i64(&ends, &[2 * edge])?.to_device(tensor.device())?;
                    part = part.index_select(dim as i64, &ends)?;
                }
            }
        }
        let part = part.to_device(Device::Cpu)?;
        Ok(Self { whole, shape: part.shape(), cells: cells(&part)? })
    }

    /// Returns whether rows are abbreviated.
    fn is_cut(&self) -> bool {
        self.shape.last() < self.whole.last()
    }

    /// Returns the number of characters of one row with its brackets.
    fn row_width(&self) -> usize {
        let cell = self.cells.first().map_or(0, |c| c.chars().count());
        let count = self.shape.last().map_or(0, |n| *n as usize);
        count * (cell + 2) + 5 + 2 * self.shape.len()
    }

    fn layout(&self, width: usize) -> Vec<Line> {
        let mut lines = vec![Line::new()];
        self.block(0, width, &mut self.cells.iter(), &mut lines);
        lines
    }

    fn block<'a>(
        &self,
        dim: usize,
        room: usize,
        cells: &mut impl Iterator<Item = &'a String>,
        lines: &mut Vec<Line>,
    ) {
        let (size, cut) = (self.shape[dim], self.shape[dim] < self.whole[dim]);
        add(lines, Role::Faint, "[");
        if dim + 1 == self.shape.len() {
            let mut items: Vec<&str> = (0..size).filter_map(|_| cells.next()).map(String::as_str).collect();
            if cut {
                items.insert(size as usize / 2, DOTS);
            }
            let mut column = dim + 1;
            for (i, item) in items.iter().enumerate() {
                let width = item.chars().count();
                if i > 0 && column + width + 4 + dim > room {
                    next_line(lines, dim);
                    column = dim + 1;
                } else if i > 0 {
                    add(lines, Role::Faint, ", ");
                    column += 2;
                }
                let word = item.trim_start();
                add(lines, Role::Plain, &item[..item.len() - word.len()]);
                // Values that are not finite stand out.
                let role = match word {
                    "nan" | "inf" | "-inf" => Role::Warning,
                    DOTS => Role::Faint,
                    _ => Role::Plain,
                };
                add(lines, role, word);
                column += width;
            }
        } else {
            for i in 0..size {
                if i > 0 {
                    next_line(lines, dim);
                }
                if cut && i == size / 2 {
                    add(lines, Role::Faint, DOTS);
                    next_line(lines, dim);
                }
                self.block(dim + 1, room, cells, lines);
            }
        }
        add(lines, Role::Faint, "]");
    }
}

/// Stands for elements that are left out.
const DOTS: &str = "...";

fn add(lines: &mut [Line], role: Role, text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push(role, text);
    }
}

fn next_line(lines: &mut Vec<Line>, dim: usize) {
    add(lines, Role::Faint, ",");
    lines.push(Line::from(" ".repeat(dim + 1)));
}

/// Formats the elements as text of equal width.
fn cells(tensor: &Tensor) -> Result<Vec<String>> {
    let texts: Vec<String> = match tensor.dtype() {
        DType::Bool => tensor.to_i64()?.iter().map(|b| (*b != 0).to_string()).collect(),
        dtype if dtype.is_complex() => {
            let (real, imaginary) = (floats(&tensor.real()?.to_f64()?), tensor.imag()?.to_f64()?);
            let sizes = floats(&imaginary.iter().map(|x| x.abs()).collect::<Vec<_>>());
            let signs = imaginary.iter().map(|x| if x.is_sign_negative() { '-' } else { '+' });
            real.iter().zip(signs).zip(sizes).map(|((r, s), i)| format!("{r}{s}{i}i")).collect()
        }
        dtype if dtype.is_float() => floats(&tensor.to_f64()?),
        _ => tensor.to_i64()?.iter().map(i64::to_string).collect(),
    };
    let width = texts.iter().map(|t| t.chars().count()).max().unwrap_or(0);
    Ok(texts.into_iter().map(|t| format!("{t:>width$}")).collect())
}

/// Formats floats in one notation: one decimal for whole numbers, else four or two, or powers of ten where
/// magnitudes differ too much.
fn floats(values: &[f64]) -> Vec<String> {
    let sizes = || values.iter().map(|x| x.abs()).filter(|x| x.is_finite() && *x > 0.0);
    let (low, high) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
    let integral = values.iter().filter(|x| x.is_finite()).all(|x| *x == x.trunc());
    let powers = high >= 1e8 || !integral && (low < 1e-4 || high / low > 1e4 && low < 1e-2);
    let decimals = if high < 100.0 { 4 } else { 2 };
    let text = |x: &f64| match (x.is_finite(), powers, integral) {
        (false, ..) if x.is_nan() => "nan".to_string(),
        (false, ..) => format!("{x}"),
        (_, true, _) => format!("{x:.3e}"),
        (_, _, true) => format!("{x:.1}"),
        _ => format!("{x:.decimals$}"),
    };
    values.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(tensor: &Tensor) -> String {
        render(tensor, WIDTH)
    }

    fn floats_of(values: &[f32], shape: &[i64]) -> Tensor {
        Tensor::from_f32(values, shape).unwrap()
    }

    #[test]
    fn html_sets_the_description_apart() {
        let html = |x: Tensor| document(&x, WIDTH).to_html();
        let matrix = html(Tensor::from_i64(&[1, 2], &[2]).unwrap());
        assert!(matrix.starts_with("<div style=\"opacity:0.65\">tensor [2] int64 cpu"), "{matrix}");
        assert!(matrix.ends_with("<pre style=\"margin:0\">[1, 2]</pre>\n"), "{matrix}");
        let scalar = html(Tensor::from_i64(&[7], &[]).unwrap());
        assert_eq!(scalar, "<div style=\"opacity:0.65\">tensor [] int64 cpu: 7</div>\n");
    }

    #[test]
    fn a_small_matrix_is_printed_whole_and_aligned() {
        let x = floats_of(&[-1.5, 0.0, 1.0, 2.0, 0.5, 10.25], &[2, 3]);
        let expected = "tensor [2, 3] float32 cpu, -1.5 to 10.25, mean 2.042\n\
                        [[-1.5000,  0.0000,  1.0000],\n [ 2.0000,  0.5000, 10.2500]]";
        assert_eq!(show(&x), expected);
        assert!(show(&x.set_requires_grad(true).unwrap()).contains("mean 2.042, requires grad\n"));
    }

    #[test]
    fn scalars_bools_integers_and_empty_tensors() {
        assert_eq!(show(&floats_of(&[0.25], &[])), "tensor [] float32 cpu: 0.2500");
        let mask = floats_of(&[1.0, 0.0], &[2]).to_dtype(DType::Bool).unwrap();
        assert_eq!(show(&mask), "tensor [2] bool cpu, 1 of 2 true\n[ true, false]");
        let integers = Tensor::from_i64(&[-3, 12], &[2]).unwrap();
        assert_eq!(show(&integers), "tensor [2] int64 cpu, -3 to 12, mean 4.5\n[-3, 12]");
        let empty = Tensor::zeros(&[0, 3], DType::Float32, Device::Cpu).unwrap();
        assert_eq!(show(&empty), "tensor [0, 3] float32 cpu, empty\n[]");
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out_of_the_range() {
        let x = floats_of(&[f32::NAN, 1.0, f32::INFINITY, 3.0], &[4]);
        let expected = "tensor [4] float32 cpu, 1 to 3, mean 2, 1 NaN, 1 inf\n[nan, 1.0, inf, 3.0]";
        assert_eq!(show(&x), expected);
        assert!(show(&floats_of(&[f32::NAN; 2], &[2])).starts_with("tensor [2] float32 cpu, 2 NaN\n"));
        assert_eq!(show(&floats_of(&[f32::NAN], &[1])), "tensor [1] float32 cpu\n[nan]");
    }

    #[test]
    fn complex_numbers_show_both_parts() {
        let z = Tensor::complex(&floats_of(&[3.0, 0.0], &[2]), &floats_of(&[-4.0, 1.0], &[2])).unwrap();
        let expected = "tensor [2] complex64 cpu, |z| 1 to 5, mean 3\n[3.0-4.0i, 0.0+1.0i]";
        assert_eq!(show(&z), expected);
    }

    #[test]
    fn large_tensors_show_their_edges_within_eighty_columns() {
        for shape in [&[1000][..], &[50, 60], &[8, 3, 32, 32], &[100, 1], &[2, 2, 2, 2, 40]] {
            let count: i64 = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|i| i as f32 * -0.37).collect();
            let text = show(&floats_of(&values, shape));
            assert!(text.lines().all(|l| l.chars().count() <= WIDTH), "{text}");
            assert!(text.contains("..."), "{text}");
            assert!(text.lines().count() <= 26, "{text}");
        }
        let text = show(&floats_of(&[1e-7; 90], &[90]));
        assert!(text.lines().all(|l| l.chars().count() <= WIDTH), "{text}");
        assert!(text.ends_with("1.000e-7]"), "{text}");
    }
    #[test]
    fn narrow_terminals_get_fewer_columns_and_a_broken_head() {
        let values: Vec<f32> = (0..3000).map(|i| i as f32 * -0.37).collect();
        for shape in [&[3000][..], &[50, 60], &[10, 3, 10, 10], &[3000, 1]] {
            for width in [24, 40, 60, 120] {
                let text = render(&floats_of(&values, shape), width);
                assert!(text.lines().all(|l| l.chars().count() <= width.max(36)), "{width}:\n{text}");
            }
        }
        let text = render(&floats_of(&values, &[50, 60]), 40);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "tensor [50, 60] float32 cpu, -1110 to 0,");
        assert_eq!(lines[1], "  mean -554.8");
        assert_eq!(lines[2], "[[   -0.00, ...,   -21.83],");
    }
}
