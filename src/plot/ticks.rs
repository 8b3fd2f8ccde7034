//! Positions and labels of ticks: steps of 1, 2 and 5, decades on logarithmic axes.

/// Tick with its value and its label, which is empty for a minor tick.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub value: f64,
    pub label: String,
}

/// Ticks of an axis, and the power of ten factored out of their labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Ticks {
    pub list: Vec<Tick>,
    pub exponent: i32,
}

impl Ticks {
    /// Appends the power of ten factored out of the tick labels to the label of an axis: `loss (×10⁻⁵)`.
    pub fn with_power(&self, label: &str) -> String {
        if self.exponent == 0 {
            return label.to_owned();
        }
        let power = format!("×{}", power(self.exponent));
        match (label.strip_suffix(')'), label.is_empty()) {
            (_, true) => power,
            (Some(open), _) => format!("{open}, {power})"),
            (None, _) => format!("{label} ({power})"),
        }
    }
}

/// Largest number of decades that all have a tick.
const DECADES: usize = 60;

/// Multiples of the smallest step of 1, 2 or 5 times a power of ten that gives at most `most` ticks in lo..hi, and at least
/// two where any step does.
pub(crate) fn linear(lo: f64, hi: f64, most: usize) -> Ticks {
    let step = step(lo, hi, most.max(2));
    // A small tolerance keeps ticks at limits such as 0.3 that are not an exact multiple of 0.1.
    let (first, last) = reach(lo, hi, step);
    let values: Vec<f64> = (first..=last).map(|i| multiple(i, step)).collect();
    label(&values, step)
}

fn step(lo: f64, hi: f64, most: usize) -> f64 {
    let smallest = ((hi - lo) / most as f64).log10().floor() as i32 - 1;
    // The span fits between two ticks of the largest step tried here, so one of them is always found.
    let steps = (smallest..smallest + 5).flat_map(|k| [1, 2, 5].map(|m| multiple_of_decade(m, k)));
    let mut finer = None;
    for step in steps {
        let (first, last) = reach(lo, hi, step);
        if last - first < most as i64 {
            // One tick alone gives no scale, so a few too many are better.
            return if last <= first { finer.unwrap_or(step) } else { step };
        }
        finer = Some(step);
    }
    hi - lo
}

/// Returns the first and the last multiple of `step` in lo..hi.
fn reach(lo: f64, hi: f64, step: f64) -> (i64, i64) {
    ((lo / step - 1e-9).ceil() as i64, (hi / step + 1e-9).floor() as i64)
}

/// Returns `i` steps, by division for small steps: 3 / 10 is 0.3, 3 * 0.1 is not.
fn multiple(i: i64, step: f64) -> f64 {
    if step < 1.0 { i as f64 / (1.0 / step).round() } else { i as f64 * step }
}

/// Returns ticks with labels for the given values, whose smallest distance is about `step`.
pub(crate) fn label(values: &[f64], step: f64) -> Ticks {
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let exponent = match largest {
        0.0 => 0,
        m if !(1e-4..1e6).contains(&m) => m.log10().floor() as i32,
        _ => 0,
    };
    let unit = 10f64.powi(exponent);
    let decimals = ((-(step / unit).log10() - 1e-9).ceil().max(0.0) as usize).min(12);
    let list = values
        .iter()
        .map(|value| Tick { value: *value, label: minus(&format!("{:.decimals$}", value / unit)) })
        .collect();
    Ticks { list, exponent }
}

/// Returns decades with labels if there are enough of them, else 1, 2 and 5; the values between are minor ticks.
pub(crate) fn logarithmic(lo: f64, hi: f64, most: usize) -> Ticks {
    let most = most.max(2);
    let (first, last) = ((lo.log10() - 1e-9).ceil() as i32, (hi.log10() + 1e-9).floor() as i32);
    let decades = usize::try_from(last - first + 1).unwrap_or(0);
    let within = |v: f64| v >= lo * (1.0 - 1e-9) && v <= hi * (1.0 + 1e-9);
    let mut list = Vec::new();
    if decades > most {
        let stride = decades.div_ceil(most) as i32;
        for k in first..=last {
            let named = k.rem_euclid(stride) == 0;
            // Ticks of very many decades would touch each other.
            if named || decades <= DECADES {
                list.push(Tick { value: 10f64.powi(k), label: if named { power(k) } else { String::new() } });
            }
        }
        return Ticks { list, exponent: 0 };
    }
    let named: &[i32] = match decades {
        0 | 1 => &[1, 2, 5],
        2 if most >= 6 => &[1, 3],
        _ => &[1],
    };
    // Plain numbers if they are short, powers of ten otherwise, and never both on one axis.
    let plain = first >= -3 && last <= 3 || named.len() > 1 && first >= -4 && last <= 5;
    for k in first - 1..=last {
        for m in 1..10 {
            let value = multiple_of_decade(m, k);
            if within(value) {
                let text = match (named.contains(&m), plain, m) {
                    (false, _, _) => String::new(),
                    (_, true, _) => brief(value),
                    (_, _, 1) => power(k),
                    _ => format!("{m}×{}", power(k)),
                };
                list.push(Tick { value, label: text });
            }
        }
    }
    if list.iter().filter(|tick| !tick.label.is_empty()).count() < 2 {
        return linear(lo, hi, most);
    }
    Ticks { list, exponent: 0 }
}

