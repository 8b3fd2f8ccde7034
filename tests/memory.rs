//! Large tensors reuse the memory of freed ones. A process of its own: the peak of use is that of a whole process.
#![cfg(test)]

use spectral::torch::{DType, Device, Tensor, memory, start};

const UNIT: i64 = 300_000;

fn make(numbers: i64) -> Tensor {
    Tensor::zeros(&[numbers], DType::Float32, Device::Cpu).unwrap()
}

/// Holds four units at a time in two ways, as attention and the feed-forward network do: a large tensor and two
/// small ones, then four small ones.
fn step() {
    for units in [&[2, 1, 1][..], &[1, 1, 1, 1]] {
        let tensors: Vec<Tensor> = units.iter().map(|count| make(count * UNIT)).collect();
        drop(tensors);
    }
}

#[test]
fn the_memory_of_each_size_is_kept_for_the_next_step_and_at_most_one_and_a_half_times_the_peak() {
    start();
    let unit = 4 * UNIT.unsigned_abs();
    let all = 6 * unit..6 * unit + 6 * 256;
    for _ in 0..3 {
        step();
        assert!(all.contains(&memory().kept), "{} is not in {all:?}", memory().kept);
    }

    // Sizes that never return.
    for size in 1..=40 {
        drop(make(UNIT + size * UNIT / 15));
        assert!(memory().kept <= all.end, "{} is more than {}", memory().kept, all.end);
    }
}
