//! Inception score: class confidence and diversity.

use super::images::vectors;
use super::metric::{Better, Family, Metric, Needs, Reading};
use crate::ensure;
use crate::error::Result;
use crate::torch::Tensor;

/// The inception score for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[
        Metric {
            name: "inception_score",
            summary: "exp of the mean divergence of each image's class distribution from their mean",
            better: Better::Higher,
            unit: "effective classes, from 1 to their number",
            source: "Salimans et al. 2016, arXiv:1606.03498, section 4",
        },
        Metric {
            name: "inception_score_std",
            summary: "standard deviation of the inception score over the splits",
            better: Better::Lower,
            unit: "effective classes",
            source: "Salimans et al. 2016, arXiv:1606.03498, section 4",
        },
    ],
    needs: Needs::Logits,
    divided: false,
    measure: |pair, _| {
        let score = |logits: &Tensor| inception_score(logits, pair.options.splits);
        let made = score(pair.made.logits()?)?;
        let real = score(pair.real.logits()?)?;
        Ok(vec![Reading::of_each(made.mean, real.mean), Reading::of_each(made.std, real.std)])
    },
};

/// Mean and population standard deviation of the score over splits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InceptionScore {
    /// Mean over the splits.
    pub mean: f64,
    /// Population standard deviation over the splits.
    pub std: f64,
}

/// Returns `exp(E KL(p(y|x) || p(y)))` of logits [N, K], over splits of consecutive images (Salimans et al. 2016).
pub fn inception_score(logits: &Tensor, splits: i64) -> Result<InceptionScore> {
    let logits = vectors(logits)?;
    let count = logits.size(0)?;
    ensure!(splits >= 1, "expected at least 1 split, found {splits}");
    ensure!(count >= splits, "{count} images are too few for {splits} splits");
    let logp = logits.log_softmax(1)?;
    let scores = (0..splits).map(|i| {
        let (start, end) = (i * count / splits, (i + 1) * count / splits);
        let part = logp.narrow(0, start, end - start)?;
        // Logarithm of the mean probability, finite even if every probability underflows.
        let marginal = part.logsumexp(&[0], true)?.sub_scalar(((end - start) as f64).ln())?;
        let divergence = part.exp()?.mul(&part.sub(&marginal)?)?.sum(&[1], false)?;
        Ok(divergence.mean(&[], false)?.item()?.exp())
    });
    let scores: Vec<f64> = scores.collect::<Result<_>>()?;
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / scores.len() as f64;
    Ok(InceptionScore { mean, std: variance.sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(rows: &[[f64; 2]]) -> Tensor {
        Tensor::from_f64(rows.as_flattened(), &[rows.len() as i64, 2]).unwrap()
    }

    #[test]
    fn sure_and_varied_answers_score_the_number_of_classes() {
        let score = inception_score(&logits(&[[2000.0, 0.0], [0.0, 2000.0]]), 1).unwrap();
        assert!((score.mean - 2.0).abs() < 1e-12 && score.std == 0.0);
    }

    #[test]
    fn equal_answers_score_one() {
        let score = inception_score(&logits(&[[0.3, 0.9]; 4]), 2).unwrap();
        assert!((score.mean - 1.0).abs() < 1e-12);
    }

    #[test]
    fn two_answers_by_hand() {
        // p = (3/4, 1/4) and (1/4, 3/4), mean (1/2, 1/2): KL = 3/4 ln 3/2 + 1/4 ln 1/2.
        let ln3 = 3f64.ln();
        let score = inception_score(&logits(&[[ln3, 0.0], [0.0, ln3]]), 1).unwrap();
        let expected = (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln()).exp();
        assert!((score.mean - expected).abs() < 1e-12);
    }

    #[test]
    fn splits_need_images() {
        assert!(inception_score(&logits(&[[0.0, 1.0]; 3]), 4).unwrap_err().message().contains("3 images"));
    }
}
