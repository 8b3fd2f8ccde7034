//! Samples of WebDataset: files of an archive whose names are equal up to the first dot.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;

use super::Listing;
use super::listing::Listed;
use crate::data::classes::{self, Others, READ};
use crate::data::item::Item;
use crate::data::labels;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Ending of the file with the class of an image.
pub const CLASS: &str = "cls";
/// Ending of the file with facts about an image.
pub const FACTS: &str = "json";

/// What an archive has of one image, as numbers of files.
#[derive(Debug, Default)]
struct Sample {
    image: Option<usize>,
    class: Option<usize>,
    facts: Option<usize>,
    /// Arrays by name: `text` of `0001.text.npy`, `npy` of `0001.npy`.
    arrays: BTreeMap<String, usize>,
    caption: bool,
}

/// Images of an archive with labels and arrays.
#[derive(Debug, Default)]
pub struct Samples {
    /// Images with their labels, in the order of the archives.
    pub images: Vec<(Item, i64)>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Arrays of each image, by name.
    pub fields: BTreeMap<String, Vec<Item>>,
    /// Columns of numbers beside the images, [N, ..], by name.
    pub columns: BTreeMap<String, Tensor>,
    /// Notes on what was left out.
    pub notes: Vec<String>,
}

/// What to read beside the images.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Key of the class in `.json`; by default the class is in `.cls`.
    pub key: Option<&'a str>,
    /// Names of arrays.
    pub fields: &'a [String],
    /// Whether samples without a part are left out.
    pub skip: bool,
}

/// Returns the samples in a folder of archives. There are none, but perhaps notes, if these hold folders of images: no image
/// has a class beside it, and no key of a class is wanted.
pub fn samples(listing: &Listing, folder: &Path, wanted: Wanted<'_>) -> Result<Samples> {
    let Grouped { samples, others, further, further_classes } = grouped(listing, folder);
    let name = |sample: &Sample| {
        let part = sample.image.or(sample.class).or(sample.facts);
        part.map_or(String::new(), |number| listing.item(number).path().display().to_string())
    };
    let is_labeled = |sample: &Sample| sample.image.is_some() && sample.class.is_some();
    let mut found = Samples::default();
    let captions = samples.iter().filter(|sample| sample.image.is_some() && sample.caption).count();
    if captions > 0 {
        found.notes.push(format!(
            "the captions (.txt) of {captions} images are not read: encode them elsewhere and store the embeddings as \
             `.npy`, which `fields` reads"
        ));
    }
    if let Some((count, first)) = further_classes {
        let files = if count == 1 { "file" } else { "files" };
        found.notes.push(format!(
            "{count} `.{CLASS}` {files} of names with a further dot, such as {first}, are not read: an image and its class \
             have equal names up to the first dot"
        ));
    }
    if wanted.key.is_none() && !samples.iter().any(is_labeled) {
        return Ok(found);
    }
    let fields = wanted.fields;
    let lacks = |sample: &Sample| match sample {
        Sample { image: None, class, facts, arrays, .. } => {
            let belongs = class.is_some() || (wanted.key.is_some() && facts.is_some()) || !arrays.is_empty();
            belongs.then(|| "no PNG, JPEG or WebP image".to_string())
        }
        Sample { class: None, .. } if wanted.key.is_none() => Some(format!("no `.{CLASS}`")),
        Sample { facts: None, .. } if wanted.key.is_some() => Some(format!("no `.{FACTS}`")),
        sample => lacking_array(sample, fields),
    };
    check_fields(listing, &samples, fields)?;
    let mut lacking = Lacking::default();
    let mut kept: Vec<(&Sample, String)> = Vec::new();
    for sample in &samples {
        let class = match lacks(sample) {
            Some(what) => Err(what),
            None if sample.image.is_none() => continue,
            None => match class_of(listing, sample, wanted.key) {
                Err(_) if wanted.skip => Err("a class that cannot be read".to_string()),
                class => class?,
            },
        };
        match class {
            Err(what) => lacking.add(what, || name(sample)),
            Ok(class) => kept.push((sample, class)),
        }
    }
    found.notes.extend(others.note());
    if let Some((count, first)) = further {
        found.notes.push(format!("{count} further images of samples are not read, the first is {first}"));
    }
    found.notes.extend(lacking.notes(listing, wanted.skip)?);
    if kept.is_empty() {
        let error = Error::file(listing.root(), "expected PNG, JPEG or WebP images, found none");
        return Err(match found.notes.pop() {
            Some(note) => error.hint(note),
            None => error.hint("an image and its class are files such as `0001.jpg` and `0001.cls`"),
        });
    }
    let classes: Vec<String> = kept.iter().map(|(_, class)| class.clone()).collect();
    let (labels, names) = numbered(&classes).map_err(|e| e.in_file(listing.root()))?;
    found.classes = names;
    for ((sample, _), label) in kept.iter().zip(labels) {
        if let Some(image) = sample.image {
            found.images.push((listing.item(image), label));
        }
        for field in fields {
            if let Some(number) = sample.arrays.get(field) {
                found.fields.entry(field.clone()).or_default().push(listing.item(*number));
            }
        }
    }
    Ok(found)
}

