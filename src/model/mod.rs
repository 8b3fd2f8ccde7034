//! DiT and SpectralDiT: configuration, presets, forward, trace, accounting, weights in and out.
