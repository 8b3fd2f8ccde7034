//! Evaluation: features and metrics, each of which names what produced it.