fn multiple_of_decade(m: i32, k: i32) -> f64 {
    if k < 0 { f64::from(m) / 10f64.powi(-k) } else { f64::from(m) * 10f64.powi(k) }
}

/// Formats ten to the power `k`: `10⁻³`.
pub(crate) fn power(k: i32) -> String {
    let raised = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    };
    format!("10{}", k.to_string().chars().map(raised).collect::<String>())
}

/// Formats a number with four significant digits if it is not an integer, for labels and summaries: `0.25`, `1e-3`,
/// `12000`.
pub(crate) fn brief(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let exponent = value.abs().log10().floor() as i32;
    if (-4..6).contains(&exponent) {
        let decimals = (3 - exponent).max(0) as usize;
        return trimmed(&format!("{value:.decimals$}")).to_owned();
    }
    let text = format!("{value:.2e}");
    let (head, tail) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{tail}", trimmed(head))
}

/// Formats numbers that label places: in brief, unless this hides where they lie between each other; then all with
/// as many digits as they need.
pub(crate) fn told_apart(values: &[f64]) -> Vec<String> {
    // Each may be off by a hundredth of the distance to its neighbor; differences by rounding do not count.
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let rounding = |v: f64| 1e-12 * v.abs();
    sorted.dedup_by(|b, a| *b - *a <= rounding(*b));
    let near = |v: f64| {
        let at = sorted.partition_point(|other| *other < v - rounding(v));
        let below = at.checked_sub(1).map_or(f64::INFINITY, |i| v - sorted[i]);
        let above =
            sorted[at..].iter().find(|other| **other > v + rounding(v)).map_or(f64::INFINITY, |a| a - v);
        0.01 * below.min(above)
    };
    let tells = |v: f64, text: &str| {
        text.parse().is_ok_and(|shown: f64| !v.is_finite() || (shown - v).abs() <= near(v))
    };
    let texts: Vec<String> = values.iter().map(|v| brief(*v)).collect();
    if values.iter().zip(&texts).all(|(v, text)| tells(*v, text)) {
        return texts;
    }
    // Written out where this is not longer than with an exponent.
    let plain = sorted.iter().all(|v| *v == 0.0 || (1e-4..1e15).contains(&v.abs()));
    let exact = |v: f64| {
        let digits = (3..=14).find(|digits| tells(v, &format!("{v:.digits$e}"))).unwrap_or(15);
        match plain && v.is_finite() && v != 0.0 {
            true => {
                let decimals = (digits as i32 - v.abs().log10().floor() as i32).max(0) as usize;
                trimmed(&format!("{v:.decimals$}")).to_owned()
            }
            false if v.is_finite() && v != 0.0 => {
                let text = format!("{v:.digits$e}");
                let (head, tail) = text.split_once('e').unwrap_or((&text, "0"));
                format!("{}e{tail}", trimmed(head))
            }
            false => brief(v),
        }
    };
    values.iter().map(|v| exact(*v)).collect()
}

