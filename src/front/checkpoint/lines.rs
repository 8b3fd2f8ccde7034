//! Line by line comparison of stored code.

/// A line of code as it is shown, and the text by which it is compared, without its number.
pub struct Line {
    shown: String,
    text: String,
}

/// Largest product of the numbers of lines of two texts that are aligned; of longer ones all lines count as changed.
const MOST: usize = 4_000_000;

impl Line {
    /// Splits shown code into lines; numbers before ` | ` are those of the script.
    pub fn all(code: &str) -> Vec<Self> {
        let line = |shown: &str| {
            let numbered = shown.split_once(" | ").filter(|(number, _)| number.trim().parse::<i64>().is_ok());
            let text = numbered.map_or(shown, |(_, text)| text).to_string();
            Self { shown: shown.to_string(), text }
        };
        code.lines().map(line).collect()
    }
}

/// Returns the lines that only one text has, in order: those of `a` after `-`, those of `b` after `+`.
pub fn changed(a: &[Line], b: &[Line]) -> String {
    let same = |(x, y): &(&Line, &Line)| x.text == y.text;
    let first = a.iter().zip(b).take_while(same).count();
    let (a, b) = (&a[first..], &b[first..]);
    let last = a.iter().rev().zip(b.iter().rev()).take_while(same).count();
    let (a, b) = (&a[..a.len() - last], &b[..b.len() - last]);
    let common = if a.len() * b.len() > MOST { Vec::new() } else { common(a, b) };
    let (mut out, mut i, mut j) = (String::new(), 0, 0);
    for (x, y) in common.into_iter().chain([(a.len(), b.len())]) {
        a[i..x].iter().for_each(|line| out.push_str(&format!("  - {}\n", line.shown)));
        b[j..y].iter().for_each(|line| out.push_str(&format!("  + {}\n", line.shown)));
        (i, j) = (x + 1, y + 1);
    }
    out
}

/// Returns the longest common sequence of lines, as pairs of indices.
fn common(a: &[Line], b: &[Line]) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    // Entry [i, j] is the length for the lines from i and j on.
    let mut lengths = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i * width + j] = match a[i].text == b[j].text {
                true => lengths[(i + 1) * width + j + 1] + 1,
                false => lengths[(i + 1) * width + j].max(lengths[i * width + j + 1]),
            };
        }
    }
    let (mut found, mut i, mut j) = (Vec::new(), 0, 0);
    while i < a.len() && j < b.len() {
        if a[i].text == b[j].text {
            found.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_by_their_text_and_not_their_number() {
        let of = |text: &str, from: usize| {
            let numbered = text.lines().enumerate().map(|(i, line)| format!("{:>5} | {line}\n", from + i));
            Line::all(&numbered.collect::<String>())
        };
        let one = of("|s| {\n    let a = 1;\n    let b = a | 2;\n    a * s\n}", 3);
        assert_eq!(changed(&one, &of("|s| {\n    let a = 1;\n    let b = a | 2;\n    a * s\n}", 9)), "");
        let two = of("|s| {\n    let a = 2;\n    let b = a | 2;\n    print(b);\n    a * s\n}", 9);
        assert_eq!(
            changed(&one, &two),
            "  -     4 |     let a = 1;\n  +    10 |     let a = 2;\n  +    12 |     print(b);\n"
        );
        assert_eq!(changed(&two, &[]).lines().count(), 6);
    }
}
