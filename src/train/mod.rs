//! Training: one call for a whole run, and its parts: optimizer, schedule, EMA, clipping.
