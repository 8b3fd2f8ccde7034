//! Comparisons as plain data and files, and comparisons of two of them.

use std::path::Path;

use super::FAMILIES;
use super::compare::metric_names;
use super::comparison::{Comparison, Entry, How, Network, Record, Settings, Side};
use super::kid::blocks_of;
use super::metric::Reading;
use crate::declare::{Choice, FromValue, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::files;
use crate::table::{FromRowsOptions, Table};

/// A setting of sampling that a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Sampling {
    /// The guidance scale.
    Guidance,
    /// The number of steps.
    Steps,
    /// The solver.
    Sampler,
    /// The decay of the averaged weights.
    Ema,
}

/// Options of [`Comparison::against`].
#[derive(Debug, Clone, Options)]
pub struct AgainstOptions {
    /// Sampling settings that may differ: any of `guidance`, `steps`, `sampler`, `ema`. Seeds may always
    /// differ.
    pub differ: Vec<Sampling>,
}

/// Numbers in a record that are not results.
const NO_RESULTS: [&str; 12] = [
    "density_k",
    "ema",
    "feature_dims",
    "guidance",
    "k",
    "kid_blocks",
    "kid_size",
    "made_count",
    "real_count",
    "splits",
    "steps",
    "threshold",
];

/// Returns whether a column of records may be a result, and not a setting or the value of the real images.
pub(super) fn is_result(name: &str) -> bool {
    let of_real = name.strip_prefix("real_").is_some_and(|rest| metric_names().contains(&rest));
    !of_real && !NO_RESULTS.contains(&name)
}

const LIKE: &str = "measure both on the same features, real images, numbers of images and options";

/// Returns an error unless rows of records were measured alike, as [`Comparison::against`] demands. Settings of sampling
/// and the columns `by` may differ; rows that are no records are not checked.
pub(super) fn refuse_unlike<'a>(mut rows: impl Iterator<Item = &'a Map>, by: &[String]) -> Result<()> {
    let is_record =
        |row: &Map| ["features", "made_count", "real_hash"].iter().all(|key| row.contains_key(*key));
    let Some(first) = rows.next().filter(|row| is_record(row)) else { return Ok(()) };
    let keys: Vec<&String> =
        first.keys().filter(|key| MEASURED.contains(&key.as_str()) && !by.contains(*key)).collect();
    for row in rows {
        let wrong = unlike(keys.iter().map(|key| (*key, &first[*key])), row);
        if !wrong.is_empty() {
            return Err(not_comparable(&wrong).hint(LIKE));
        }
    }
    Ok(())
}

/// Entries of [`Comparison::origin`] that are not settings of sampling.
const MEASURED: [&str; 16] = [
    "features",
    "feature_dims",
    "real_name",
    "real_split",
    "real_count",
    "real_hash",
    "real_resize",
    "real_statistics",
    "made_count",
    "made_resize",
    "k",
    "density_k",
    "splits",
    "kid_blocks",
    "kid_size",
    "threshold",
];

/// Returns the entries that have another value in `theirs`, with both values in words.
fn unlike<'a>(mine: impl Iterator<Item = (&'a String, &'a Value)>, theirs: &Map) -> Vec<(&'a str, String)> {
    let word = |value: &Value| match value {
        Value::Unit => "not recorded".to_string(),
        other => format!("{other:?}"),
    };
    mine.filter_map(|(key, value)| {
        let found = theirs.get(key).unwrap_or(&Value::Unit);
        let same = crate::table::key(value) == crate::table::key(found);
        (!same).then(|| (key.as_str(), format!("{key} {} and {}", word(value), word(found))))
    })
    .collect()
}

/// Returns the error that names all entries that differ.
fn not_comparable(wrong: &[(&str, String)]) -> Error {
    let texts: Vec<&str> = wrong.iter().map(|(_, text)| text.as_str()).collect();
    Error::argument(format!("not comparable: {}", texts.join("; ")))
}

impl Comparison {
    /// Returns everything as plain data: each metric by name, the real images' values as `real_..`, and how they
    /// were obtained.
    pub fn to_map(&self) -> Map {
        let mut map = self.origin();
        let record = self.record();
        let mut put = |key: &str, value: Value| map.insert(key.to_string(), value);
        for entry in &record.entries {
            put(entry.metric.name, Value::Float(entry.reading.made));
            if let Some(real) = entry.reading.real {
                put(&format!("real_{}", entry.metric.name), Value::Float(real));
            }
        }
        put("seed", record.how.seed.into_value());
        put("made_name", Value::Str(record.made.name.clone()));
        put("made_split", record.made.split.clone().into_value());
        put("notes", record.notes.clone().into_value());
        map
    }

