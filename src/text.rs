//! Number and duration formatting, and wrapping of text.

pub(crate) mod api;
pub mod code;
pub mod tokens;

use sha2::{Digest, Sha256};

pub use crate::document::escape_html;
pub use crate::document::width::{shortened, width, wrapped};

/// Returns the SHA-256 of text as 64 hexadecimal digits.
pub fn sha256(content: &str) -> String {
    Sha256::digest(content.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// The smallest double has no more decimals, so further digits would be zeros.
const DECIMALS: usize = 1100;

/// Formats a number with at most `digits` significant digits, without trailing zeros: `0.25`, `12346`, `1.23e-7`. Digits
/// before the point are all kept below ten million.
///
/// ```
/// assert_eq!(spectral::text::significant(12.34567, 4), "12.35");
/// assert_eq!(spectral::text::significant(0.5, 4), "0.5");
/// assert_eq!(spectral::text::significant(1.5e-7, 4), "1.5e-7");
/// ```
pub fn significant(x: f64, digits: usize) -> String {
    if !x.is_finite() || x == 0.0 {
        return special(x);
    }
    let digits = digits.clamp(1, DECIMALS);
    let rounded = format!("{x:.*e}", digits - 1);
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    if power < -4 || x.abs() >= 10f64.powi((digits as i32).max(7)) {
        return format!("{}e{power}", trim(mantissa));
    }
    let decimals = (digits as i32 - 1 - power).max(0) as usize;
    trim(&format!("{x:.decimals$}")).to_string()
}

/// Formats a number with a fixed number of decimals; special values are spelt as scripts print them.
pub fn fixed(x: f64, decimals: usize) -> String {
    let decimals = decimals.min(DECIMALS);
    if x.is_finite() { format!("{x:.decimals$}") } else { special(x) }
}

fn special(x: f64) -> String {
    match x {
        x if x.is_nan() => "NaN".to_string(),
        0.0 => "0".to_string(),
        x if x > 0.0 => "inf".to_string(),
        _ => "-inf".to_string(),
    }
}

fn trim(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

/// Formats a mean and its standard deviation, rounded to two significant digits of the latter: `12.34 ± 0.56`.
///
/// Without a usable deviation (one sample) it returns the mean alone.
///
/// ```
/// assert_eq!(spectral::text::plus_minus(12.3412, 0.5634), "12.34 ± 0.56");
/// assert_eq!(spectral::text::plus_minus(12.3412, f64::NAN), "12.34");
/// ```
pub fn plus_minus(mean: f64, deviation: f64) -> String {
    if !mean.is_finite() || !deviation.is_finite() || deviation <= 0.0 {
        return significant(mean, 4);
    }
    // The power of ten after rounding: 0.996 becomes 1.0.
    let rounded = format!("{deviation:.1e}");
    let power: i32 = rounded.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    if (2..15).contains(&power) {
        let unit = 10f64.powi(power - 1);
        return format!("{:.0} ± {:.0}", (mean / unit).round() * unit, (deviation / unit).round() * unit);
    }
    let decimals = (1 - power).max(0) as usize;
    if decimals <= 6 || (1e-3..1e6).contains(&mean.abs()) {
        // A double has at most 17 significant digits.
        let decimals = decimals.min(17);
        return format!("{mean:.decimals$} ± {deviation:.decimals$}");
    }
    if mean == 0.0 {
        return format!("0 ± {deviation:.1e}");
    }
    // Both end at the same decimal.
    let digits = (mean.abs().log10().floor() as i32 - power + 1).clamp(0, 16) as usize;
    format!("{mean:.digits$e} ± {deviation:.1e}")
}

/// Formats seconds as a duration: `0.4 s`, `41 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_string();
    }
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Formats an integer with commas between groups of three digits: `5,496,195`.
pub fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats seconds since 1970 as UTC time, `2026-03-01T14:05:09Z`.
pub fn iso_time(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from a day number, after Howard Hinnant, "chrono-compatible low-level date algorithms".
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest % 3600 / 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_digits_than_a_number_has_are_no_fault() {
        assert_eq!(significant(0.5, usize::MAX), "0.5");
        assert_eq!(fixed(0.5, usize::MAX).trim_end_matches('0'), "0.5");
    }

    #[test]
    fn significant_digits_by_hand() {
        for (x, expected) in [
            (0.1 + 0.2, "0.3"),
            (99.996, "100"),
            (0.000_123_44, "0.0001234"),
            (123_456.0, "123456"),
            (123_456_789.0, "1.235e8"),
            (-2.0, "-2"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(significant(x, 4), expected, "{x}");
        }
    }

    #[test]
    fn plus_minus_rounds_by_the_deviation() {
        assert_eq!(plus_minus(1234.5, 67.8), "1234 ± 68");
        assert_eq!(plus_minus(0.123456, 0.00123), "0.1235 ± 0.0012");
        assert_eq!(plus_minus(1.0, 0.0), "1");
        assert_eq!(plus_minus(12.34, 0.996), "12.3 ± 1.0");
        assert_eq!(plus_minus(12.34, 9.96), "12 ± 10");
        assert_eq!(plus_minus(1234.5, 678.9), "1230 ± 680");
        assert_eq!(plus_minus(1234.5, 99.6), "1230 ± 100");
        assert_eq!(plus_minus(3.1234567, 4e-7), "3.12345670 ± 0.00000040");
        assert_eq!(plus_minus(1.23456, 1e-9), "1.2345600000 ± 0.0000000010");
        assert_eq!(plus_minus(3e-9, 2.04e-10), "3.00e-9 ± 2.0e-10");
        assert_eq!(plus_minus(-3.21e-10, 4e-9), "-3e-10 ± 4.0e-9");
        assert_eq!(plus_minus(0.0, 4e-9), "0 ± 4.0e-9");
    }

    #[test]
    fn durations_in_words() {
        let words: Vec<String> = [0.44, 41.2, 200.0, 7500.0].into_iter().map(duration).collect();
        assert_eq!(words, ["0.4 s", "41 s", "3 min 20 s", "2 h 05 min"]);
    }

    #[test]
    fn times_across_leap_days() {
        assert_eq!(iso_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso_time(1_772_374_509), "2026-03-01T14:15:09Z");
    }

    #[test]
    fn integers_are_grouped_by_thousands() {
        assert_eq!(grouped(5_496_195), "5,496,195");
        assert_eq!(grouped(-999), "-999");
    }
}
