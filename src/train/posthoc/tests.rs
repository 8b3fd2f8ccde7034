//! Reconstructed averages: coefficients of the public code, averages that were tracked, runs that were stopped.

use super::*;
use crate::train::FitOptions;
use crate::train::averages::{AverageOptions, Averages, PosthocOptions};
use crate::train::tests::{model, short, stopped_after, train, weights};

/// Returns the points of snapshots of two averages after 100, 200, .., 500 updates.
fn ten_points() -> Vec<Point> {
    let counts = [100.0, 200.0, 300.0, 400.0, 500.0];
    let both = |updates| [0.05, 0.1].map(|sigma_rel| Point::new(sigma_rel, updates).unwrap());
    counts.into_iter().flat_map(both).collect()
}

/// The numbers are those of `solve_posthoc_coefficients` of EDM2's `training/phema.py`.
#[test]
fn coefficients_of_the_public_code() {
    let expected = [
        (
            0.075,
            [
                4.48971411226e-09,
                -8.02578171984e-08,
                1.05958436429e-05,
                -6.37852972878e-05,
                0.000937508578601,
                -0.0036155210936,
                0.0213527853163,
                -0.0666802747444,
                0.324380689385,
                0.72367807778,
            ],
        ),
        (
            0.15,
            [
                -0.000199975391891,
                0.000691711274593,
                -0.00467808778799,
                0.0135277273967,
                -0.0277380466124,
                0.0713065710164,
                -0.0897738495513,
                0.218344857619,
                -0.230654009629,
                1.04917310167,
            ],
        ),
        (0.05, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        (
            0.02,
            [
                9.9325895443e-22,
                -3.36968329909e-21,
                -4.45738552201e-14,
                1.89805291004e-12,
                -3.76955619296e-07,
                5.09279028527e-06,
                -0.0564906098707,
                0.423031186379,
                3.12012502007,
                -2.48667031241,
            ],
        ),
    ];
    for (sigma_rel, expected) in expected {
        let found = coefficients(&ten_points(), Point::new(sigma_rel, 500.0).unwrap()).unwrap();
        let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-6, "{sigma_rel}: {found:?}");
    }
}

/// Returns options of a run that tracks a third average directly.
fn tracked(out: &Path) -> FitOptions {
    let ema = Averages(vec![AverageOptions::decay(0.9), AverageOptions::power(0.075)]);
    let posthoc = Some(PosthocOptions { every: 10, ..PosthocOptions::default() });
    FitOptions { steps: 60, ema, posthoc, out: out.display().to_string(), checkpoint_every: 17, ..short() }
}

fn apart(a: &Model, b: &Model) -> f64 {
    let squares = weights(a).iter().zip(weights(b)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    squares.sqrt()
}

#[test]
fn tracked_averages_come_back_and_others_are_near() {
    let folder = tempfile::tempdir().unwrap();
    let run = train(&model(0), &tracked(folder.path())).unwrap();
    let names: Vec<&str> = run.averages().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["0.9", "power_0.075", "posthoc_0.05", "posthoc_0.1"]);
    let of = |name: &str| &run.averages().iter().find(|(own, _)| own == name).unwrap().1;
    let rebuilt = |sigma_rel, step| {
        let options = PosthocAverageOptions { sigma_rel, step, ..PosthocAverageOptions::default() };
        posthoc_average(folder.path(), &options, &Context::default()).unwrap()
    };
    for (name, width) in [("posthoc_0.05", 0.05), ("posthoc_0.1", 0.1)] {
        assert!(apart(&rebuilt(width, None), of(name)) < 1e-5, "{name}");
    }
    // Six snapshots are few, but enough to be much nearer than the tracked averages.
    let between = apart(&rebuilt(0.075, None), of("power_0.075"));
    let usual = apart(of("posthoc_0.05"), of("power_0.075")).min(apart(of("posthoc_0.1"), of("power_0.075")));
    assert!(between < 0.1 * usual, "{between} and {usual}");
    // At an earlier step it is the average of that time.
    let short = FitOptions {
        steps: 30,
        ema: Averages::from(vec![0.5]),
        out: String::new(),
        posthoc: None,
        ..tracked(folder.path())
    };
    let ema = Averages(vec![AverageOptions::power(0.05)]);
    let early = train(&model(0), &FitOptions { ema, ..short }).unwrap();
    assert!(apart(&rebuilt(0.05, Some(30)), early.ema()) < 1e-5);
    let options = PosthocAverageOptions { step: Some(31), ..PosthocAverageOptions::default() };
    let error = posthoc_average(folder.path(), &options, &Context::default()).unwrap_err();
    assert_eq!(error.message(), "there are no snapshots of step 31");
}