/// Returns the number without zeros at the end of its decimals.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Replaces the sign by a typographic minus, as wide as a digit; a rounded zero loses its sign.
pub(crate) fn minus(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &Ticks) -> Vec<&str> {
        ticks.list.iter().map(|t| t.label.as_str()).filter(|l| !l.is_empty()).collect()
    }

    #[test]
    fn linear_ticks_by_hand() {
        assert_eq!(labels(&linear(0.0, 1.0, 6)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&linear(-3.2, 4.1, 5)), ["−2", "0", "2", "4"]);
        assert_eq!(labels(&linear(0.0, 400.0, 5)), ["0", "100", "200", "300", "400"]);
        assert_eq!(labels(&linear(0.05, 0.3, 7)), ["0.05", "0.10", "0.15", "0.20", "0.25", "0.30"]);
    }

    #[test]
    fn a_short_axis_has_two_ticks_or_more() {
        // Steps of 0.2 make five ticks and steps of 0.5 one, of which nobody can read a scale.
        assert_eq!(labels(&linear(-0.49, 0.49, 3)), ["−0.4", "−0.2", "0.0", "0.2", "0.4"]);
        for i in 1..200 {
            let half = 0.013 * f64::from(i);
            assert!(linear(-half, half, 3).list.len() >= 2, "{half}");
        }
    }

    #[test]
    fn large_and_small_numbers_give_away_a_power_of_ten() {
        let large = linear(0.0, 4e6, 5);
        assert_eq!((labels(&large), large.exponent), (vec!["0", "1", "2", "3", "4"], 6));
        let small = linear(0.0, 2e-5, 3);
        assert_eq!((labels(&small), small.exponent), (vec!["0", "1", "2"], -5));
    }

    #[test]
    fn the_power_of_ten_joins_the_unit() {
        let ticks = Ticks { list: Vec::new(), exponent: -5 };
        assert_eq!(ticks.with_power("loss"), "loss (×10⁻⁵)");
        assert_eq!(ticks.with_power("variance (nats)"), "variance (nats, ×10⁻⁵)");
        assert_eq!(ticks.with_power(""), "×10⁻⁵");
    }

    #[test]
    fn tick_values_are_exact_decimals() {
        let values: Vec<f64> = linear(0.0, 0.7, 8).list.iter().map(|t| t.value).collect();
        assert_eq!(values, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]);
    }

    #[test]
    fn decades_are_powers_of_ten_unless_all_of_them_are_short() {
        assert_eq!(labels(&logarithmic(1e-6, 1e2, 9)).first(), Some(&"10⁻⁶"));
        assert_eq!(labels(&logarithmic(0.005, 200.0, 6)), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(&logarithmic(1.5, 30.0, 6)), ["2", "5", "10", "20"]);
        assert_eq!(labels(&logarithmic(41.0, 44.0, 4)), ["41", "42", "43", "44"]);
        assert!(labels(&logarithmic(1e-30, 1e30, 5)).len() <= 5);
        assert!(logarithmic(1e-300, 1e300, 9).list.len() <= 9);
    }

    #[test]
    fn there_are_no_more_ticks_than_asked_for_where_two_of_them_fit() {
        for most in 2..12 {
            // The last number is the smallest count of two or more: a coarser step leaves one tick, as 2e-9 in 1e-9..3e-9.
            for (lo, hi, least) in
                [(0.0, 1.0, 2), (-7.3, 12.9, 2), (1e-9, 3e-9, 3), (1e8, 9.3e8, 4), (0.999, 1.001, 3)]
            {
                let (count, most) = (linear(lo, hi, most).list.len(), most.max(least));
                assert!(count <= most && count > 1, "{lo}..{hi}: {count} ticks where {most} were asked for");
            }
        }
    }

    #[test]
    fn labels_tell_their_values_apart() {
        let cases: [(&[f64], &[&str]); 8] = [
            (&[1e6, 1_001_000.0, 1_002_500.0], &["1000000", "1001000", "1002500"]),
            (&[10_001_000.0, 10_002_000.0], &["10001000", "10002000"]),
            (&[0.0, 0.125, 1.0 / 3.0, f64::NAN], &["0", "0.125", "0.3333", "NaN"]),
            (&[0.99991, 0.99992, 1.0], &["0.99991", "0.99992", "1"]),
            (&[-1.000001e-7, -1e-7], &["-1.000001e-7", "-1e-7"]),
            (&[1e-6, 1.0, 1e6, 2e6], &["1e-6", "1", "1e6", "2e6"]),
            (&[0.3, 0.1 + 0.2, 0.3], &["0.3", "0.3", "0.3"]),
            (&[], &[]),
        ];
        for (values, texts) in cases {
            assert_eq!(told_apart(values), texts);
        }
    }

    #[test]
    fn numbers_in_brief() {
        let cases = [(0.25, "0.25"), (1e-5, "1e-5"), (12000.0, "12000"), (-1.5, "-1.5"), (1.23456, "1.235")];
        for (value, text) in cases {
            assert_eq!(brief(value), text);
        }
    }
}
