//! What every chart has besides its data: a title, reference lines, a palette and a legend.

use crate::plot::color::Palette;
use crate::plot::layer::Reference;
use crate::plot::legend::Legend;

/// What a chart has besides its data. Each builder holds one in its field `decor`, set by the methods of [`decorated!`].
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Decor {
    pub title: String,
    pub horizontal: Vec<Reference>,
    pub vertical: Vec<Reference>,
    pub palette: Palette,
    pub legend: Legend,
}

/// Gives a builder the methods that set its `decor`, with the kinds of reference lines that it can draw.
macro_rules! decorated {
    ($builder:ident: $($lines:ident),+) => {
        impl $builder {
            /// Sets the title.
            #[must_use]
            pub fn title(mut self, title: impl Into<String>) -> Self {
                self.decor.title = title.into();
                self
            }

            /// Sets the palette for data without a color of its own.
            #[must_use]
            pub fn palette(mut self, palette: $crate::plot::Palette) -> Self {
                self.decor.palette = palette;
                self
            }

            /// Sets the place of the legend.
            #[must_use]
            pub fn legend(mut self, legend: $crate::plot::Legend) -> Self {
                self.decor.legend = legend;
                self
            }

            $($crate::plot::decor::decorated! { @$lines })+
        }
    };
    (@horizontal) => {
        /// Adds a horizontal line, such as a baseline.
        #[must_use]
        pub fn horizontal(mut self, reference: $crate::plot::Reference) -> Self {
            self.decor.horizontal.push(reference);
            self
        }
    };
    (@vertical) => {
        /// Adds a vertical line, such as zero for no difference.
        #[must_use]
        pub fn vertical(mut self, reference: $crate::plot::Reference) -> Self {
            self.decor.vertical.push(reference);
            self
        }
    };
}

pub(crate) use decorated;
