//! Figures as data, rendered to PNG or SVG.