#[test]
fn a_stopped_run_writes_the_same_snapshots_and_averages() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let straight = train(&model(0), &tracked(whole.path())).unwrap();
    for steps in [5, 12, 20, 41] {
        stopped_after(steps, &tracked(parts.path()));
    }
    let resumed = train(&model(0), &tracked(parts.path())).unwrap();
    for ((name, a), (_, b)) in straight.averages().iter().zip(resumed.averages()) {
        assert_eq!(weights(a), weights(b), "{name}");
    }
    let names = files::list(folder_of(whole.path())).unwrap();
    assert_eq!(names.len(), 12);
    assert_eq!(names, files::list(folder_of(parts.path())).unwrap());
    for name in &names {
        let read = |run: &Path| std::fs::read(folder_of(run).join(name)).unwrap();
        assert!(read(whole.path()) == read(parts.path()), "{name}");
    }
    // Each average is a file of its own, and its name selects it in a checkpoint.
    let open = |path: &str, average: &str| {
        let options = crate::model::OpenOptions { average: average.to_string(), ..Default::default() };
        crate::model::open::open(whole.path().join(path), &options, &Context::default())
    };
    let last = "checkpoints/step-00000060.safetensors";
    for (name, model) in straight.averages() {
        let file =
            if name == "0.9" { "ema.safetensors".to_string() } else { format!("ema-{name}.safetensors") };
        assert_eq!(weights(&open(&file, "").unwrap()), weights(model), "{name}");
        assert_eq!(weights(&open(last, name).unwrap()), weights(model), "{name}");
    }
    let error = open(last, "power_0.06").unwrap_err();
    assert!(error.message().contains("the checkpoint has no average called \"power_0.06\""), "{error}");
    // Snapshots after the step of a checkpoint are of another run, or are made again.
    let snapshots = folder_of(parts.path());
    files::link(snapshots.join(&names[0]), snapshots.join("posthoc_0.05-00000070.safetensors")).unwrap();
    train(&model(0), &tracked(parts.path())).unwrap();
    assert_eq!(names, files::list(folder_of(parts.path())).unwrap());
    // Those that were removed by hand are noted.
    std::fs::remove_file(snapshots.join(&names[0])).unwrap();
    let notes = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = std::sync::Arc::clone(&notes);
    let note = std::sync::Arc::new(move |text: &str| told.lock().unwrap().push(text.to_string()));
    let context = Context { note, ..Context::default() };
    crate::train::fit::fit(&model(0), &crate::train::tests::two_classes(), &tracked(parts.path()), &context)
        .unwrap();
    assert!(notes.lock().unwrap()[0].contains("of the snapshots up to step 60, 1 are missing"), "{notes:?}");
    // All those of a run that was killed before its first checkpoint are made again.
    std::fs::remove_dir_all(parts.path().join("checkpoints")).unwrap();
    for name in files::list(parts.path()).unwrap().iter().filter(|name| name.ends_with(".safetensors")) {
        std::fs::remove_file(parts.path().join(name)).unwrap();
    }
    train(&model(0), &FitOptions { steps: 30, ..tracked(parts.path()) }).unwrap();
    assert_eq!(files::list(folder_of(parts.path())).unwrap().len(), 6);
    // Starting over removes the snapshots.
    let again = FitOptions { resume: false, steps: 10, ..tracked(parts.path()) };
    train(&model(0), &again).unwrap();
    assert_eq!(files::list(folder_of(parts.path())).unwrap().len(), 2);
}

#[test]
fn an_interrupt_of_on_step_loses_no_snapshot() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let folder = tempfile::tempdir().unwrap();
    let stops = std::sync::Arc::new(AtomicBool::new(true));
    let on_step = crate::declare::Function::new(move |values| {
        let crate::declare::Value::Map(about) = &values[0] else { unreachable!() };
        let at_snapshot = matches!(about["step"], crate::declare::Value::Int(20));
        match at_snapshot && stops.swap(false, Ordering::SeqCst) {
            true => Err(Error::interrupted()),
            false => Ok(crate::declare::Value::Unit),
        }
    });
    let options = FitOptions { steps: 30, on_step: Some(on_step), ..tracked(folder.path()) };
    train(&model(0), &options).unwrap_err();
    train(&model(0), &options).unwrap();
    let steps: Vec<_> =
        files::list(folder_of(folder.path())).unwrap().iter().filter_map(|n| step_of(n)).collect();
    assert_eq!(steps, [10, 20, 30, 10, 20, 30]);
}

#[test]
fn snapshots_without_an_update_between_them_count_once() {
    let folder = tempfile::tempdir().unwrap();
    train(&model(0), &FitOptions { steps: 30, ..tracked(folder.path()) }).unwrap();
    let average = || posthoc_average(folder.path(), &PosthocAverageOptions::default(), &Context::default());
    let before = weights(&average().unwrap());
    let snapshots = folder_of(folder.path());
    let copy = |from: &str, to: &str| files::link(snapshots.join(from), snapshots.join(to)).unwrap();
    copy("posthoc_0.05-00000030.safetensors", "posthoc_0.05-00000040.safetensors");
    copy("posthoc_0.1-00000030.safetensors", "posthoc_0.1-00000040.safetensors");
    assert_eq!(weights(&average().unwrap()), before);
    // One from before the first update says nothing.
    let net = model(0);
    let ema = Ema::new(&net, 0.9, &crate::train::EmaOptions::default()).unwrap();
    save(folder.path(), &ema, 0.05, 0).unwrap();
    assert_eq!(weights(&average().unwrap()), before);
}

#[test]
fn what_posthoc_needs_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let message = |options: FitOptions| train(&model(0), &options).unwrap_err().message();
    let found = message(FitOptions { out: String::new(), ..tracked(folder.path()) });
    assert_eq!(found, "`posthoc` saves snapshots in the folder `out`, which is not given");
    let found = message(FitOptions { steps: 9, ..tracked(folder.path()) });
    assert_eq!(found, "`posthoc` saves the first snapshot after 10 steps, and the run has 9");
    let found = message(FitOptions { ema: Averages::from(vec![0.9, 0.9]), ..tracked(folder.path()) });
    assert_eq!(found, "two averages are called \"0.9\"; give one of them another `name`");
    let error = posthoc_average(folder.path(), &PosthocAverageOptions::default(), &Context::default());
    assert!(error.unwrap_err().message().ends_with("has no snapshots of averages"));
}
