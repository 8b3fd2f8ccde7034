//! Colors: the Okabe-Ito palette for distinct things, color maps for magnitudes.
//!
//! Viridis and magma (van der Walt and Smith) and cividis (Nunez, Anderton and Renslow, 2018) are sampled at 33
//! points and interpolated in sRGB, with a difference of at most six of 255 levels from the originals. The
//! diverging map is computed in Oklab (Ottosson, 2020): lightness falls evenly on both sides, blue below and red
//! above, so the two signs differ under every common color blindness, and the size of a value remains visible in
//! grayscale print.

use crate::declare::Choice;
use crate::error::{Error, Result};

/// A color as 8-bit sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    /// Red, 0 to 255.
    pub red: u8,
    /// Green, 0 to 255.
    pub green: u8,
    /// Blue, 0 to 255.
    pub blue: u8,
}

impl Color {
    /// Black, for the reference that everything is compared with.
    pub const BLACK: Self = Self::hex(0x000000);
    /// White.
    pub const WHITE: Self = Self::hex(0xffffff);
    /// Medium gray, for baselines.
    pub const GRAY: Self = Self::hex(0x666666);

    /// Creates a color from `0xrrggbb`.
    pub const fn hex(rgb: u32) -> Self {
        Self { red: (rgb >> 16) as u8, green: (rgb >> 8) as u8, blue: rgb as u8 }
    }

    /// Parses a color from `#rrggbb` or the name of a palette entry (`blue`, `vermillion`, `green`, `purple`,
    /// `orange`, `sky`, `yellow`, `black`, `gray`, `white`).
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(digits) = text.strip_prefix('#')
            && digits.len() == 6
            && let Ok(rgb) = u32::from_str_radix(digits, 16)
        {
            return Ok(Self::hex(rgb));
        }
        let american = if text == "grey" { "gray" } else { text }; // old-spelling
        NAMED.iter().find(|(name, _)| *name == american).map(|(_, color)| *color).ok_or_else(|| {
            Error::argument(format!("`{text}` is not a color: expected `#rrggbb` or a name"))
                .did_you_mean(text, NAMED.iter().map(|(name, _)| *name))
        })
    }

    /// Returns the relative luminance after WCAG 2, from 0 for black to 1 for white.
    pub fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }

    /// Returns the color at the fraction `part` between this one and `other`, mixed in sRGB.
    pub fn mix(self, other: Self, part: f64) -> Self {
        let blend = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
        Self {
            red: blend(self.red, other.red),
            green: blend(self.green, other.green),
            blue: blend(self.blue, other.blue),
        }
    }

    /// Returns black or white, whichever is more readable on this color.
    pub fn readable_text(self) -> Self {
        if self.luminance() > 0.26 { Self::hex(0x1a1a1a) } else { Self::WHITE }
    }
}

const NAMED: [(&str, Color); 10] = [
    ("blue", OKABE_ITO[0]),
    ("vermillion", OKABE_ITO[1]),
    ("green", OKABE_ITO[2]),
    ("purple", OKABE_ITO[3]),
    ("orange", OKABE_ITO[4]),
    ("sky", OKABE_ITO[5]),
    ("yellow", OKABE_ITO[6]),
    ("black", Color::BLACK),
    ("gray", Color::GRAY),
    ("white", Color::WHITE),
];

/// Okabe and Ito's palette (2008), reordered so that the first four differ most on white paper.
pub(crate) const OKABE_ITO: [Color; 8] = [
    Color::hex(0x0072b2),
    Color::hex(0xd55e00),
    Color::hex(0x009e73),
    Color::hex(0xcc79a7),
    Color::hex(0xe69f00),
    Color::hex(0x56b4e9),
    Color::hex(0xf0e442),
    Color::hex(0x000000),
];

/// Choice of colors for the series of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Palette {
    /// Okabe-Ito colors, for series that are distinct things.
    #[default]
    Distinct,
    /// Steps along a color map, for series that are ordered values of one quantity, such as cutoffs.
    Ordered(ColorMap),
}

impl Palette {
    /// Returns the color of series `index` of `count`.
    pub fn color(self, index: usize, count: usize) -> Color {
        match self {
            Self::Distinct => OKABE_ITO[index % OKABE_ITO.len()],
            Self::Ordered(ColorMap::Diverging) => ColorMap::Diverging.at(fraction(index, count)),
            // The light end of a sequential map is invisible on white paper, so it is left out.
            Self::Ordered(map) => map.at(0.02 + 0.8 * fraction(index, count)),
        }
    }
}

fn fraction(index: usize, count: usize) -> f64 {
    if count < 2 { 0.3 } else { index as f64 / (count - 1) as f64 }
}

/// Map from 0..1 to colors, readable with color blindness and in grayscale print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum ColorMap {
    /// Dark violet through green to yellow; the default for magnitudes.
    #[default]
    Viridis,
    /// Dark blue to yellow, the same for readers with and without color blindness.
    Cividis,
    /// Black through magenta to cream.
    Magma,
    /// Blue below, near-white at the center, red above; for signed values.
    Diverging,
}

impl ColorMap {
    /// Returns the color at `t`; values outside 0..1 get the end colors, NaN gets a light gray.
    pub fn at(self, t: f64) -> Color {
        if t.is_nan() {
            return Color::hex(0xd9d9d9);
        }
        let t = t.clamp(0.0, 1.0);
        match self {
            Self::Viridis => between(&VIRIDIS, t),
            Self::Cividis => between(&CIVIDIS, t),
            Self::Magma => between(&MAGMA, t),
            Self::Diverging => diverging(t),
        }
    }
}

