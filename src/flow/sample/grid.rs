//! Times between which sampling steps.

use crate::ensure;
use crate::error::Result;
use crate::flow::ode;
use crate::flow::shift::{shifted, unshifted};

/// Returns the ends of `steps` steps from `from` to `to`, which are equal before the shift.
pub(super) fn steps(from: f64, to: f64, steps: usize, shift: f64) -> Vec<f64> {
    let equal = ode::grid((unshifted(from, shift), unshifted(to, shift)), steps);
    let mut times: Vec<f64> = equal.into_iter().map(|t| shifted(t, shift)).collect();
    // The ends are exact.
    (times[0], times[steps]) = (from, to);
    times
}

/// Checks times given by a user.
pub(super) fn check(times: &[f64]) -> Result<()> {
    ensure!(times.len() >= 2, "`times` must be at least two times, found {}", times.len());
    if let Some(wrong) = times.iter().find(|t| !(0.0..=1.0).contains(*t)) {
        ensure!(false, "`times` must be from 0, noise, to 1, data, found {wrong}");
    }
    let rising = times[0] < times[1];
    let wrong = times.windows(2).find(|ends| (ends[0] < ends[1]) != rising || ends[0] == ends[1]);
    if let Some(ends) = wrong {
        ensure!(false, "`times` must all rise or all fall, found {} followed by {}", ends[0], ends[1]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_by_hand() {
        assert_eq!(steps(0.0, 1.0, 4, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        // Stable Diffusion 3 with a shift of 3: the noise level 0.5 becomes 3 * 0.5 / (1 + 2 * 0.5) = 0.75.
        assert!((steps(0.0, 1.0, 2, 3.0)[1] - 0.25).abs() < 1e-15);
        // LightningDiT with a shift of 0.3: 0.5 / (0.3 + 0.7 * 0.5).
        assert!((steps(0.0, 1.0, 2, 0.3)[1] - 0.5 / 0.65).abs() < 1e-15);
        for shift in [0.3, 3.0] {
            assert!((unshifted(shifted(0.2, shift), shift) - 0.2).abs() < 1e-15);
            let back = steps(0.9, 0.1, 5, shift);
            assert!(back.windows(2).all(|ends| ends[0] > ends[1]) && back[5] == 0.1, "{back:?}");
        }
    }

    #[test]
    fn times_that_turn_or_leave_the_interval_are_refused() {
        let message = |times: &[f64]| check(times).unwrap_err().message();
        assert!(check(&[0.0, 0.3, 1.0]).is_ok() && check(&[1.0, 0.2]).is_ok());
        assert_eq!(message(&[0.0]), "`times` must be at least two times, found 1");
        assert_eq!(message(&[0.0, 0.5, 0.4]), "`times` must all rise or all fall, found 0.5 followed by 0.4");
        assert_eq!(message(&[0.0, 0.0]), "`times` must all rise or all fall, found 0 followed by 0");
        assert_eq!(message(&[0.0, 1.5]), "`times` must be from 0, noise, to 1, data, found 1.5");
        assert!(check(&[0.0, f64::NAN]).is_err());
    }
}
