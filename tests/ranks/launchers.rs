//! Launchers: their variables, torchrun of PyTorch, and the mpirun or mpiexec of this machine.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::shared::runs::{folder, left, notes, program, script, torchrun, wait};
use super::shared::{self, Ran};
use super::{STEPS, fine, processes, ran, run_script, signal};

/// Starts one process for each set of variables, as a launcher does, and returns how they ended.
fn launched(source: &str, variables: &[Vec<(&str, String)>]) -> Vec<Ran> {
    let place = folder(source);
    let children: Vec<Child> = variables
        .iter()
        .map(|variables| {
            let mut command = program(&["run", "train.rhai"]);
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            command.current_dir(place.path()).stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    children.into_iter().map(ran).collect()
}

#[test]
fn the_variables_of_slurm_open_mpi_and_mpich_make_ranks() {
    let source = "print(`${ranks::size()} ${ranks::sum(ranks::rank())}`);";
    let job = std::process::id().to_string();
    let slurm = |rank: usize| {
        vec![
            ("SLURM_PROCID", rank.to_string()),
            ("SLURM_LOCALID", rank.to_string()),
            ("SLURM_STEP_NUM_TASKS", "2".to_string()),
            ("SLURM_JOB_ID", job.clone()),
            ("SLURM_NODELIST", "localhost".to_string()),
        ]
    };
    let open_mpi = |rank: usize| {
        vec![
            ("OMPI_COMM_WORLD_RANK", rank.to_string()),
            ("OMPI_COMM_WORLD_LOCAL_RANK", rank.to_string()),
            ("OMPI_COMM_WORLD_SIZE", "2".to_string()),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2".to_string()),
            ("PMIX_NAMESPACE", format!("test{job}")),
        ]
    };
    let hydra = |rank: usize| {
        vec![
            ("PMI_RANK", rank.to_string()),
            ("PMI_SIZE", "2".to_string()),
            ("MPI_LOCALRANKID", rank.to_string()),
            ("MPI_LOCALNRANKS", "2".to_string()),
        ]
    };
    for variables in [[slurm(0), slurm(1)], [open_mpi(0), open_mpi(1)], [hydra(0), hydra(1)]] {
        let ended = launched(source, &variables);
        ended.iter().for_each(fine);
        assert_eq!([ended[0].out.as_str(), ended[1].out.as_str()], ["2 1\n", ""]);
    }
    let inside = launched(source, &[vec![("RANK", "0".to_string()), ("WORLD_SIZE", "2".to_string())]]);
    assert_eq!(inside[0].code, Some(2), "{}", inside[0].err);
    assert!(inside[0].err.contains("MASTER_ADDR is not"), "{}", inside[0].err);
}

/// Starts two ranks with torchrun of PyTorch, which starts them again once if one of them fails.
fn on_torchrun(folder: &Path, timeout: &str) -> Child {
    let mut command = Command::new(torchrun());
    command.args(["--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "--no-python"]);
    command.args([env!("CARGO_BIN_EXE_spectral"), "run", "--rank-timeout", timeout, "train.rhai"]);
    command.env("OMP_NUM_THREADS", "1").current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn torchrun_starts_ranks_and_starts_them_again_after_a_death_or_a_hang() {
    let source = script(STEPS, "accumulate: 2,");
    let (alone, one) = run_script(&source, 1);
    fine(&one);
    let straight = folder(&source);
    let ended = ran(on_torchrun(straight.path(), "600"));
    fine(&ended);
    assert_eq!(ended.out, one.out);
    assert_eq!(notes(straight.path()), notes(alone.path()));
    assert_eq!(left(straight.path()), left(alone.path()), "{}", ended.err);

    // Rank 1 is killed in the first start. The second one does not wait.
    let slow = "if ranks::rank() == 0 { if !files::exists(\"killed\") { sleep(0.05); }";
    let place = folder(&source.replace("if ranks::rank() == 0 {", slow));
    let mut child = on_torchrun(place.path(), "600");
    let ids = processes(&mut child, 2);
    wait("steps", &mut child, || notes(place.path()).len() > 4);
    signal(ids[&1], libc::SIGKILL);
    std::fs::write(place.path().join("killed"), "").unwrap();
    let ended = ran(child);
    fine(&ended);
    // torchrun names the first failure that it sees: the kill itself, or rank 0, which has noticed it and ended.
    let killed = format!("exitcode: -9) local_rank: 1 (pid: {})", ids[&1]);
    let noticed = format!("exitcode: 75) local_rank: 0 (pid: {})", ids[&0]);
    assert!(ended.err.contains(&killed) || ended.err.contains(&noticed), "{}", ended.err);
    assert_eq!(left(place.path()), left(alone.path()), "{}", ended.err);

    // Rank 1 hangs at step 9 in the first start, which both ranks end with the code that asks for another one.
    let hangs = "if s.step == 9 && ranks::rank() == 1 && !files::exists(\"hung\") { files::write_text(\"hung\", \"\"); sleep(1000); }
        if ranks::rank() == 0 {";
    let place = folder(&source.replace("if ranks::rank() == 0 {", hangs));
    let ended = ran(on_torchrun(place.path(), "20"));
    fine(&ended);
    assert!(place.path().join("hung").exists());
    assert!(ended.err.contains("hangs: the other ranks have waited 20 s"), "{}", ended.err);
    assert!(ended.err.contains("exitcode: 75)"), "{}", ended.err);
    assert_eq!(left(place.path()), left(alone.path()), "{}", ended.err);
}

#[test]
fn mpirun_and_mpiexec_start_ranks_where_they_are_installed() {
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let found: Vec<_> = ["mpirun", "mpiexec"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .filter(|path| path.is_file())
        .collect();
    if found.is_empty() {
        eprintln!("skipped: there is neither mpirun nor mpiexec on the PATH");
    }
    for launcher in found {
        let place = folder("print(`${ranks::size()} ${ranks::sum(ranks::rank() + 1)}`);");
        let mut command = Command::new(&launcher);
        command.args(["-n", "2", env!("CARGO_BIN_EXE_spectral"), "run", "train.rhai"]);
        command.env("OMP_NUM_THREADS", "1");
        // Open MPI refuses root, and more ranks than cores, unless told otherwise.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
        let ended = shared::finish(command, place.path(), "");
        fine(&ended);
        assert_eq!(ended.out, "2 3\n", "{}: {}", launcher.display(), ended.err);
    }
}
