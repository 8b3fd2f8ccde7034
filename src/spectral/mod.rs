//! SpectralDiT's correction of a block's MLP residual: filters, gates, and their composition (arXiv 2606.18765).
//!
//! - [`basis`]: transforms of images and token grids, with gains
//! - [`filter`]: low-pass filters on the token grid, one file each
//! - [`gate`]: what decides the coefficients of the two bands, one file each
//! - [`mod@correction`]: a filter and a gate together
//! - [`kind`]: name, options and stored form, which filters and gates share

pub mod basis;
pub mod correction;
pub mod filter;
pub mod gate;
pub mod kind;

pub use basis::Basis;
pub use correction::{Correction, correction};
pub use filter::Filter;
pub use gate::Gate;
