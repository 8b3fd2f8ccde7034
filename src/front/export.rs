//! Export of a value to a file, in the format given by the file's extension.

use std::collections::BTreeMap;
use std::path::Path;

use crate::declare::{Map, Value};
use crate::error::{Error, Result};
use crate::files;
use crate::plot::Figure;
use crate::table::{FromRowsOptions, Table};
use crate::torch::{Tensor, io};

/// File formats, chosen by extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Png,
    Svg,
    Html,
    Csv,
    Markdown,
    Json,
    Npy,
    Safetensors,
    Text,
}

const FORMATS: [(&str, Format); 9] = [
    ("png", Format::Png),
    ("svg", Format::Svg),
    ("html", Format::Html),
    ("csv", Format::Csv),
    ("md", Format::Markdown),
    ("json", Format::Json),
    ("npy", Format::Npy),
    ("safetensors", Format::Safetensors),
    ("txt", Format::Text),
];

/// Returns the file extensions that a value can be written to, best first.
pub fn extensions(value: &Value) -> Vec<&'static str> {
    FORMATS.iter().filter(|(_, format)| fits(value, *format)).map(|(name, _)| *name).collect()
}

/// Writes a value to a file, completely or not at all; the extension chooses the format. Creates missing folders.
pub fn export(value: &Value, path: &Path) -> Result<()> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let format = FORMATS.iter().find(|(name, _)| *name == extension).map(|(_, format)| *format);
    match format.filter(|format| fits(value, *format)) {
        Some(format) => write(value, format, path),
        None => Err(refused(value, path, &extension)),
    }
}

fn refused(value: &Value, path: &Path, extension: &str) -> Error {
    let found = value.describe();
    let message = match extension {
        "" => "the name needs an extension, which says how to write".to_string(),
        extension => format!("{found} cannot be written as `.{extension}`"),
    };
    let names: Vec<String> = extensions(value).iter().map(|name| format!("`.{name}`")).collect();
    let (last, others) = match names.split_last() {
        Some((last, others)) => (last.as_str(), others.join(", ")),
        None => ("`.txt`", String::new()),
    };
    let list = if others.is_empty() { last.to_string() } else { format!("{others} or {last}") };
    Error::file(path, message).hint(format!("{found} goes into {list}"))
}

fn fits(value: &Value, format: Format) -> bool {
    let figure = value.downcast::<Figure>().is_some();
    match format {
        Format::Png | Format::Svg => figure,
        Format::Html => match value {
            _ if figure || table(value).is_some() => true,
            Value::Object(object) => object.display().html.is_some(),
            _ => false,
        },
        Format::Csv | Format::Markdown => table(value).is_some(),
        Format::Json => value.to_json().is_some(),
        Format::Npy => value.downcast::<Tensor>().is_some(),
        Format::Safetensors => tensors(value).is_some(),
        Format::Text => true,
    }
}

fn write(value: &Value, format: Format, path: &Path) -> Result<()> {
    // `fits` was checked before; formats without a match here are written as text.
    let text = || match value {
        Value::Str(text) => text.clone(),
        Value::Object(object) => object.text(),
        other => format!("{other:?}"),
    };
    let content = match (format, value.downcast::<Figure>(), table(value)) {
        (Format::Png, Some(figure), _) => {
            let (width, height) = figure.size();
            return files::write(path, figure.to_png(width, height)?);
        }
        (Format::Svg, Some(figure), _) => {
            let (width, height) = figure.size();
            figure.to_svg(width, height)?
        }
        (Format::Html, Some(figure), _) => {
            let (width, height) = figure.size();
            figure.to_html(width, height)?
        }
        (Format::Html, _, Some(table)) => table.to_html(),
        (Format::Html, ..) => match value {
            Value::Object(object) => object.display().html.unwrap_or_else(text),
            _ => text(),
        },
        (Format::Csv, _, Some(table)) => table.to_csv()?,
        (Format::Markdown, _, Some(table)) => table.to_markdown(),
        (Format::Json, ..) => value.to_json_lines().unwrap_or_default(),
        (Format::Npy, ..) => match value.downcast::<Tensor>() {
            Some(tensor) => return io::save_npy(path, &tensor),
            None => text(),
        },
        (Format::Safetensors, ..) => match tensors(value) {
            Some(tensors) => return io::save_safetensors(path, &tensors, &BTreeMap::new()),
            None => text(),
        },
        _ => text(),
    };
    let end = if content.ends_with('\n') { "" } else { "\n" };
    files::write(path, content + end)
}

