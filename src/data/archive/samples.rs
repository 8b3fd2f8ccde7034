//! Samples of WebDataset: files of an archive whose names are equal up to the first dot.

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
/// has a class beside it, and nothing else is wanted.
pub fn samples(listing: &Listing, folder: &Path, wanted: Wanted<'_>) -> Result<Samples> {
    let Grouped { samples, others, further } = grouped(listing, folder);
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
    if wanted.key.is_none() && wanted.fields.is_empty() && !samples.iter().any(is_labeled) {
        return Ok(found);
    }
    let by_class = wanted.key.is_some() || samples.iter().any(|sample| sample.class.is_some());
    let fields = wanted.fields;
    let lacks = |sample: &Sample| match sample {
        Sample { image: None, class, facts, arrays, .. } => {
            let belongs = class.is_some() || (wanted.key.is_some() && facts.is_some()) || !arrays.is_empty();
            belongs.then(|| "have no PNG or JPEG image".to_string())
        }
        Sample { class: None, .. } if by_class && wanted.key.is_none() => Some(format!("have no `.{CLASS}`")),
        Sample { facts: None, .. } if wanted.key.is_some() => Some(format!("have no `.{FACTS}`")),
        Sample { arrays, .. } => fields
            .iter()
            .find(|field| !arrays.contains_key(*field))
            .map(|field| format!("have no array `{field}`")),
    };
    let known = |sample: &&Sample| sample.image.is_some();
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
    let mut lacking: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut kept: Vec<(&Sample, Option<String>)> = Vec::new();
    for sample in &samples {
        let class = match (lacks(sample), by_class) {
            (Some(what), _) => Err(what),
            (None, true) if sample.image.is_some() => class_of(listing, sample, wanted.key)?,
            // Without classes of their own, they have those of folders.
            (None, _) => Ok(sample.image.and_then(|number| folder_of(listing, number, folder))),
        };
        match class {
            Err(what) => lacking.entry(what).or_insert((0, name(sample))).0 += 1,
            Ok(class) if known(&sample) => kept.push((sample, class)),
            Ok(_) => {}
        }
    }
    found.notes.extend(others.note());
    if let Some((count, first)) = further {
        found.notes.push(format!("{count} further images of samples are not read, the first is {first}"));
    }
    for (what, (count, first)) in lacking {
        let text = format!("{count} samples {what}, the first is {first}");
        if !wanted.skip {
            return Err(Error::file(listing.root(), text)
                .hint("`on_error: \"skip\"` passes over them; the archive is perhaps incomplete"));
        }
        found.notes.push(text);
    }
    if kept.is_empty() {
        let error = Error::file(listing.root(), "expected PNG or JPEG images, found none");
        return Err(match found.notes.pop() {
            Some(note) => error.hint(note),
            None => error.hint("an image and its class are files such as `0001.jpg` and `0001.cls`"),
        });
    }
    let classes: Vec<Option<String>> = kept.iter().map(|(_, class)| class.clone()).collect();
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

/// The files of an archive by sample.
#[derive(Default)]
struct Grouped {
    samples: Vec<Sample>,
    others: Others,
    /// Number of images such as `0001.mask.png`, and the first.
    further: Option<(usize, String)>,
}

/// Groups the files in a folder by their names up to the first dot, in the order of the archives.
fn grouped(listing: &Listing, folder: &Path) -> Grouped {
    let Grouped { mut samples, mut others, mut further } = Grouped::default();
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
                None if classes::OTHERS.contains(&other) => {
                    others.add(listing.item(number).path().into_owned());
                }
                None => {}
            },
        }
    }
    Grouped { samples, others, further }
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

/// Returns the first folder on the way from `folder` to an image.
fn folder_of(listing: &Listing, number: usize, folder: &Path) -> Option<String> {
    let within = folder.strip_prefix(listing.root()).unwrap_or(Path::new(""));
    let rest = Path::new(&listing.files()[number].entry.name).strip_prefix(within).ok()?;
    let mut parts = rest.components();
    parts
        .next()
        .filter(|_| parts.next().is_some())
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
}

/// Returns the class of a sample as text; the inner error says what it lacks.
fn class_of(listing: &Listing, sample: &Sample, key: Option<&str>) -> Result<Result<Option<String>, String>> {
    let part = if key.is_some() { sample.facts } else { sample.class };
    let Some(number) = part else { return Ok(Ok(None)) };
    let file = listing.item(number);
    let wrong = |text: String| Err(Error::file(file.path(), text));
    let bytes = listing.files()[number].small.as_deref().unwrap_or_default();
    let Some(key) = key else {
        let text = std::str::from_utf8(bytes).map(str::trim).unwrap_or_default();
        return match text {
            "" => wrong("expected a class as text, found none".to_string()),
            _ => Ok(Ok(Some(text.to_string()))),
        };
    };
    let facts: Value = match serde_json::from_slice(bytes) {
        Ok(facts) => facts,
        Err(error) => return wrong(format!("expected JSON, found something else: {error}")),
    };
    Ok(match facts.get(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.trim().to_string())),
        Some(Value::Number(number)) if number.is_i64() => Ok(Some(number.to_string())),
        Some(Value::Bool(flag)) => Ok(Some(flag.to_string())),
        Some(Value::Null) | None => Err(format!("have no `{key}` in their `.{FACTS}`")),
        Some(other) => return wrong(format!("expected `{key}` as a name or a whole number, found {other}")),
    })
}

/// Returns labels and the names of classes. Whole numbers are the labels themselves, names are ordered as folders are.
fn numbered(classes: &[Option<String>]) -> Result<(Vec<i64>, Vec<String>)> {
    let words: Vec<&String> = classes.iter().flatten().collect();
    if !words.is_empty() && words.len() < classes.len() {
        let without = classes.len() - words.len();
        return Err(Error::argument(format!(
            "{without} of {} images are in no folder of a class",
            classes.len()
        )));
    }
    if words.is_empty() {
        return Ok((vec![0; classes.len()], vec!["images".to_string()]));
    }
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
    let mut names: Vec<(String, ())> = words.iter().map(|word| ((*word).clone(), ())).collect();
    names.sort();
    names.dedup();
    classes::in_order(&mut names);
    let places: HashMap<&str, i64> =
        names.iter().zip(0..).map(|((name, ()), i)| (name.as_str(), i)).collect();
    let labels = words.iter().filter_map(|word| places.get(word.as_str()).copied()).collect();
    Ok((labels, names.into_iter().map(|(name, ())| name).collect()))
}
