//! The handle `figure`.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::declare::Display;
use crate::error::{Error, Kind, Result};
use crate::plot::Figure;
use crate::{files, functions, scripted};

/// Folder in which `show` saves images.
const SHOWN: &str = "runs/figures";

scripted!(
    Figure,
    "figure",
    display,
    text = |figure| figure.describe(),
    document = |figure, _| { crate::document::Document::plain(&figure.describe()) },
);

/// Returns all forms; a form that cannot be drawn at the figure's size is left out.
fn display(figure: &Figure) -> Display {
    let (width, height) = figure.size();
    Display {
        text: figure.describe(),
        html: figure.to_html(width, height).ok(),
        png: figure.to_png(width, height).ok(),
        svg: figure.to_svg(width, height).ok(),
    }
}

/// Returns the figure with a check for Ctrl-C while it is drawn.
fn watched(figure: &Figure, context: &Context) -> Figure {
    let interrupt = context.interrupt.clone();
    figure.clone().watched(move || interrupt.check())
}

/// Warns about characters of the figure without a glyph, each once in a session.
fn name_missing(figure: &Figure, context: &Context) {
    // A figure that cannot be drawn fails with its own error.
    let missing = figure.missing_characters().unwrap_or_default().into_iter();
    let new: Vec<String> = missing
        .filter(|c| context.warn.is_first(&format!("glyph of {c}")))
        .map(|c| format!("{c} (U+{:04X})", u32::from(c)))
        .collect();
    if !new.is_empty() {
        context.warn.say(&format!(
            "no available font has {} {}: boxes are drawn instead; install a font that has them, or set \
             SPECTRAL_FONTS to its folder",
            if new.len() == 1 { "the character" } else { "the characters" },
            new.join(", ")
        ));
    }
}

fn save(figure: &Figure, path: &str, context: &Context) -> Result<()> {
    if [".png", ".pdf"].iter().any(|format| path.to_lowercase().ends_with(format)) {
        name_missing(figure, context);
    }
    figure.save(path)
}

/// Returns a file name in the folder of shown figures that no other process has.
fn fresh() -> Result<PathBuf> {
    files::make_dir(SHOWN)?;
    for number in 1..1_000_000_u32 {
        let path = Path::new(SHOWN).join(format!("figure-{number}.png"));
        match std::fs::File::create_new(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(files::failed(&path, &error)),
        }
    }
    Err(Error::new(Kind::File, format!("the folder `{SHOWN}` is full of figures")).hint("remove old ones"))
}

fn show(figure: &Figure, context: &Context) -> Result<()> {
    let (width, height) = figure.size();
    // Drawn first, so that a figure that cannot be drawn leaves no empty file.
    let drawn = watched(figure, context);
    let png = drawn.to_png(width, height)?;
    name_missing(&drawn, context);
    let svg = drawn.to_svg(width, height).ok();
    let display = Display { png: Some(png), svg, ..Display::text(figure.describe()) };
    if context.show(&display) {
        return Ok(());
    }
    let path = fresh()?;
    files::write(&path, display.png.unwrap_or_default()).inspect_err(|_| {
        // The empty file that took the name; what prevents its removal is the error already.
        let _ = std::fs::remove_file(&path);
    })?;
    context.print(&format!("{}\n  {}", figure.describe(), path.display()));
    Ok(())
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Writes the figure to a file; the extension, `.png`, `.svg` or `.pdf`, selects the format.
        ///
        /// A PNG has two pixels for each layout pixel. A PDF, for papers, has 1/96 inch for each, and its text, in
        /// embedded fonts, is 8 to 10.5 points high: `width: 312` fills a column of 3.25 inches. Missing folders are
        /// created, and an existing file is replaced. Fails if the figure's size leaves no room for the plot between
        /// its labels.
        ///
        /// ```rhai
        /// plot::line([3, 1, 2]).save("figures/loss.png");
        /// plot::line([3, 1, 2], #{ width: 312, height: 220 }).save("figures/loss.pdf");
        /// assert(files::exists("figures/loss.png") && files::exists("figures/loss.pdf"));
        /// ```
        fn save<cx>(figure: Figure, path: String) -> () { save(&watched(&figure, cx), &path, cx) }

        /// Returns the figure as the text of an SVG document.
        ///
        /// Text stays text, images are embedded, and there are no ids, so that several figures fit into one page.
        ///
        /// ```rhai
        /// assert(plot::line([3, 1, 2], #{ y_label: "loss" }).svg().contains("loss"));
        /// ```
        fn svg<cx>(figure: Figure) -> String {
            let (width, height) = figure.size();
            watched(&figure, cx).to_svg(width, height)
        }

        /// Returns the figure as HTML: a `<figure>` with the SVG inside and the description for screen readers.
        ///
        /// ```rhai
        /// let html = plot::line([3, 1, 2]).html();
        /// assert(html.starts_with("<figure") && html.contains("line figure: 1 series"), html);
        /// ```
        fn html<cx>(figure: Figure) -> String {
            let (width, height) = figure.size();
            watched(&figure, cx).to_html(width, height)
        }

        /// Shows the figure in the notebook or terminal, or writes it as the next PNG in `runs/figures` and prints
        /// the path.
        ///
        /// kitty, iTerm2, WezTerm, VS Code and terminals with sixel graphics show it sharply, other terminals as
        /// blocks of color; the environment variable `SPECTRAL_IMAGES` selects `kitty`, `iterm`, `sixel`,
        /// `blocks`, or `none` for the file. The file is also written if the output is not a terminal. To keep a
        /// figure, use `save`.
        ///
        /// ```rhai
        /// plot::line([3, 1, 2]).show();
        /// assert(files::exists("runs/figures/figure-1.png"));
        /// ```
        fn show<cx>(figure: Figure) -> () { show(&figure, cx) }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// Width in layout pixels; a PNG has two pixels for each.
        ///
        /// ```rhai
        /// assert_eq(plot::line([3, 1, 2], #{ width: 480 }).width, 480);
        /// ```
        fn width(figure: Figure) -> i64 { Ok(i64::from(figure.size().0)) }

        /// Height in layout pixels; a PNG has two pixels for each.
        ///
        /// ```rhai
        /// assert_eq(plot::line([3, 1, 2]).height, 400);
        /// ```
        fn height(figure: Figure) -> i64 { Ok(i64::from(figure.size().1)) }

        /// Description in one line: kind, amount of data and ranges.
        ///
        /// ```rhai
        /// assert_eq(plot::line([3, 1, 2]).description, "line figure: 1 series, x 0 to 2, y 1 to 3");
        /// ```
        fn description(figure: Figure) -> String { Ok(figure.describe()) }
    }
}
