//! Experiment scripts, run as a user runs them, at toy size.
#![cfg(test)]

#[path = "shared/images.rs"]
mod images;
mod shared;

use std::path::Path;

use images::{prepare, write_image};
use shared::{Ran, spectral};

fn latent_experiment(folder: &Path, more: &[&str]) -> Ran {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/imagenet100_latent.rhai");
    let toy = "--image-size 16 --seeds 2 --steps 3 --batch 4 --precision float32 --depth 1 --width 32 --heads 2 \
               --samples 20 --sampling-steps 2 --device cpu --out runs/toy";
    let arguments: Vec<&str> =
        ["run", script, "--"].into_iter().chain(toy.split_whitespace()).chain(more.iter().copied()).collect();
    spectral(folder, &arguments, "")
}

#[test]
fn latents_of_an_image_folder_make_models_samples_and_a_report() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    prepare(folder);
    let given = ["--images", "images", "--vae", "vae.safetensors"];
    let ran = latent_experiment(folder, &given);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    let out = folder.join("runs/toy");
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in [
        "SpectralDiT",
        "Statistics over seeds",
        "encoded and decoded by the autoencoder",
        "radial_spectrum_gap",
    ] {
        assert!(report.contains(part), "the report lacks {part}");
    }
    let rows = std::fs::read_to_string(out.join("results.csv")).unwrap();
    assert_eq!(rows.lines().filter(|line| line.starts_with("SpectralDiT,")).count(), 2, "{rows}");
    assert_eq!(rows.lines().filter(|line| line.starts_with("DiT,")).count(), 2, "{rows}");

    // A second run must not train or encode again.
    let latents = || std::fs::metadata(out.join("latents.safetensors")).unwrap().modified().unwrap();
    let before = latents();
    let again = latent_experiment(folder, &given);
    assert_eq!((again.code, again.out.matches("finished before").count()), (Some(0), 4), "{}", again.err);
    assert_eq!(latents(), before);

    // Latents of other images must not be reused.
    write_image(&folder.join("images/owl/8.png"), 99);
    let other = latent_experiment(folder, &given);
    assert_eq!(other.code, Some(1), "{}", other.out);
    assert!(other.err.contains("expected latents of images"), "{}", other.err);
    assert_eq!(latents(), before);
}

#[test]
fn what_the_latent_experiment_needs_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let ran = latent_experiment(place.path(), &["--images", "images"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("--vae is missing") && ran.err.contains("--help"), "{}", ran.err);
}

#[test]
fn the_effect_is_tested_over_paired_seeds() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/reproduce_effect.rhai");
    let toy = "--data embedded --scale small --steps 2 --samples 24 --seeds 2 --device cpu --out runs/effect";
    let arguments: Vec<&str> = ["run", script, "--"].into_iter().chain(toy.split_whitespace()).collect();
    let ran = spectral(folder, &arguments, "");
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    let out = folder.join("runs/effect");
    let paired = std::fs::read_to_string(out.join("paired.csv")).unwrap();
    let fid = paired.lines().find(|line| line.starts_with("SpectralDiT,DiT,fid,2,"));
    assert!(fid.is_some_and(|line| line.contains("n = 2 is too small")), "{paired}");
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in ["small scale for a CPU", "The difference, seed by seed", "Gates", "Spectra"] {
        assert!(report.contains(part), "the report lacks {part}");
    }
}

fn compared(folder: &Path, arguments: &str) -> Ran {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/compare_ideas.rhai");
    let toy = "--scale small --steps 2 --samples 24 --seeds 2 --device cpu --out runs/ideas";
    let arguments: Vec<&str> =
        ["run", script, "--"].into_iter().chain(toy.split_whitespace()).chain(arguments.split('|')).collect();
    spectral(folder, &arguments, "")
}

#[test]
fn ideas_are_tuned_and_compared_with_the_plain_model() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let arms = "--arms|DiT,SpectralDiT,frequency guidance,equal-SNR noise";
    let ran = compared(folder, arms);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    let out = folder.join("runs/ideas");
    let text = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    // The search tried at least six settings for the arm with gates, on a seed that the comparison does not use.
    let search = text("search.csv");
    assert!(search.lines().filter(|line| line.starts_with("SpectralDiT,1000,")).count() >= 6, "{search}");
    let results = text("results.csv");
    for arm in ["DiT", "SpectralDiT", "frequency guidance", "equal-SNR noise"] {
        for budget in ["equal steps", "equal time"] {
            let found = results.lines().filter(|line| line.starts_with(&format!("{budget},{arm},"))).count();
            assert_eq!(found, 2, "{budget}, {arm}\n{results}");
        }
    }
    let paired = text("paired.csv");
    assert!(paired.lines().any(|line| line.starts_with("equal time,SpectralDiT,fid,2,")), "{paired}");
    let report = text("report.html");
    for part in ["Tests of FID", "The recipe of every arm", "n = 2 is too small", "Every run"] {
        assert!(report.contains(part), "the report lacks {part}");
    }
    assert!(text("gates.svg").contains("SpectralDiT, high band"));

    // A second run must not train again, and one with other steps must not mix results.
    let again = compared(folder, arms);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(!again.err.contains("train 2/2"), "{}", again.err);
    assert_eq!(text("results.csv"), results);
    let other = compared(folder, "--steps|3");
    assert_eq!(other.code, Some(1), "{}", other.out);
    assert!(other.err.contains("with other settings: steps was 2 and is 3"), "{}", other.err);
}

#[test]
fn arms_that_cannot_be_compared_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let unknown = compared(place.path(), "--arms|DiT,SpectralDit");
    assert_eq!(unknown.code, Some(1), "{}", unknown.out);
    assert!(unknown.err.contains("there is no arm \"SpectralDit\""), "{}", unknown.err);
    let alone = compared(place.path(), "--arms|SpectralDiT");
    assert!(alone.err.contains("the plain DiT is not among the arms"), "{}", alone.err);
}

#[test]
fn a_checkpoint_is_fine_tuned_with_a_correction_that_changes_nothing_at_first() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/finetune_correction.rhai");
    let run = |arguments: &str| {
        let all: Vec<&str> = ["run", script, "--"].into_iter().chain(arguments.split_whitespace()).collect();
        spectral(folder, &all, "")
    };
    let toy = "--pretrain 3 --steps 2 --batch 8 --samples 24 --sampling-steps 2 --seeds 2 --device cpu --out runs/tune";
    let ran = run(toy);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("equal bit for bit (6272 numbers"), "{}", ran.out);
    let out = folder.join("runs/tune");
    let text = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let results = text("results.csv");
    for arm in ["checkpoint", "fine-tuned", "gates", "everything"] {
        assert_eq!(
            results.lines().filter(|line| line.starts_with(&format!("{arm},"))).count(),
            2,
            "{results}"
        );
    }
    let paired = text("paired.csv");
    for pair in ["checkpoint,fine-tuned,fid,2,", "checkpoint,gates,fid,2,", "fine-tuned,everything,fid,2,"] {
        assert!(paired.lines().any(|line| line.starts_with(pair)), "{pair}\n{paired}");
    }
    assert!(text("report.html").contains("equal bit for bit"));

    // A public file of the wrong size says what it is and what the data has.
    let public = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/families/sit_plain.pt");
    let other = run(&format!("--checkpoint {public} --family sit --heads 3 --out runs/other"));
    assert_eq!(other.code, Some(1), "{}", other.out);
    assert!(
        other.err.contains("the checkpoint is a model of [4, 8, 8], and the data has [1, 28, 28]"),
        "{}",
        other.err
    );
}
