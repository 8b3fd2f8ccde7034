//! Flow matching: the path, its loss, timestep samplers, ODE samplers, guidance.
