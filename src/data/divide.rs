//! Random division of a data set into disjoint parts.

use super::Dataset;
use crate::declare::{FromValue, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::rng::mix;
use crate::torch::{Device, Generator, Tensor};

/// Number that tells the draws of divisions from those of loaders with the same seed.
const DIVISION: u64 = 0x6469_7669_6465;

/// Options of `set.random_split`.
#[derive(Debug, Clone, Options)]
pub struct RandomSplitOptions {
    /// Seed of the division.
    #[option(default = 0)]
    pub seed: i64,
    /// Whether to divide each class by itself, so that every part has its share of each class, up to rounding.
    #[option(default = false)]
    pub stratify: bool,
}

/// Size of a part of a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// A number of images.
    Count(i64),
    /// A fraction of all images.
    Fraction(f64),
    /// All images that no other part has.
    Rest,
}

impl From<i64> for Share {
    fn from(count: i64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Share {
    fn from(fraction: f64) -> Self {
        Self::Fraction(fraction)
    }
}

impl FromValue for Share {
    fn label() -> String {
        "size".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Int(count) => Ok(Self::Count(*count)),
            Value::Float(fraction) => Ok(Self::Fraction(*fraction)),
            Value::Unit => Ok(Self::Rest),
            other => Err(other.mismatch("a number of images, a fraction, or `()` for the rest")),
        }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Fraction(fraction) => write!(f, "{fraction:?}"),
            Self::Rest => write!(f, "()"),
        }
    }
}

impl Dataset {
    /// Divides the set at random into disjoint parts, which together have every image once. The images of a part are in
    /// random order, and its split names the division.
    pub fn random_split(&self, parts: &[Share], options: &RandomSplitOptions) -> Result<Vec<Self>> {
        options.check()?;
        let count = self.len() as i64;
        let sizes = sizes(parts, count)?;
        let generator = Generator::new(mix(options.seed as u64, DIVISION), Device::Cpu)?;
        let order = Tensor::randperm(count, Device::Cpu, Some(&generator))?.to_i64()?;
        let places = match options.stratify {
            true => by_class(&order, &self.labels().to_i64()?, self.classes(), &sizes),
            false => in_turn(&order, &sizes),
        };
        let all = parts.iter().map(Share::to_string).collect::<Vec<_>>().join(", ");
        let how = if options.stratify { "by class with" } else { "with" };
        let about = format!("of [{all}] {how} seed {}", options.seed);
        let made = places.iter().enumerate().map(|(i, places)| {
            Ok(self.subset(places)?.with_split(&format!("{}, part {} {about}", self.split(), i + 1)))
        });
        made.collect()
    }
}

/// Returns the number of images of each part; together they are `count`.
fn sizes(parts: &[Share], count: i64) -> Result<Vec<i64>> {
    ensure!(!parts.is_empty(), "expected the sizes of the parts, found none");
    let rests = parts.iter().filter(|part| **part == Share::Rest).count();
    ensure!(rests <= 1, "only one part can take the rest, found {rests} that are `()`");
    let counts: Vec<i64> =
        parts.iter().filter_map(|p| if let Share::Count(n) = p { Some(*n) } else { None }).collect();
    let fractions: Vec<f64> =
        parts.iter().filter_map(|p| if let Share::Fraction(x) = p { Some(*x) } else { None }).collect();
    if let ([n, ..], [x, ..]) = (&counts[..], &fractions[..]) {
        return Err(Error::argument(format!("expected counts or fractions, found both {n} and {x:?}"))
            .hint("integers are numbers of images, and floats are fractions of all"));
    }
    if let Some(wrong) = counts.iter().find(|n| **n < 1) {
        return Err(Error::argument(format!("expected parts of at least one image, found {wrong}")));
    }
    if let Some(wrong) = fractions.iter().find(|x| !(**x > 0.0 && **x <= 1.0)) {
        return Err(Error::argument(format!("expected fractions above 0 and up to 1, found {wrong:?}")));
    }
    let found = match counts.is_empty() {
        true => apportioned(parts, &fractions, count)?,
        false => {
            let sum = counts.iter().fold(0i64, |sum, n| sum.saturating_add(*n));
            if sum > count || (rests == 0 && sum < count) {
                return Err(not_all(&format!("{sum} images"), &format!("{count}"), sum < count));
            }
            let size = |part: &Share| if let Share::Count(n) = part { *n } else { count - sum };
            parts.iter().map(size).collect()
        }
    };
    match found.iter().position(|size| *size == 0) {
        Some(i) => Err(Error::argument(format!("part {} would have none of the {count} images", i + 1))),
        None => Ok(found),
    }
}

