//! Which columns of a Parquet file are the image, the class and fields.

use super::footer::{Column, Footer, Leaf, Physical};
use crate::error::{Error, Result};

/// Usual names of a column of images, the first found first.
const IMAGES: [&str; 8] = ["image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo"];

/// Usual names of a column of classes.
const LABELS: [&str; 6] = ["label", "labels", "fine_label", "class", "cls", "category"];

/// Usual names of a column of captions.
const CAPTIONS: [&str; 5] = ["text", "caption", "captions", "prompt", "txt"];

/// Columns that are wanted by name.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The column of images.
    pub image: Option<&'a str>,
    /// The column of classes; an empty name is none.
    pub label: Option<&'a str>,
    /// Columns of numbers.
    pub fields: &'a [String],
}

/// The columns of a file.
#[derive(Debug)]
pub struct Choice<'a> {
    /// Name of the column of images, and its bytes.
    pub image: (&'a str, &'a Leaf),
    /// Name of the column of classes, and its values.
    pub label: Option<(&'a str, &'a Leaf)>,
    /// Values of the fields.
    pub fields: Vec<(&'a str, &'a Leaf)>,
    /// A column of captions.
    pub caption: Option<&'a str>,
}

impl<'a> Choice<'a> {
    /// Finds the columns of a file.
    pub fn of(footer: &'a Footer, wanted: Wanted<'_>) -> Result<Self> {
        let image = image(footer, wanted.image)?;
        let label = label(footer, wanted.label)?;
        let fields = wanted.fields.iter().map(|name| field(footer, name)).collect::<Result<_>>()?;
        let is_text = |column: &&Column| column.leaves.iter().all(|leaf| leaf.is_text);
        let captions = footer.columns.iter().filter(is_text).map(|column| column.name.as_str());
        let caption = captions.into_iter().find(|name| CAPTIONS.contains(name));
        Ok(Self {
            image,
            label,
            fields,
            caption: caption.filter(|name| label.is_none_or(|(l, _)| l != *name)),
        })
    }
}

/// Returns a column by its name.
fn named<'a>(footer: &'a Footer, name: &str) -> Result<&'a Column> {
    footer.columns.iter().find(|column| column.name == name).ok_or_else(|| {
        Error::argument(format!("expected the column `{name}`, found {}", footer.listed()))
            .did_you_mean(name, footer.columns.iter().map(|column| column.name.as_str()))
    })
}

/// Returns the bytes of a column of images: of the feature `Image`, a struct of `bytes` and `path`, or of plain bytes.
fn bytes_of(column: &Column) -> Option<&Leaf> {
    column.leaves.iter().find(|leaf| {
        let is_bytes = leaf.physical == Physical::Bytes && !leaf.is_text && leaf.repeated == 0;
        is_bytes && (leaf.path.is_empty() || leaf.path == ["bytes"])
    })
}

fn image<'a>(footer: &'a Footer, name: Option<&str>) -> Result<(&'a str, &'a Leaf)> {
    if let Some(name) = name {
        let column = named(footer, name)?;
        return bytes_of(column).map(|leaf| (column.name.as_str(), leaf)).ok_or_else(|| {
            let text = format!(
                "expected images in the column `{name}`, binary or a struct of bytes, found {}",
                column.kind
            );
            let error = Error::argument(text);
            if column.kind.starts_with("list") {
                error.hint("a row has one image: write a row for each")
            } else {
                error
            }
        });
    }
    let found: Vec<(&str, &Leaf)> =
        footer.columns.iter().filter_map(|c| Some((c.name.as_str(), bytes_of(c)?))).collect();
    let usual =
        IMAGES.iter().find_map(|name| found.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)));
    match (usual, &found[..]) {
        (Some(image), _) | (None, [image]) => Ok(*image),
        (None, []) => {
            let error = Error::argument(format!("expected a column of images, found {}", footer.listed()));
            let lists = footer.columns.iter().find(|c| c.kind.starts_with("list of struct of bytes: binary"));
            Err(match lists {
                Some(column) => {
                    error.hint(format!("`{}` has several images in a row: write a row for each", column.name))
                }
                None => error.hint("images are files in a column of type binary, or of the feature `Image`"),
            })
        }
        (None, several) => {
            let names: Vec<String> = several.iter().map(|(name, _)| format!("`{name}`")).collect();
            Err(Error::argument(format!("expected one column of images, found {}", names.join(", ")))
                .hint(format!("name it: `image_column: \"{}\"`", several[0].0)))
        }
    }
}

fn label<'a>(footer: &'a Footer, name: Option<&str>) -> Result<Option<(&'a str, &'a Leaf)>> {
    let class = |column: &'a Column| match &column.leaves[..] {
        [leaf] if leaf.path.is_empty() => match leaf.physical {
            Physical::Bool | Physical::Int32 | Physical::Int64 => Some((column.name.as_str(), leaf)),
            Physical::Bytes if leaf.is_text => Some((column.name.as_str(), leaf)),
            _ => None,
        },
        _ => None,
    };
    match name {
        Some("") => Ok(None),
        Some(name) => {
            let column = named(footer, name)?;
            let text =
                format!("expected names or whole numbers in the column `{name}`, found {}", column.kind);
            class(column).map(Some).ok_or_else(|| Error::argument(text))
        }
        None => {
            let has_names = |name: &str| footer.class_names(name).is_some();
            let all: Vec<(&str, &Leaf)> = footer.columns.iter().filter_map(class).collect();
            let usual = LABELS.iter().find_map(|name| all.iter().find(|(other, _)| other == name));
            let mut of_hub = all.iter().filter(|(name, _)| has_names(name));
            Ok(usual.or_else(|| of_hub.next().filter(|_| of_hub.next().is_none())).copied())
        }
    }
}

fn field<'a>(footer: &'a Footer, name: &str) -> Result<(&'a str, &'a Leaf)> {
    let column = named(footer, name)?;
    match &column.leaves[..] {
        [leaf] if leaf.repeated <= 1 && !matches!(leaf.physical, Physical::Bytes | Physical::Other) => {
            Ok((column.name.as_str(), leaf))
        }
        _ => Err(Error::argument(format!(
            "expected numbers or lists of numbers in the column `{name}`, found {}",
            column.kind
        ))
        .hint("of text, store embeddings as lists of floats")),
    }
}
