//! Namespace `report`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::context::Context;
use crate::declare::{Map, Value};
use crate::error::Result;
use crate::report::{CaptionOptions, Report, StartOptions, commit};
use crate::table::Table;
use crate::torch::{self, device};
use crate::{functions, text};

crate::api! {
    types: [Report],
    functions: [make, parts, output],
}

fn facts(context: &Context) -> Result<Map> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let devices = match device::cuda_count() {
        0 => format!("cpu, {} threads", torch::threads()),
        count => format!("cpu, {} threads; {count} x cuda", torch::threads()),
    };
    let mut facts = vec![
        ("spectral", env!("CARGO_PKG_VERSION").to_string()),
        ("libtorch", torch::LIBTORCH_VERSION.to_string()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("devices", devices),
        ("date", text::iso_time(i64::try_from(seconds).unwrap_or(0))),
    ];
    if let Some(script) = &context.invocation.script {
        facts.push(("script", script.clone()));
    }
    facts.extend(context.invocation.sha256.clone().map(|hash| ("script_sha256", hash)));
    let here = std::env::current_dir().ok();
    facts.extend(here.and_then(|folder| commit::of(&folder)).map(|commit| ("commit", commit)));
    Ok(facts.into_iter().map(|(name, fact)| (name.to_string(), Value::Str(fact))).collect())
}

pub mod make {
    use super::*;
    functions! { in "report";
        /// Starts a report: one self-contained HTML page that grows from top to bottom.
        ///
        /// ```rhai
        /// let r = report::start("Cutoff ablation", #{ summary: "Which low-pass cutoff helps *SpectralDiT* most?" });
        /// r.section("Results");
        /// r.table(table::from_rows([#{ cutoff: 0.5, fid: 12.5 }]), #{ caption: "Mean of two seeds." });
        /// r.save("runs/report.html");
        /// assert(files::read_text("runs/report.html").contains("Mean of two seeds"));
        /// ```
        fn start(title: String, options: StartOptions) -> Report { Ok(Report::new(&title, &options)) }

        /// Returns the origin of results, in addition to their settings: program, libtorch, machine, date, the script
        /// and the SHA-256 of its text, and the commit of the git repository around the working directory, which may
        /// have changes that are not committed.
        ///
        /// ```rhai
        /// assert_eq(report::provenance().libtorch.split(".").len(), 3);
        /// ```
        fn provenance<cx>() -> Map { facts(cx) }
    }
}

pub mod parts {
    use super::*;
    functions! { methods;
        /// Starts a section; a page with three or more gets a table of contents.
        ///
        /// ```rhai
        /// let r = report::start("Notes");
        /// r.section("First findings");
        /// assert(r.to_html().contains("First findings</h2>"));
        /// ```
        fn section(report: Report, title: String) -> () {
            report.section(&title);
            Ok(())
        }

        /// Adds text in Markdown: paragraphs, headings, lists, fenced code, **bold**, *italics*, `code`, links.
        ///
        /// HTML in it is shown as text.
        ///
        /// ```rhai
        /// let r = report::start("Notes");
        /// r.text("The *low* band wins:\n\n- at 0.25\n- at 0.5");
        /// assert(r.to_html().contains("<li>at 0.25</li>"));
        /// ```
        fn text(report: Report, markdown: String) -> () {
            report.text(&markdown);
            Ok(())
        }

        /// Adds a table, with numbers to four significant digits.
        ///
        /// ```rhai
        /// let r = report::start("Notes");
        /// r.table(table::from_rows([#{ x: 1 }]), #{ caption: "One row." });
        /// assert(r.to_html().contains("<b>Table 1.</b> One row."));
        /// ```
        fn table(report: Report, table: Table, options: CaptionOptions) -> () {
            report.table(&table, &options);
            Ok(())
        }

        /// Adds a figure: a plot, the text of an SVG, or the name of a PNG or SVG file.
        ///
        /// The picture is embedded in the page; a drawing of more than 600 kB is embedded as PNG.
        ///
        /// ```rhai
        /// let r = report::start("Notes");
        /// r.figure("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", #{ caption: "Nothing." });
        /// assert(r.to_html().contains("<b>Figure 1.</b> Nothing."));
        /// ```
        fn figure(report: Report, figure: Value, options: CaptionOptions) -> () { report.figure(&figure, &options) }

        /// Adds a list of settings, and their exact values as JSON, to the foot of the page.
        ///
        /// ```rhai
        /// let r = report::start("Notes");
        /// r.settings(#{ steps: 400, cutoffs: [0.25, 0.5] });
        /// assert(r.to_html().contains("<dt>steps</dt><dd>400</dd>"));
        /// ```
        fn settings(report: Report, settings: Map) -> () { report.settings(&settings) }

        /// Adds facts about the origin of the results to the foot of the page.
        ///
        /// `report::provenance()` returns those of this program and machine; add what else matters, such as the
        /// hash of the features that a metric used.
        ///
        /// ```rhai
        /// let r = report::start("Notes");
        /// r.provenance(report::provenance() + #{ features: "small classifier, 0f3a" });
        /// assert(r.to_html().contains("<dt>features</dt><dd>small classifier, 0f3a</dd>"));
        /// ```
        fn provenance(report: Report, facts: Map) -> () {
            report.provenance(&facts);
            Ok(())
        }
    }
}

pub mod output {
    use super::*;
    functions! { methods;
        /// Returns the whole page as text.
        ///
        /// ```rhai
        /// assert(report::start("A & B").to_html().contains("<title>A &amp; B</title>"));
        /// ```
        fn to_html(report: Report) -> String { Ok(report.to_html()) }

        /// Writes the page to a file, atomically.
        ///
        /// ```rhai
        /// report::start("Notes").save("runs/notes.html");
        /// assert(files::exists("runs/notes.html"));
        /// ```
        fn save(report: Report, path: String) -> () { report.save(path) }
    }
}
