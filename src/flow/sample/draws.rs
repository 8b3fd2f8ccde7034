//! Standard normal numbers of images, which do not depend on how the images are divided into groups and over ranks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::torch::{DType, Device, Generator, Tensor};

/// Most numbers of the images of other ranks that are drawn at once to pass over them.
const PASSED: i64 = 1 << 20;

/// Numbers of `count` images for the start and for each step. Groups of images ask for theirs in rising order.
#[derive(Debug)]
pub(in crate::flow) struct Draws {
    seed: u64,
    seeds: Vec<u64>,
    count: i64,
    shape: [i64; 3],
    /// Streams of steps whose last images have not been drawn.
    begun: Mutex<BTreeMap<Option<usize>, Stream>>,
}

impl Draws {
    /// Draws from one seed or, if there are any, from one for each image.
    pub fn new((seed, seeds): (u64, &[u64]), count: i64, shape: [i64; 3]) -> Self {
        Self { seed, seeds: seeds.to_vec(), count, shape, begun: Mutex::default() }
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<Option<usize>, Stream>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the numbers of `size` images from `first` in step `step` or, without one, for the start.
    pub fn draw(&self, step: Option<usize>, first: i64, size: i64) -> Result<Tensor> {
        let [channels, height, width] = self.shape;
        if self.seeds.is_empty() {
            let begun = self.begun().remove(&step);
            let mut stream = match begun {
                Some(stream) if stream.next <= first => stream,
                _ => Stream::new(of_step(self.seed, step), self.count, channels * height * width)?,
            };
            let numbers = stream.images(first, size)?;
            if stream.next < self.count {
                self.begun().insert(step, stream);
            }
            return numbers.reshape(&[size, channels, height, width]);
        }
        let own = &self.seeds[first as usize..(first + size) as usize];
        let each = own.iter().map(|seed| {
            let generator = Generator::new(of_step(*seed, step), Device::Cpu)?;
            randn(channels * height * width, &generator)?.reshape(&[1, channels, height, width])
        });
        Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)
    }
}

/// Returns the seed of a step; streams of different steps are unrelated.
fn of_step(seed: u64, step: Option<usize>) -> u64 {
    step.map_or(seed, |step| seed.wrapping_add((step as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

fn randn(numbers: i64, generator: &Generator) -> Result<Tensor> {
    Tensor::randn(&[numbers], DType::Float32, Device::Cpu, Some(generator))
}

/// The numbers of one `randn` for all images, drawn piece by piece.
///
/// libtorch makes normal numbers in blocks of 16 and the end of a tensor in a different way, so every piece but the last
/// is a multiple of 16 long, and the last is longer than a block.
#[derive(Debug)]
struct Stream {
    generator: Generator,
    /// Images, and numbers of each.
    count: i64,
    width: i64,
    /// First image that has not been returned.
    next: i64,
    /// Numbers from there that have been drawn.
    ahead: Option<Tensor>,
}

impl Stream {
    fn new(seed: u64, count: i64, width: i64) -> Result<Self> {
        Ok(Self { generator: Generator::new(seed, Device::Cpu)?, count, width, next: 0, ahead: None })
    }

    /// Returns the numbers of `size` images from `first`, which is not before `next`.
    fn images(&mut self, first: i64, size: i64) -> Result<Tensor> {
        let most = (PASSED / self.width).max(16);
        while self.next < first {
            self.take((first - self.next).min(most))?;
        }
        self.take(size)
    }

    /// Returns the numbers of the next images.
    fn take(&mut self, size: i64) -> Result<Tensor> {
        const BLOCK: i64 = 16;
        let wanted = size * self.width;
        let held = self.ahead.as_ref().map_or(0, |ahead| ahead.count() as i64);
        let mut numbers = self.ahead.take();
        if held < wanted {
            let left = (self.count - self.next) * self.width - held;
            let whole = (wanted - held + BLOCK - 1) / BLOCK * BLOCK;
            // What is left after this piece would be too short for a piece of its own.
            let piece = if left - whole < BLOCK && left % BLOCK != 0 { left } else { whole.min(left) };
            let drawn = randn(piece, &self.generator)?;
            numbers = Some(match numbers {
                Some(held) => Tensor::cat(&[held, drawn], 0)?,
                None => drawn,
            });
        }
        let numbers = numbers.map_or_else(|| randn(0, &self.generator), Ok)?;
        let (drawn, rest) = (numbers.count() as i64, numbers.count() as i64 - wanted);
        self.next += size;
        if rest > 0 {
            self.ahead = Some(numbers.narrow(0, drawn - rest, rest)?.copy()?);
        }
        numbers.narrow(0, 0, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_numbers_of_one_draw() {
        for (count, shape) in [
            (7, [3, 4, 4]),
            (23, [1, 1, 1]),
            (9, [1, 1, 1]),
            (16, [1, 1, 3]),
            (37, [3, 5, 7]),
            (5, [1, 3, 3]),
        ] {
            let generator = Generator::new(of_step(3, Some(2)), Device::Cpu).unwrap();
            let [c, h, w] = shape;
            let all =
                Tensor::randn(&[count, c, h, w], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
            for batch in [1, 2, 3, 5, 8, 16, 50] {
                // Each of two ranks passes over the images of the other.
                for skip in [0, count / 2] {
                    let draws = Draws::new((3, &[]), count, shape);
                    for first in (0..count).step_by(batch as usize).filter(|first| *first >= skip) {
                        let size = batch.min(count - first);
                        let own = draws.draw(Some(2), first, size).unwrap();
                        let expected = all.narrow(0, first, size).unwrap();
                        assert!(own.equal(&expected).unwrap(), "{count} {shape:?} {batch} {skip} {first}");
                    }
                    assert!(draws.begun().is_empty());
                }
            }
        }
    }

    #[test]
    fn every_number_is_drawn_once() {
        let draws = Draws::new((0, &[]), 4096, [1, 4, 4]);
        for first in (0..4096).step_by(2) {
            draws.draw(Some(0), first, 2).unwrap();
            let begun = draws.begun();
            let ahead = begun.get(&Some(0)).map(|stream| (stream.next, stream.ahead.is_some()));
            assert_eq!(ahead, (first + 2 < 4096).then_some((first + 2, false)));
        }
    }
}
