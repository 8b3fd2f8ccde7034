//! Edge and detail statistics of images, by Sobel and Laplacian filters.

use super::Images;
use super::metric::{Better, Family, Metric, Needs, Reading};
use crate::context::Context;
use crate::error::Result;
use crate::torch::Tensor;

const SOBEL: &str = "Sobel and Feldman 1968, 3 x 3 operator";

/// Sobel and Laplacian statistics for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[
        Metric {
            name: "sobel_mean",
            summary: "mean magnitude of the Sobel gradient: how strong edges are",
            better: Better::Real,
            unit: "8 gray steps per pixel, gray in [0, 1]",
            source: SOBEL,
        },
        Metric {
            name: "sobel_std",
            summary: "standard deviation of that magnitude within each image, averaged",
            better: Better::Real,
            unit: "8 gray steps per pixel, gray in [0, 1]",
            source: SOBEL,
        },
        Metric {
            name: "laplacian_abs",
            summary: "mean absolute four-neighbor Laplacian: how much fine detail there is",
            better: Better::Real,
            unit: "gray per square pixel, gray in [0, 1]",
            source: "four-neighbor discrete Laplacian",
        },
    ],
    needs: Needs::Pixels,
    divided: false,
    measure: |pair, cx| {
        let (made, real) = (edge_statistics(pair.made.images, cx)?, edge_statistics(pair.real.images, cx)?);
        Ok(vec![
            Reading::of_each(made.sobel_mean, real.sobel_mean),
            Reading::of_each(made.sobel_std, real.sobel_std),
            Reading::of_each(made.laplacian_abs, real.laplacian_abs),
        ])
    },
};

/// Sobel and Laplacian statistics of a set of images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdgeStatistics {
    /// Mean Sobel magnitude.
    pub sobel_mean: f64,
    /// Population standard deviation of the Sobel magnitude in each image, averaged over the images.
    pub sobel_std: f64,
    /// Mean absolute Laplacian.
    pub laplacian_abs: f64,
}

/// Returns the statistics of the gray images in [0, 1], padded with zeros.
pub fn edge_statistics(images: &Images, cx: &Context) -> Result<EdgeStatistics> {
    let (mut mean, mut std, mut laplacian) = (0.0, 0.0, 0.0);
    images.gray_chunks(cx, |gray| {
        let (height, width) = (gray.size(1)?, gray.size(2)?);
        let padded = gray.pad(&[1, 1, 1, 1], "constant", 0.into())?;
        let at = |dy: i64, dx: i64| padded.narrow(1, 1 + dy, height)?.narrow(2, 1 + dx, width);
        // Difference in one direction, smoothed in the other with weights 1, 2, 1.
        let slope = |side: &dyn Fn(i64, i64) -> Result<Tensor>| {
            let edge = |along: i64| side(along, 1)?.sub(&side(along, -1)?);
            edge(-1)?.add(&edge(0)?.mul_scalar(2.0)?)?.add(&edge(1)?)
        };
        let (gx, gy) = (slope(&at)?, slope(&|along, across| at(across, along))?);
        let magnitude = gx.square()?.add(&gy.square()?)?.add_scalar(1e-12)?.sqrt()?.flatten(1, 2)?;
        let neighbors = at(-1, 0)?.add(&at(1, 0)?)?.add(&at(0, -1)?)?.add(&at(0, 1)?)?;
        let curvature = neighbors.sub(&gray.mul_scalar(4.0)?)?.abs()?.flatten(1, 2)?;
        let total = |per_image: Tensor| per_image.sum(&[], false)?.item();
        mean += total(magnitude.mean(&[1], false)?)?;
        std += total(magnitude.std(&[1], false, false)?)?;
        laplacian += total(curvature.mean(&[1], false)?)?;
        Ok(())
    })?;
    let count = images.count() as f64;
    Ok(EdgeStatistics { sobel_mean: mean / count, sobel_std: std / count, laplacian_abs: laplacian / count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(values: &[f64], shape: &[i64]) -> EdgeStatistics {
        let images = Images::new(&Tensor::from_f64(values, shape).unwrap()).unwrap();
        edge_statistics(&images, &Context::default()).unwrap()
    }

    #[test]
    fn one_white_pixel_among_two_by_two_by_hand() {
        // Gray 1 0 / 0 0. Sobel (gx, gy): (0, 0), (-2, 0), (0, -2), (-1, -1). Laplacian: -4, 1, 1, 0.
        let found = measure(&[1.0, -1.0, -1.0, -1.0], &[1, 1, 2, 2]);
        let magnitudes = [0.0, 2.0, 2.0, 2f64.sqrt()];
        let mean = magnitudes.iter().sum::<f64>() / 4.0;
        let std = (magnitudes.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / 4.0).sqrt();
        // The 1e-12 under the root is visible where the magnitude is zero.
        assert!((found.sobel_mean - mean).abs() < 1e-6, "{found:?}");
        assert!((found.sobel_std - std).abs() < 1e-6, "{found:?}");
        assert!((found.laplacian_abs - 1.5).abs() < 1e-15);
    }

    #[test]
    fn turning_an_image_changes_nothing() {
        let x = [0.1, -0.7, 0.3, 0.9, -0.2, 0.5, -1.0, 0.0, 0.4];
        let turned: Vec<f64> = (0..9).map(|i| x[(i % 3) * 3 + i / 3]).collect();
        let (a, b) = (measure(&x, &[1, 1, 3, 3]), measure(&turned, &[1, 1, 3, 3]));
        assert!((a.sobel_mean - b.sobel_mean).abs() < 1e-12 && (a.sobel_std - b.sobel_std).abs() < 1e-12);
        assert!((a.laplacian_abs - b.laplacian_abs).abs() < 1e-12);
    }

    #[test]
    fn color_counts_by_its_brightness() {
        let gray = measure(&[1.0, -1.0, -1.0, 1.0], &[1, 1, 2, 2]);
        let color = measure(&[1.0, -1.0, -1.0, 1.0].repeat(3), &[1, 3, 2, 2]);
        assert!((gray.sobel_mean - color.sobel_mean).abs() < 1e-12);
    }
}