fn between(stops: &[u32], t: f64) -> Color {
    let place = t * (stops.len() - 1) as f64;
    let low = (place as usize).min(stops.len() - 2);
    Color::hex(stops[low]).mix(Color::hex(stops[low + 1]), place - low as f64)
}

fn diverging(t: f64) -> Color {
    let side = 2.0 * t - 1.0;
    let size = side.abs();
    let lightness = 0.975 - 0.585 * size;
    // Chroma rises faster than lightness falls, so that small values already show their sign.
    let chroma = 0.145 * (size * std::f64::consts::FRAC_PI_2).sin().powf(0.9);
    let hue = if side < 0.0 { 252.0 - 6.0 * size } else { 40.0 - 12.0 * size };
    oklab(lightness, chroma * f64::to_radians(hue).cos(), chroma * f64::to_radians(hue).sin())
}

fn oklab(lightness: f64, a: f64, b: f64) -> Color {
    let long = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let medium = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let short = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let encode = |c: f64| {
        let c = c.clamp(0.0, 1.0);
        let s = if c <= 0.003_130_8 { 12.92 * c } else { 1.055 * c.powf(1.0 / 2.4) - 0.055 };
        (s * 255.0).round() as u8
    };
    Color {
        red: encode(4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short),
        green: encode(-1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short),
        blue: encode(-0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701_0 * short),
    }
}

#[rustfmt::skip]
const VIRIDIS: [u32; 33] = [
    0x440154, 0x470d60, 0x48186a, 0x482374, 0x472d7b, 0x453681, 0x424086, 0x3f4989, 0x3b528b, 0x375a8d, 0x33638d,
    0x2f6a8e, 0x2c728e, 0x297a8e, 0x26818e, 0x23898e, 0x21908c, 0x1f988b, 0x1f9f88, 0x21a685, 0x28ae80, 0x31b57b,
    0x3ebc74, 0x4cc26c, 0x5dc963, 0x6ece58, 0x82d34c, 0x96d83f, 0xabdc32, 0xc0df24, 0xd5e21a, 0xeae51a, 0xfde725,
];
#[rustfmt::skip]
const CIVIDIS: [u32; 33] = [
    0x00224e, 0x00285b, 0x002e6a, 0x043371, 0x1a386f, 0x273e6e, 0x32436d, 0x3b496c, 0x434e6c, 0x4b546c, 0x52596d,
    0x5a5f6e, 0x61656f, 0x686a71, 0x6f7073, 0x757676, 0x7c7b78, 0x848179, 0x8b8778, 0x938d78, 0x9b9376, 0xa39a75,
    0xaba072, 0xb3a670, 0xbbad6c, 0xc3b469, 0xccba64, 0xd4c15f, 0xddc958, 0xe6d051, 0xefd748, 0xf8df3c, 0xfee838,
];
#[rustfmt::skip]
const MAGMA: [u32; 33] = [
    0x000004, 0x030311, 0x0a0822, 0x130d33, 0x1d1146, 0x28115a, 0x36106a, 0x430f76, 0x50127c, 0x5d177f, 0x691c81,
    0x762181, 0x822681, 0x8f2a81, 0x9c2e7f, 0xa9327d, 0xb63779, 0xc33b75, 0xcf4170, 0xdb486a, 0xe65163, 0xee5c5e,
    0xf5695c, 0xf9785d, 0xfb8761, 0xfd9668, 0xfea571, 0xfeb47b, 0xfec387, 0xfed194, 0xfde0a2, 0xfceeb0, 0xfcfdbf,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequential_maps_grow_lighter_all_the_way() {
        for map in [ColorMap::Viridis, ColorMap::Cividis, ColorMap::Magma] {
            let light: Vec<f64> = (0..=64).map(|i| map.at(f64::from(i) / 64.0).luminance()).collect();
            assert!(light.windows(2).all(|pair| pair[1] > pair[0]), "{map:?}: {light:?}");
        }
    }

    #[test]
    fn the_diverging_map_is_lightest_at_its_center_and_even_on_both_sides() {
        let map = ColorMap::Diverging;
        assert!(map.at(0.5).luminance() > 0.9);
        for i in 0..32 {
            let (near, far) = (0.5 - f64::from(i) / 64.0, 0.5 - f64::from(i + 1) / 64.0);
            assert!(map.at(near).luminance() > map.at(far).luminance());
            assert!(map.at(1.0 - near).luminance() > map.at(1.0 - far).luminance());
            assert!((map.at(far).luminance() - map.at(1.0 - far).luminance()).abs() < 0.05);
        }
        let (low, high) = (map.at(0.1), map.at(0.9));
        assert!(low.blue > low.red && high.red > high.blue);
    }

    #[test]
    fn maps_hit_their_published_ends_and_gray_out_nan() {
        assert_eq!(ColorMap::Viridis.at(0.0), Color::hex(0x440154));
        assert_eq!(ColorMap::Viridis.at(7.0), Color::hex(0xfde725));
        assert_eq!(ColorMap::Viridis.at(f64::NAN), Color::hex(0xd9d9d9));
    }

    #[test]
    fn a_color_is_read_from_digits_or_a_name() {
        assert_eq!(Color::parse("#0072B2"), Ok(OKABE_ITO[0]));
        assert_eq!(Color::parse("vermillion"), Ok(OKABE_ITO[1]));
        assert_eq!(Color::parse("blu").unwrap_err().hint_text(), Some("did you mean `blue`?"));
        assert_eq!(ColorMap::named("virdis").unwrap_err().hint_text(), Some("did you mean `viridis`?"));
    }
}
