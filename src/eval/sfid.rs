//! Fréchet distance of spatial features (sFID).

use super::fid::distance;
use super::metric::{Better, Family, Metric, Needs, Reading};

/// sFID for comparisons.
pub const FAMILY: Family = Family {
    metrics: &[Metric {
        name: "sfid",
        summary: "FID of spatial features (first 7 channels of an inner layer), sensitive to layout",
        better: Better::Lower,
        unit: "squared units of the features, from 0",
        source: "Nash et al. 2021, arXiv:2103.03841, section 5.2",
    }],
    needs: Needs::Spatial,
    divided: false,
    measure: |pair, _| {
        let (real, made) = (pair.real.spatial_moments("real")?, pair.made.spatial_moments("generated")?);
        distance(&real, &made).map(|d| vec![Reading::of_both(d)])
    },
};