    /// Returns what two comparable records must have in common, with the names of [`Comparison::to_map`].
    fn origin(&self) -> Map {
        let Record { features, real, made, settings, how, .. } = self.record();
        let entries = [
            ("features", self.features().into_value()),
            ("feature_dims", features.as_ref().map(|f| f.dims).into_value()),
            ("real_name", real.name.clone().into_value()),
            ("real_split", real.split.clone().into_value()),
            ("real_count", real.count.into_value()),
            ("real_hash", real.hash.clone().into_value()),
            ("real_resize", real.resize.clone().into_value()),
            ("real_statistics", real.statistics.clone().into_value()),
            ("made_count", made.count.into_value()),
            ("made_resize", made.resize.clone().into_value()),
            ("guidance", how.guidance.into_value()),
            ("steps", how.steps.into_value()),
            ("sampler", how.sampler.clone().into_value()),
            ("ema", how.ema.into_value()),
            ("k", settings.k.into_value()),
            ("density_k", settings.density_k.into_value()),
            ("splits", settings.splits.into_value()),
            ("kid_blocks", settings.kid_blocks.into_value()),
            ("kid_size", settings.kid_size.into_value()),
            ("threshold", settings.threshold.into_value()),
        ];
        entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    /// Creates a comparison from the data of [`Comparison::to_map`].
    pub fn from_map(map: &Map) -> Result<Self> {
        fn get<T: FromValue>(map: &Map, key: &str) -> Result<T> {
            let value =
                map.get(key).ok_or_else(|| Error::argument(format!("the record has no entry `{key}`")))?;
            T::from_value(value).map_err(|e| e.context(format!("entry `{key}`")))
        }
        // Earlier versions stored floats without a JSON form as texts.
        let float = |value: &Value| match value.to_json() {
            Some(json) => f64::from_value(&Value::from_json(&json)?),
            None => f64::from_value(value),
        };
        let entry = |metric: &'static super::Metric| {
            let made = map.get(metric.name)?;
            let real = map.get(&format!("real_{}", metric.name)).map(float).transpose();
            Some(float(made).and_then(|made| Ok(Entry { metric, reading: Reading { made, real: real? } })))
        };
        let label: Option<String> = get(map, "features")?;
        let features = match label.as_deref().and_then(|l| l.rsplit_once('@')) {
            Some((name, hash)) => Some(Network {
                name: name.to_string(),
                hash: hash.to_string(),
                dims: get(map, "feature_dims")?,
            }),
            None => None,
        };
        let american = |text: &str| text.replace("grey", "gray").replace("normalised", "normalized"); // old-spelling
        let side = |side: &str, hash: String| -> Result<Side> {
            let key = |part: &str| format!("{side}_{part}");
            Ok(Side {
                name: get(map, &key("name"))?,
                split: get(map, &key("split"))?,
                count: get(map, &key("count"))?,
                resize: american(&get::<String>(map, &key("resize"))?),
                // Earlier versions read no statistics.
                statistics: get(map, &key("statistics")).unwrap_or_default(),
                hash,
            })
        };
        let counts: [i64; 2] = [get(map, "real_count")?, get(map, "made_count")?];
        let kid_size = get(map, "kid_size")?;
        // Earlier versions recorded the blocks that were asked for.
        let kid_blocks = blocks_of(counts, get(map, "kid_blocks")?, kid_size);
        Ok(Self::new(Record {
            entries: FAMILIES.iter().flat_map(|f| f.metrics).filter_map(entry).collect::<Result<_>>()?,
            features,
            real: side("real", get(map, "real_hash")?)?,
            made: side("made", String::new())?,
            settings: Settings {
                k: get(map, "k")?,
                density_k: get(map, "density_k")?,
                splits: get(map, "splits")?,
                kid_blocks,
                kid_size,
                threshold: get(map, "threshold")?,
            },
            how: How {
                seed: get(map, "seed")?,
                guidance: get(map, "guidance")?,
                steps: get(map, "steps")?,
                sampler: get(map, "sampler")?,
                ema: get(map, "ema")?,
            },
            notes: get(map, "notes")?,
        }))
    }