/// Returns whole numbers of images for fractions: rounded down, and what remains to the largest remainders.
fn apportioned(parts: &[Share], fractions: &[f64], count: i64) -> Result<Vec<i64>> {
    // Fractions such as 0.9 and 0.1 need not have the sum 1 in binary.
    const ROUNDING: f64 = 1e-6;
    let sum: f64 = fractions.iter().sum();
    let rest = parts.contains(&Share::Rest);
    if sum > 1.0 + ROUNDING || (!rest && sum < 1.0 - ROUNDING) {
        return Err(not_all(&format!("{} of the images", (sum * 1e6).round() / 1e6), "all", sum < 1.0));
    }
    let exact = parts.iter().map(|part| match part {
        // Rounding of the sum must not make more images than there are.
        Share::Fraction(x) => x / if rest { sum.max(1.0) } else { sum } * count as f64,
        _ => (1.0 - sum).max(0.0) * count as f64,
    });
    let exact: Vec<f64> = exact.collect();
    let mut sizes: Vec<i64> = exact.iter().map(|x| (x + ROUNDING).floor() as i64).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let remainder = |i: &usize| exact[*i] - (exact[*i] + ROUNDING).floor();
    order.sort_by(|a, b| remainder(b).total_cmp(&remainder(a)));
    let left = (count - sizes.iter().sum::<i64>()).max(0) as usize;
    order.iter().cycle().take(left).for_each(|i| sizes[*i] += 1);
    Ok(sizes)
}

fn not_all(found: &str, expected: &str, fewer: bool) -> Error {
    let error = Error::argument(format!("expected parts that have {expected} together, found {found}"));
    match fewer {
        true => error.hint("a part `()` takes the rest: `set.random_split([0.1, ()])`"),
        false => error,
    }
}

/// Returns consecutive runs of `order`.
fn in_turn(order: &[i64], sizes: &[i64]) -> Vec<Vec<i64>> {
    let mut left = order;
    let take = |size: &i64| {
        let (part, others) = left.split_at((*size as usize).min(left.len()));
        left = others;
        part.to_vec()
    };
    sizes.iter().map(take).collect()
}

