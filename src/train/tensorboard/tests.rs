//! Event files, read back by a small reader of TensorFlow's formats.

use super::events::masked;
use super::*;
use crate::torch::{DType, Device};
use crate::train::tests::{model, short, train};
use crate::train::{FitOptions, Run};

/// One event: its step, and the name and bytes of its value, if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    pub step: u64,
    pub field: u64,
    pub name: String,
    pub value: Vec<u8>,
}

/// Returns the fields of a message: numbers as bytes in little-endian order.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = match tag & 7 {
            0 => {
                all.push((tag >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            5 => 4,
            _ => varint(&mut bytes) as usize,
        };
        all.push((tag >> 3, bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    all
}

fn field(message: &[u8], number: u64) -> Option<Vec<u8>> {
    fields(message).into_iter().find(|(n, _)| *n == number).map(|(_, value)| value)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Reads all files of a folder in the order of their names, and checks the checksums.
pub fn read(folder: &Path) -> Vec<Read> {
    let mut all = Vec::new();
    for name in files::list(folder).unwrap() {
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        let bytes = std::fs::read(folder.join(&name)).unwrap();
        let mut rest = &bytes[..];
        let mut first = true;
        while !rest.is_empty() {
            let length = number(&rest[..8]) as usize;
            assert_eq!(rest[8..12], masked(&rest[..8]));
            let data = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked(data));
            rest = &rest[16 + length..];
            if std::mem::take(&mut first) {
                assert_eq!(field(data, 3).unwrap(), b"brain.Event:2");
                continue;
            }
            let step = number(&field(data, 2).unwrap());
            let Some(summary) = field(data, 5) else {
                assert_eq!(number(&field(&field(data, 7).unwrap(), 1).unwrap()), 1);
                all.push(Read { step, field: 7, name: String::new(), value: Vec::new() });
                continue;
            };
            let value = field(&summary, 1).unwrap();
            let name = String::from_utf8(field(&value, 1).unwrap()).unwrap();
            let (field, value) = fields(&value).into_iter().find(|(n, _)| [2, 4, 8].contains(n)).unwrap();
            all.push(Read { step, field, name, value });
        }
    }
    all
}

fn scalars(events: &[Read], name: &str) -> Vec<(u64, f32)> {
    let own = events.iter().filter(|event| event.name == name && event.field == 2);
    own.map(|event| (event.step, f32::from_le_bytes(event.value[..].try_into().unwrap()))).collect()
}

#[test]
fn scalars_images_and_texts_are_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = TensorBoard::create(folder.path(), "me", None).unwrap();
    log.scalar("a/b", 0.5, 300).unwrap();
    let images = Tensor::from_f64(&[-1.0, 1.0, 0.0, 5.0, f64::NAN, -1.0], &[3, 1, 1, 2]).unwrap();
    log.image("x", &images, 1).unwrap();
    log.text("note", "two\nlines", 0).unwrap();
    let events = read(folder.path());
    assert_eq!(scalars(&events, "a/b"), [(300, 0.5)]);
    let [height, width, colors] = [1, 2, 3].map(|n| number(&field(&events[1].value, n).unwrap()));
    assert_eq!((height, width, colors), (2, 4, 3));
    let png = field(&events[1].value, 4).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let gray: Vec<u8> = pixels.chunks(3).map(|rgb| rgb[1]).collect();
    assert_eq!(gray, [0, 255, 128, 255, 0, 0, 0, 0]);
    assert_eq!(field(&events[2].value, 8).unwrap(), b"two\nlines");
    let flat = Tensor::zeros(&[2, 2], DType::Float32, Device::Cpu).unwrap();
    let error = log.image("x", &flat, 1).unwrap_err().message();
    assert!(error.starts_with("expected images [C, H, W] or [B, C, H, W] from -1 to 1"), "{error}");
    TensorBoard::mute().scalar("a", 1.0, 1).unwrap();
}

fn options(folder: &Path) -> FitOptions {
    FitOptions {
        tensorboard: folder.join("events").display().to_string(),
        out: folder.join("run").display().to_string(),
        log_every: 2,
        checkpoint_every: 4,
        loss_bins: 2,
        ..short()
    }
}

fn losses(run: &Run) -> Vec<(u64, f32)> {
    run.history().iter().map(|row| (row.step as u64, row.loss as f32)).collect()
}

/// The model is trained in 12 steps; what a killed process wrote after its checkpoint is gone after the resume.
#[test]
fn a_run_that_was_killed_has_every_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let events = folder.path().join("events");
    let first = train(&model(0), &FitOptions { steps: 8, ..options.clone() }).unwrap();
    assert_eq!(scalars(&read(&events), "loss"), losses(&first));
    // A process that was killed before its next checkpoint, in the middle of a record.
    let names = files::list(&events).unwrap();
    let bytes = std::fs::read(events.join(&names[0])).unwrap();
    std::fs::write(events.join(&names[0]), [&bytes[..], &bytes[bytes.len() - 40..], &[1, 2, 3]].concat())
        .unwrap();
    let run = train(&model(0), &options).unwrap();
    let read_again = read(&events);
    assert_eq!(scalars(&read_again, "loss"), losses(&run));
    assert_eq!(files::list(&events).unwrap().len(), 2);
    let starts: Vec<u64> =
        read_again.iter().filter(|event| event.field == 7).map(|event| event.step).collect();
    assert_eq!(starts, [9]);
    for name in ["lr", "grad_norm", "images_per_second"] {
        assert_eq!(scalars(&read_again, name).len(), run.history().len(), "{name}");
    }
    assert!(!scalars(&read_again, "loss_bins/1").is_empty());
    let settings = read_again.iter().find(|event| event.name == "settings").unwrap();
    let text = String::from_utf8(field(&settings.value, 8).unwrap()).unwrap();
    assert!(text.contains("| log_every | `2` |"), "{text}");
    // A run that starts over has no events of the one before.
    let run = train(&model(0), &FitOptions { resume: false, steps: 4, ..options }).unwrap();
    assert_eq!(scalars(&read(&events), "loss"), losses(&run));
}

#[test]
fn steps_without_events_leave_the_curves_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let first = train(&model(0), &FitOptions { steps: 4, ..options.clone() }).unwrap();
    let without = FitOptions { steps: 8, tensorboard: String::new(), ..options.clone() };
    train(&model(0), &without).unwrap();
    let run = train(&model(0), &options).unwrap();
    let all = losses(&run);
    let written = [&losses(&first)[..], &all[4..]].concat();
    assert_eq!(scalars(&read(&folder.path().join("events")), "loss"), written);
}

#[test]
fn a_disk_that_is_full_ends_the_run_with_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let events = Events { path: PathBuf::from("runs/events"), file, size: 0 };
    let log = TensorBoard(Some(Arc::new(Mutex::new(events))));
    let error = log.scalar("loss", 1.0, 1).unwrap_err();
    assert_eq!(error.message(), "runs/events: no space left on the disk");
}
