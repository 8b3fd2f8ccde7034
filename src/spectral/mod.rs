//! SpectralDiT's correction of a block's MLP residual: filters, gates, and their composition (arXiv 2606.18765).
//!
//! - [`basis`]: transforms of images and token grids, with gains
//! - [`filter`]: low-pass filters on the token grid, one file each
//! - [`gate`]: gates that compute the coefficients of the bands, one file each
//! - [`mod@correction`]: a filter combined with a gate
//! - [`kind`]: name, options and stored form, shared by filters and gates

pub(crate) mod api;
pub mod basis;
pub mod correction;
pub mod filter;
pub mod gate;
pub mod kind;

pub use basis::Basis;
pub use correction::Correction;
pub use correction::api::global::correction;
pub use filter::Filter;
pub use gate::Gate;