/// Returns a table, or converts an array of maps into one.
fn table(value: &Value) -> Option<Table> {
    match value {
        Value::List(list) if !list.is_empty() => {
            let row = |v: &Value| if let Value::Map(map) = v { Some(map.clone()) } else { None };
            let rows: Vec<Map> = list.iter().map(row).collect::<Option<_>>()?;
            Table::from_rows(rows, &FromRowsOptions::default()).ok()
        }
        other => other.downcast(),
    }
}

/// Returns named tensors; a single tensor is called `x`.
fn tensors(value: &Value) -> Option<BTreeMap<String, Tensor>> {
    match value {
        Value::Map(map) if !map.is_empty() => {
            map.iter().map(|(name, v)| Some((name.clone(), v.downcast()?))).collect()
        }
        other => Some(BTreeMap::from([("x".to_string(), other.downcast()?)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;
    use crate::torch::Device;

    fn row(x: i64) -> Value {
        Value::Map([("x".to_string(), Value::Int(x))].into())
    }

    fn figure() -> Value {
        use crate::plot::{Axis, Line, Series};
        let line = Line::new(Axis::new("step"), Axis::new("loss"));
        line.series(Series::new("run", [0.0, 1.0], [2.0, 1.0])).figure().unwrap().into_value()
    }

    #[test]
    fn the_extension_says_how() {
        let folder = tempfile::tempdir().unwrap();
        let written = |value: &Value, name: &str| {
            let path = folder.path().join(name);
            export(value, &path).unwrap();
            std::fs::read(path).unwrap()
        };
        let rows = Value::List(vec![row(1), row(2)]);
        assert_eq!(written(&rows, "new/a.csv"), b"x\n1\n2\n");
        assert_eq!(written(&rows, "a.MD"), b"| x |\n| ---: |\n| 1 |\n| 2 |\n");
        assert_eq!(written(&row(3), "a.json"), b"{\n  \"x\": 3\n}\n");
        assert_eq!(written(&Value::Str("a \"b\"".to_string()), "a.txt"), b"a \"b\"\n");
        assert!(written(&figure(), "a.png").starts_with(b"\x89PNG"));
        assert!(written(&figure(), "a.svg").starts_with(b"<svg"));
        assert!(written(&figure(), "a.html").starts_with(b"<figure"));
        assert_eq!(written(&figure(), "a.txt"), b"line figure: 1 series, x 0 to 1 (step), y 1 to 2 (loss)\n");
    }

    #[test]
    fn tensors_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let tensor = Tensor::from_f32(&[1.0, 2.0], &[2]).unwrap();
        let path = folder.path().join("x.npy");
        export(&tensor.clone().into_value(), &path).unwrap();
        assert_eq!(io::load_npy(&path, Device::Cpu).unwrap().to_f64().unwrap(), [1.0, 2.0]);
        let path = folder.path().join("x.safetensors");
        export(&tensor.clone().into_value(), &path).unwrap();
        assert!(io::load_safetensors(&path, Device::Cpu).unwrap().tensors.contains_key("x"));
        assert_eq!(extensions(&tensor.into_value()), ["html", "npy", "safetensors", "txt"]);
    }

    #[test]
    fn what_does_not_go_is_refused_with_what_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let error = export(&figure(), &path).unwrap_err();
        assert!(error.message().contains("a figure cannot be written as `.csv`"), "{error}");
        assert_eq!(error.hint_text(), Some("a figure goes into `.png`, `.svg`, `.html` or `.txt`"));
        assert!(!path.exists());
        let error = export(&Value::Int(1), &folder.path().join("a")).unwrap_err();
        assert_eq!(error.hint_text(), Some("the integer 1 goes into `.json` or `.txt`"));
        assert!(export(&Value::Int(1), &folder.path().join("a.xyz")).is_err());
    }
}