/// Returns the images of each part in the order of `order`, with the share of each class that the part has of all
/// images, up to rounding.
fn by_class(order: &[i64], labels: &[i64], classes: usize, sizes: &[i64]) -> Vec<Vec<i64>> {
    let mut members = vec![Vec::new(); classes];
    // Classes in random order, which decides between equal remainders.
    let mut drawn = Vec::new();
    for place in order {
        let class = labels[*place as usize] as usize;
        if members[class].is_empty() {
            drawn.push(class);
        }
        members[class].push(*place);
    }
    let mut owner = vec![0; order.len()];
    let mut left = order.len() as i128;
    // Part after part is taken from what is left, so that sizes and the sums over the classes agree exactly.
    for (part, size) in sizes.iter().enumerate() {
        let scaled = |class: &usize| members[*class].len() as i128 * i128::from(*size);
        let mut taken: Vec<(usize, usize)> =
            drawn.iter().map(|class| (*class, (scaled(class) / left) as usize)).collect();
        let mut by_remainder: Vec<usize> = (0..drawn.len()).collect();
        by_remainder.sort_by_key(|i| std::cmp::Reverse(scaled(&drawn[*i]) % left));
        let missing = *size as usize - taken.iter().map(|(_, count)| count).sum::<usize>();
        by_remainder.iter().take(missing).for_each(|i| taken[*i].1 += 1);
        for (class, count) in taken {
            let kept = members[class].len() - count;
            members[class].drain(kept..).for_each(|place| owner[place as usize] = part);
        }
        left -= i128::from(*size);
    }
    let mut parts = vec![Vec::new(); sizes.len()];
    order.iter().for_each(|place| parts[owner[*place as usize]].push(*place));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FromTensorsOptions, from_tensors};

    /// Images that are their index, of classes with 60, 30 and 10 images.
    fn hundred() -> Dataset {
        let images = Tensor::from_u8(&(0..100).collect::<Vec<_>>(), &[100, 1, 1, 1]).unwrap();
        let labels: Vec<i64> = (0..100).map(|i| i64::from(i % 10 > 5) + i64::from(i % 10 > 8)).collect();
        let labels = Tensor::from_i64(&labels, &[100]).unwrap();
        from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap()
    }

    fn places(set: &Dataset) -> Vec<u8> {
        set.stored().load().unwrap().to_u8().unwrap()
    }

    #[test]
    fn fractions_just_above_one_make_no_more_images() {
        let parts = [Share::Fraction(0.500_000_4), Share::Fraction(0.500_000_4)];
        assert_eq!(sizes(&parts, 2_500_000).unwrap(), [1_250_000, 1_250_000]);
        let parts = [Share::Fraction(0.500_000_4), Share::Fraction(0.500_000_4), Share::Rest];
        assert!(sizes(&parts, 2_500_000).is_err());
    }

    #[test]
    fn parts_are_disjoint_complete_and_determined_by_the_seed() {
        let split = |parts: &[Share], seed| {
            hundred().random_split(parts, &RandomSplitOptions { seed, stratify: false }).unwrap()
        };
        let parts = split(&[0.7.into(), 0.2.into(), 0.1.into()], 0);
        assert_eq!(parts.iter().map(Dataset::len).collect::<Vec<_>>(), [70, 20, 10]);
        let mut all: Vec<u8> = parts.iter().flat_map(places).collect();
        all.sort();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        let again = split(&[70.into(), 20.into(), 10.into()], 0);
        assert_eq!(
            parts.iter().map(places).collect::<Vec<_>>(),
            again.iter().map(places).collect::<Vec<_>>()
        );
        assert_ne!(places(&parts[2]), places(&split(&[0.7.into(), 0.2.into(), 0.1.into()], 1)[2]));
        assert_eq!(parts[1].split(), "all, part 2 of [0.7, 0.2, 0.1] with seed 0");
    }

    #[test]
    fn a_part_has_its_share_of_every_class() {
        let stratified = RandomSplitOptions { seed: 3, stratify: true };
        let parts = hundred().random_split(&[0.8.into(), 0.1.into(), Share::Rest], &stratified).unwrap();
        let counts: Vec<Vec<i64>> = parts.iter().map(|part| part.counts().unwrap()).collect();
        assert_eq!(counts, [[48, 24, 8], [6, 3, 1], [6, 3, 1]]);
        // Where it cannot be exact, it is off by less than one image, and the sizes are still exact.
        for seed in 0..20 {
            let options = RandomSplitOptions { seed, ..stratified.clone() };
            let parts = hundred().random_split(&[33.into(), Share::Rest], &options).unwrap();
            assert_eq!((parts[0].len(), parts[1].len()), (33, 67));
            for (found, exact) in parts[0].counts().unwrap().into_iter().zip([19.8, 9.9, 3.3]) {
                assert!((found as f64 - exact).abs() < 1.0, "{found} of {exact}");
            }
            let mut all: Vec<u8> = parts.iter().flat_map(places).collect();
            all.sort();
            assert_eq!(all, (0..100).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let of = |parts: &[Share]| sizes(parts, 10);
        let message = |parts: &[Share]| of(parts).unwrap_err().message();
        assert_eq!(of(&[(1.0 / 3.0).into(), (1.0 / 3.0).into(), (1.0 / 3.0).into()]).unwrap(), [4, 3, 3]);
        assert_eq!(of(&[Share::Rest, 0.25.into()]).unwrap(), [8, 2]);
        assert_eq!(of(&[Share::Rest, 4.into()]).unwrap(), [6, 4]);
        assert_eq!(message(&[0.9.into()]), "expected parts that have all together, found 0.9 of the images");
        assert_eq!(message(&[8.into(), 1.into()]), "expected parts that have 10 together, found 9 images");
        assert!(message(&[8.into(), 3.into()]).contains("found 11"));
        assert!(message(&[1.into(), 0.9.into()]).contains("found both 1 and 0.9"));
        assert!(message(&[0.0.into(), Share::Rest]).contains("found 0.0"));
        assert!(message(&[f64::NAN.into(), Share::Rest]).contains("found NaN"));
        assert!(message(&[0.99.into(), 0.01.into()]).contains("part 2 would have none of the 10 images"));
        assert!(message(&[10.into(), Share::Rest]).contains("part 2 would have none"));
        assert!(message(&[Share::Rest, Share::Rest]).contains("only one part"));
    }
}