/// Returns images of an archive, given by their numbers, with the arrays beside them. Their labels come from elsewhere.
pub fn beside(
    listing: &Listing,
    folder: &Path,
    images: Vec<(usize, i64)>,
    wanted: Wanted<'_>,
) -> Result<Samples> {
    let samples = grouped(listing, folder).samples;
    check_fields(listing, &samples, wanted.fields)?;
    let of_image: HashMap<usize, &Sample> =
        samples.iter().filter_map(|sample| Some((sample.image?, sample))).collect();
    let (mut found, mut lacking, none) = (Samples::default(), Lacking::default(), Sample::default());
    for (number, label) in images {
        let sample = of_image.get(&number).copied().unwrap_or(&none);
        if let Some(what) = lacking_array(sample, wanted.fields) {
            lacking.add(what, || listing.item(number).path().display().to_string());
            continue;
        }
        found.images.push((listing.item(number), label));
        for field in wanted.fields {
            if let Some(number) = sample.arrays.get(field) {
                found.fields.entry(field.clone()).or_default().push(listing.item(*number));
            }
        }
    }
    found.notes = lacking.notes(listing, wanted.skip)?;
    match found.images.is_empty() {
        true => Err(Error::file(listing.root(), "expected images with arrays beside them, found none")),
        false => Ok(found),
    }
}

