//! SpectralDiT's correction of a block's MLP residual: filters, gates, and their composition (arXiv 2606.18765).