    /// Writes everything as JSON, or as CSV with one row if the path ends in `.csv`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let map = self.to_map();
        match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => {
                let names = self.record().entries.iter().map(|e| e.metric.name.to_string()).collect();
                Table::from_rows(vec![map], &FromRowsOptions { columns: names })?.save_csv(path)
            }
            Some("json") => {
                let text = Value::Map(map)
                    .to_json_lines()
                    .ok_or_else(|| Error::internal("a record is not plain data"))?;
                files::write(path, text + "\n")
            }
            _ => Err(Error::argument(format!(
                "expected a path that ends in .json or .csv, found {}",
                path.display()
            ))),
        }
    }

    /// Reads a JSON file of [`Comparison::save`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = files::read_text(path)?;
        let value = Value::from_json_text(&text).map_err(|e| {
            Error::file(path, format!("not JSON: {e}")).hint("write it with `found.save(\"x.json\")`")
        })?;
        match value {
            Value::Map(map) => Self::from_map(&map).map_err(|e| e.in_file(path)),
            other => Err(Error::file(path, format!("expected a record, found {}", other.describe()))),
        }
    }

    /// Returns a table of this comparison against another, metric by metric; an error if they are not comparable.
    ///
    /// Both must have the same features, the same real images, the same number of generated images, the same
    /// preparation and the same options. The sampling settings must be the same too, except those in `differ`.
    pub fn against(&self, other: &Comparison, options: &AgainstOptions) -> Result<Table> {
        options.check()?;
        let (mine, theirs) = (self.origin(), other.origin());
        let may = |key: &str| options.differ.iter().any(|setting| setting.name() == key);
        let wrong = unlike(mine.iter().filter(|(key, _)| !may(key)), &theirs);
        if !wrong.is_empty() {
            let on_purpose = wrong.iter().any(|(key, _)| Sampling::NAMES.contains(key));
            return Err(not_comparable(&wrong).hint(match on_purpose {
                true => {
                    "what differs on purpose is named in option `differ`; everything else must be the same"
                }
                false => LIKE,
            }));
        }
        let table = ["metric", "this", "other", "difference", "better"].map(str::to_string).to_vec();
        let table = Table::new(table)?;
        for Entry { metric, reading } in &self.record().entries {
            let Ok(there) = other.value(metric.name) else { continue };
            table.push(Map::from([
                ("metric".to_string(), metric.name.into_value()),
                ("this".to_string(), reading.made.into_value()),
                ("other".to_string(), there.into_value()),
                ("difference".to_string(), (reading.made - there).into_value()),
                ("better".to_string(), metric.better.word().into_value()),
            ]))?;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::super::comparison::tests::example;
    use super::*;
    use crate::table::ReadCsvOptions;

    fn with(change: impl FnOnce(&mut Record)) -> Comparison {
        let mut record = example().record().clone();
        change(&mut record);
        Comparison::new(record)
    }

    #[test]
    fn a_record_comes_back_from_data_and_from_a_file() {
        let found = example();
        let again = Comparison::from_map(&found.to_map()).unwrap();
        assert_eq!(format!("{:?}", again.to_map()), format!("{:?}", found.to_map()));
        let place = tempfile::tempdir().unwrap();
        let (json, csv) = (place.path().join("a.json"), place.path().join("a.csv"));
        found.save(&json).unwrap();
        let read = Comparison::read(&json).unwrap();
        assert_eq!(format!("{:?}", read.to_map()), format!("{:?}", found.to_map()));
        found.save(&csv).unwrap();
        let row = Table::read_csv(&csv, &ReadCsvOptions::default()).unwrap().row(0).unwrap();
        for (key, text) in
            [("fid", "12.5"), ("features", "\"cnn@0123456789ab\""), ("ema", "0.999"), ("seed", "7")]
        {
            assert_eq!(format!("{:?}", row[key]), text);
        }
        assert!(found.save(place.path().join("a.txt")).unwrap_err().message().contains(".json or .csv"));
        std::fs::write(&json, "[1]").unwrap();
        assert!(Comparison::read(&json).unwrap_err().message().contains("expected a record, found an array"));
    }

    #[test]
    fn like_is_compared_with_like() {
        let other = with(|r| {
            r.entries[0].reading.made = 10.0;
            r.how.seed = Some(8);
        });
        let row = example().against(&other, &AgainstOptions::default()).unwrap().row(0).unwrap();
        assert_eq!(format!("{:?}", row["difference"]), "2.5");
    }

    #[test]
    fn unlike_records_are_refused_with_all_that_differs() {
        let refuse = |other: &Comparison, differ: &[&str]| {
            let differ = differ.iter().map(|name| Sampling::named(name).unwrap()).collect();
            let error = example().against(other, &AgainstOptions { differ }).unwrap_err();
            (error.message(), error.hint_text().unwrap().to_string())
        };
        let other = with(|r| {
            r.made.count = 49;
            r.real.split = Some("train".to_string());
        });
        let (message, hint) = refuse(&other, &[]);
        assert_eq!(message, "not comparable: made_count 50 and 49; real_split \"test\" and \"train\"");
        assert!(hint.starts_with("measure both"));
        let (message, _) = refuse(&with(|r| r.features = None), &["guidance"]);
        assert!(message.contains("features \"cnn@0123456789ab\" and not recorded"), "{message}");
        let guided = with(|r| r.how.guidance = Some(4.0));
        let (message, hint) = refuse(&guided, &["steps"]);
        assert!(message.contains("guidance 1.5 and 4.0") && hint.contains("`differ`"), "{message}\n{hint}");
        assert!(example().against(&guided, &AgainstOptions { differ: vec![Sampling::Guidance] }).is_ok());
        let other = Map::from([("differ".to_string(), ["features"].into_value())]);
        let error = AgainstOptions::from_map(&other).unwrap_err();
        assert!(error.message().contains("`differ` must be one of"), "{error}");
    }
}