/// Returns an error unless each field is an array of some sample.
fn check_fields(listing: &Listing, samples: &[Sample], fields: &[String]) -> Result<()> {
    for field in fields {
        let mut names: Vec<&str> = samples.iter().flat_map(|s| s.arrays.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        if !names.contains(&field.as_str()) {
            return Err(Error::file(listing.root(), format!("expected the field `{field}`, found none"))
                .did_you_mean(field, names)
                .hint("`0001.text.npy` beside `0001.jpg` is the field `text`, and `0001.npy` is the field `npy`"));
        }
    }
    Ok(())
}

/// Names the first field that a sample has no array of.
fn lacking_array(sample: &Sample, fields: &[String]) -> Option<String> {
    let field = fields.iter().find(|field| !sample.arrays.contains_key(*field))?;
    Some(format!("no array `{field}`"))
}

/// What samples lack, with their number and the first.
#[derive(Default)]
struct Lacking(BTreeMap<String, (usize, String)>);

impl Lacking {
    fn add(&mut self, what: String, name: impl FnOnce() -> String) {
        self.0.entry(what).or_insert_with(|| (0, name())).0 += 1;
    }

    /// Says what is lacking, as an error unless such samples are skipped.
    fn notes(self, listing: &Listing, skip: bool) -> Result<Vec<String>> {
        let text = |(what, (count, first)): (String, (usize, String))| match count {
            1 => format!("1 sample has {what}: {first}"),
            _ => format!("{count} samples have {what}, the first is {first}"),
        };
        let notes: Vec<String> = self.0.into_iter().map(text).collect();
        match notes.first() {
            Some(text) if !skip => Err(Error::file(listing.root(), text)
                .hint("`on_error: \"skip\"` passes over them; the archive is perhaps incomplete")),
            _ => Ok(notes),
        }
    }
}

/// The files of an archive by sample.
#[derive(Default)]
struct Grouped {
    samples: Vec<Sample>,
    others: Others,
    /// Number of images such as `0001.mask.png`, and the first.
    further: Option<(usize, String)>,
    /// Number of classes such as `0001.v1.cls`, and the first.
    further_classes: Option<(usize, String)>,
}

/// Groups the files in a folder by their names up to the first dot, in the order of the archives.
fn grouped(listing: &Listing, folder: &Path) -> Grouped {
    let Grouped { mut samples, mut others, mut further, mut further_classes } = Grouped::default();
    let mut places: HashMap<(usize, &str), usize> = HashMap::new();
    let within = folder.strip_prefix(listing.root()).unwrap_or(Path::new(""));
    for (number, Listed { archive, entry, .. }) in listing.files().iter().enumerate() {
        let name = entry.name.as_str();
        let hidden = |part: &str| part.starts_with('.') || classes::is_litter(part);
        if !Path::new(name).starts_with(within) || name.split('/').any(hidden) {
            continue;
        }
        let base = name.rfind('/').map_or(0, |slash| slash + 1);
        let Some(dot) = name[base..].find('.') else { continue };
        let (key, ending) = (&name[..base + dot], name[base + dot + 1..].to_lowercase());

        match ending.as_str() {
            CLASS => sample_of(&mut samples, &mut places, (*archive, key)).class = Some(number),
            FACTS => sample_of(&mut samples, &mut places, (*archive, key)).facts = Some(number),
            "txt" => sample_of(&mut samples, &mut places, (*archive, key)).caption = true,
            "npy" => drop(
                sample_of(&mut samples, &mut places, (*archive, key))
                    .arrays
                    .insert("npy".to_string(), number),
            ),
            // Of two images of one name the first is the sample's, and the other a sample of its own.
            known if READ.contains(&known) => match sample_of(&mut samples, &mut places, (*archive, key)) {
                Sample { image: image @ None, .. } => *image = Some(number),
                _ => samples.push(Sample { image: Some(number), ..Sample::default() }),
            },
            other => match other.strip_suffix(".npy") {
                Some(name) => drop(
                    sample_of(&mut samples, &mut places, (*archive, key))
                        .arrays
                        .insert(name.to_string(), number),
                ),
                None if READ.iter().any(|known| other.ends_with(&format!(".{known}"))) => {
                    further.get_or_insert((0, name.to_string())).0 += 1;
                }
                None if other.ends_with(".cls") => {
                    further_classes.get_or_insert((0, name.to_string())).0 += 1;
                }
                None if classes::OTHERS.contains(&other) => {
                    others.add(listing.item(number).path().into_owned());
                }
                None => {}
            },
        }
    }
    Grouped { samples, others, further, further_classes }
}

/// Returns the sample of a key, which is added if it is new.
fn sample_of<'a, 'k>(
    samples: &'a mut Vec<Sample>,
    places: &mut HashMap<(usize, &'k str), usize>,
    key: (usize, &'k str),
) -> &'a mut Sample {
    let place = *places.entry(key).or_insert(samples.len());
    if place == samples.len() {
        samples.push(Sample::default());
    }
    &mut samples[place]
}

/// Returns the class of a sample as text; the inner error says what it lacks.
fn class_of(listing: &Listing, sample: &Sample, key: Option<&str>) -> Result<Result<String, String>> {
    let part = if key.is_some() { sample.facts } else { sample.class };
    let Some(number) = part else { return Err(Error::internal("the sample has no file of its class")) };
    let file = listing.item(number);
    let wrong = |text: String| Err(Error::file(file.path(), text));
    // A large file is not kept with the index, nor is a damaged one, whose error comes now.
    let bytes = match listing.files()[number].small.as_deref() {
        Some(bytes) => Cow::Borrowed(bytes),
        None => Cow::Owned(file.read()?),
    };
    let Some(key) = key else {
        let text = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
        return match text {
            "" => wrong("expected a class as text, found none".to_string()),
            _ => Ok(Ok(text.to_string())),
        };
    };
    let facts: Value = match serde_json::from_slice(&bytes) {
        Ok(facts) => facts,
        Err(error) => return wrong(format!("expected JSON, found something else: {error}")),
    };
    Ok(match facts.get(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim().to_string()),
        Some(Value::Number(number)) if number.is_i64() => Ok(number.to_string()),
        Some(Value::Bool(flag)) => Ok(flag.to_string()),
        Some(Value::Null) | None => Err(format!("no `{key}` in the `.{FACTS}`")),
        Some(other) => return wrong(format!("expected `{key}` as a name or a whole number, found {other}")),
    })
}

/// Returns labels and the names of classes. Whole numbers are the labels themselves, names are ordered as folders are.
pub(in crate::data) fn numbered(words: &[String]) -> Result<(Vec<i64>, Vec<String>)> {
    let numbers: Vec<i64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    if numbers.len() == words.len() {
        if let Some(negative) = numbers.iter().find(|n| **n < 0) {
            return Err(Error::argument(format!("expected classes from 0 up, found {negative}")));
        }
        let names = labels::class_names(&Tensor::from_i64(&numbers, &[numbers.len() as i64])?, None)?;
        return Ok((numbers, names));
    }
    let number = words.iter().find(|word| word.parse::<i64>().is_ok());
    let word = words.iter().find(|word| word.parse::<i64>().is_err());
    if let (Some(number), Some(word)) = (number, word) {
        return Err(Error::argument(format!(
            "expected whole numbers or names as classes, found both, `{number}` and `{word}`"
        )));
    }
    let mut names: Vec<(String, ())> = words.iter().map(|word| (word.clone(), ())).collect();
    names.sort();
    names.dedup();
    classes::in_order(&mut names);
    let places: HashMap<&str, i64> =
        names.iter().zip(0..).map(|((name, ()), i)| (name.as_str(), i)).collect();
    let labels = words.iter().filter_map(|word| places.get(word.as_str()).copied()).collect();
    Ok((labels, names.into_iter().map(|(name, ())| name).collect()))
}
