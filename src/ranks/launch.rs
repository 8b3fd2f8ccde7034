//! The place of this process among the ranks of a run, as launchers describe it in environment variables.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::ensure;
use crate::error::{Error, Result};

/// Place of one process among the ranks of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Number of this rank, from 0.
    pub rank: usize,
    /// Number of ranks.
    pub size: usize,
    /// Number of this rank among those on its machine.
    pub local_rank: usize,
    /// Number of ranks on this machine, if known.
    pub local_size: Option<usize>,
    /// Host name or address of the machine of rank 0.
    pub address: String,
    /// Port of the store on that machine.
    pub port: u16,
    /// Whether the launcher serves the store; otherwise rank 0 does.
    pub served: bool,
    /// Prefix of all keys in the store, which differs from attempt to attempt.
    pub prefix: String,
    /// Name of the launcher.
    pub launcher: &'static str,
}

/// Ports that SLURM and MPI jobs are spread over, so that two jobs on one machine rarely meet.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

impl Launch {
    /// Reads the variables of torchrun, Open MPI, MPICH or SLURM; `None` if the process was started alone.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Returns a note if this process is the batch script's own in a SLURM job of several tasks: `srun` starts the tasks, and
    /// what the script starts without it runs alone.
    pub fn without_srun(get: impl Fn(&str) -> Option<String>) -> Option<String> {
        let tasks = get("SLURM_NTASKS").filter(|tasks| tasks != "1")?;
        let batch = get("SLURM_PROCID").is_some() && get("SLURM_STEP_NUM_TASKS").is_none();
        batch.then(|| {
            format!("this job has {tasks} tasks, but `srun` did not start this process, so it runs alone")
        })
    }

    /// Like [`Launch::from_env`], with the variables that `get` returns.
    pub fn from(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let get = Variables(&get);
        let found = if get.has("RANK") && get.has("WORLD_SIZE") {
            get.torchrun()?
        } else if get.has("OMPI_COMM_WORLD_RANK") && get.has("OMPI_COMM_WORLD_SIZE") {
            get.open_mpi()?
        } else if get.has("PMI_RANK") && get.has("MPI_LOCALRANKID") {
            get.hydra()?
        // Last, since the variables of a SLURM job are also set for what mpirun starts in it.
        } else if get.has("SLURM_PROCID") && get.has("SLURM_STEP_NUM_TASKS") {
            get.slurm()?
        } else {
            return Ok(None);
        };
        let Launch { rank, size, local_rank, local_size, launcher, .. } = found;
        ensure!(rank < size, "{launcher} says that this is rank {rank} of {size}; ranks count from 0");
        ensure!(
            local_size.is_none_or(|local_size| local_rank < local_size),
            "{launcher} says that this is local rank {local_rank} of {}; ranks count from 0",
            local_size.unwrap_or_default()
        );
        Ok((size > 1).then_some(found))
    }

    /// Returns whether all ranks run on this machine, as far as known.
    pub fn is_local(&self) -> bool {
        self.local_size == Some(self.size)
    }
}

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::usage(format!("expected a number in {name}, found {text:?}"))),
        }
    }

    fn needed<T: std::str::FromStr>(&self, name: &str, launcher: &str) -> Result<T> {
        self.number(name)?.ok_or_else(|| Error::usage(format!("{launcher} did not set {name}")))
    }

    fn torchrun(&self) -> Result<Launch> {
        let launcher = "torchrun";
        let address = self.text("MASTER_ADDR").ok_or_else(|| {
            Error::usage("RANK and WORLD_SIZE are set, but MASTER_ADDR is not")
                .hint("torchrun sets all of them; unset RANK and WORLD_SIZE to run one process")
        })?;
        Ok(Launch {
            rank: self.needed("RANK", launcher)?,
            size: self.needed("WORLD_SIZE", launcher)?,
            local_rank: self.number("LOCAL_RANK")?.unwrap_or(0),
            local_size: self.number("LOCAL_WORLD_SIZE")?,
            address,
            port: self.needed("MASTER_PORT", launcher)?,
            served: self.text("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|v| v == "True"),
            prefix: format!("spectral/{}", self.text("TORCHELASTIC_RESTART_COUNT").unwrap_or_default()),
            launcher,
        })
    }

    fn slurm(&self) -> Result<Launch> {
        let launcher = "SLURM";
        // SLURM_NTASKS is that of the job; a step may have fewer tasks.
        let size = self.needed("SLURM_STEP_NUM_TASKS", launcher)?;
        let nodes = ["SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"];
        let nodes = nodes.iter().find_map(|name| self.text(name));
        let several = nodes.as_deref().is_some_and(|list| list.contains([',', '[']));
        let first = nodes.as_deref().map(first_host);
        let address =
            self.text("MASTER_ADDR").or(first).or(self.text("SLURM_LAUNCH_NODE_IPADDR")).ok_or_else(
                || {
                    Error::usage("SLURM did not say on which machine rank 0 runs: there is no SLURM_NODELIST")
                        .hint("set MASTER_ADDR to the name of that machine")
                },
            )?;
        let job = ["SLURM_JOB_ID", "SLURM_STEP_ID"].map(|name| self.text(name));
        Ok(Launch {
            rank: self.needed("SLURM_PROCID", launcher)?,
            size,
            local_rank: self.number("SLURM_LOCALID")?.unwrap_or(0),
            local_size: (nodes.is_some() && !several).then_some(size),
            address,
            port: self.port(&job)?,
            served: false,
            prefix: "spectral/".to_string(),
            launcher,
        })
    }

    fn open_mpi(&self) -> Result<Launch> {
        let names =
            ["RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"].map(|name| format!("OMPI_COMM_WORLD_{name}"));
        let job = ["PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"].map(|name| self.text(name));
        self.mpi("mpirun", names.each_ref().map(String::as_str), "mpirun -x MASTER_ADDR=host", &job)
    }

    /// MPICH, Intel MPI and others with the process manager Hydra.
    fn hydra(&self) -> Result<Launch> {
        let names = ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"];
        // Hydra has no name for a job, but the ranks of a machine have the same parent.
        let job = [parent().map(|id| id.to_string())];
        self.mpi("mpiexec", names, "mpiexec -genv MASTER_ADDR host -genv MASTER_PORT 29500", &job)
    }

    fn mpi(
        &self,
        launcher: &'static str,
        [rank, size, local_rank, local_size]: [&str; 4],
        hint: &str,
        job: &[Option<String>],
    ) -> Result<Launch> {
        let size = self.needed(size, launcher)?;
        let local_size = self.number(local_size)?;
        let local = (local_size == Some(size)).then(|| "127.0.0.1".to_string());
        let address = self.text("MASTER_ADDR").or(local).ok_or_else(|| {
            Error::usage(format!("{launcher} does not say on which machine rank 0 runs"))
                .hint(format!("name the first machine with `{hint}`"))
        })?;
        Ok(Launch {
            rank: self.needed(rank, launcher)?,
            size,
            local_rank: self.number(local_rank)?.unwrap_or(0),
            local_size,
            address,
            port: self.port(job)?,
            served: false,
            prefix: "spectral/".to_string(),
            launcher,
        })
    }

    /// Returns MASTER_PORT, or else a port that depends on the job, so that all its ranks agree.
    fn port(&self, job: &[Option<String>]) -> Result<u16> {
        if let Some(port) = self.number("MASTER_PORT")? {
            return Ok(port);
        }
        let mut hasher = DefaultHasher::new();
        job.hash(&mut hasher);
        Ok(PORTS.start + (hasher.finish() % u64::from(PORTS.end - PORTS.start)) as u16)
    }
}

#[cfg(unix)]
fn parent() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

#[cfg(not(unix))]
fn parent() -> Option<u32> {
    None
}

/// Returns the first host of a list of SLURM: `node[03-05,9],login` starts with `node03`.
fn first_host(list: &str) -> String {
    let Some((prefix, rest)) = list.split_once('[') else {
        return list.split(',').next().unwrap_or(list).to_string();
    };
    if prefix.contains(',') {
        return prefix.split(',').next().unwrap_or(prefix).to_string();
    }
    let (inside, after) = rest.split_once(']').unwrap_or((rest, ""));
    let number = inside.split([',', '-']).next().unwrap_or(inside);
    // A name may have several lists, as in `r[1-2]n[1-4]`.
    first_host(&format!("{prefix}{number}{after}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn launch(variables: &[(&str, &str)]) -> Result<Option<Launch>> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Launch::from(|name| variables.get(name).map(ToString::to_string))
    }

    const TORCHRUN: [(&str, &str); 6] = [
        ("RANK", "3"),
        ("WORLD_SIZE", "4"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "first"),
        ("MASTER_PORT", "29500"),
    ];

    #[test]
    fn torchrun_is_read_with_its_store_and_attempt() {
        let found = launch(&TORCHRUN).unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.local_rank, found.local_size), (3, 4, 1, Some(2)));
        assert_eq!((found.address.as_str(), found.port, found.served), ("first", 29500, false));
        let agent = [("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "2")];
        let again = launch(&[&TORCHRUN[..], &agent].concat()).unwrap().unwrap();
        assert!(again.served && again.prefix != found.prefix);
    }

    #[test]
    fn slurm_names_the_first_machine_and_a_port_of_its_own() {
        let of = |job: &str, list: &str| {
            launch(&[
                ("SLURM_PROCID", "5"),
                ("SLURM_NTASKS", "16"),
                ("SLURM_STEP_NUM_TASKS", "8"),
                ("SLURM_LOCALID", "1"),
                ("SLURM_JOB_ID", job),
                ("SLURM_NODELIST", list),
            ])
            .unwrap()
            .unwrap()
        };
        let found = of("77", "node[03-05,9],login");
        assert_eq!((found.rank, found.size, found.local_rank, found.local_size), (5, 8, 1, None));
        assert_eq!(found.address, "node03");
        assert!(PORTS.contains(&found.port));
        assert_ne!(found.port, of("78", "node1").port);
        assert!(of("77", "node1").is_local());
        for (list, first) in
            [("a,b[1-2]", "a"), ("r[1-2]n[07-09]", "r1n07"), ("gpu7", "gpu7"), ("x[2,5]-ib", "x2-ib")]
        {
            assert_eq!(first_host(list), first);
        }
        let by_address = launch(&[
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "2"),
            ("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7"),
            ("MASTER_PORT", "4000"),
        ]);
        let by_address = by_address.unwrap().unwrap();
        assert_eq!((by_address.address.as_str(), by_address.port), ("10.0.0.7", 4000));
    }

    /// `srun --ntasks=1` in a job of four tasks.
    #[test]
    fn one_task_of_a_larger_job_runs_alone() {
        let one = [
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_STEP_NUM_TASKS", "1"),
            ("SLURM_NODELIST", "a"),
        ];
        assert_eq!(launch(&one).unwrap(), None);
        let of = |variables: &'static [(&str, &str)]| {
            move |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string())
        };
        // A batch script that starts the program without `srun`.
        let batch: &[(&str, &str)] = &[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("SLURM_NODELIST", "a")];
        assert_eq!(launch(batch).unwrap(), None);
        let note = Launch::without_srun(of(batch)).unwrap();
        assert!(note.starts_with("this job has 4 tasks, but `srun` did not start"), "{note}");
        assert_eq!(Launch::without_srun(of(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")])), None);
        assert_eq!(launch(&[]).unwrap(), None);
        assert_eq!(
            launch(&[("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "1")])
                .unwrap(),
            None
        );
    }

    #[test]
    fn hydra_gives_a_job_a_port_by_its_parent() {
        let variables =
            [("PMI_RANK", "1"), ("PMI_SIZE", "2"), ("MPI_LOCALRANKID", "1"), ("MPI_LOCALNRANKS", "2")];
        let found = launch(&variables).unwrap().unwrap();
        assert_eq!((found.rank, found.local_rank, found.address.as_str()), (1, 1, "127.0.0.1"));
        assert_eq!(launch(&variables).unwrap().unwrap().port, found.port);
        let error = launch(&[&variables[..3], &[("MPI_LOCALNRANKS", "1")]].concat()).unwrap_err();
        assert!(error.hint_text().is_some_and(|hint| hint.contains("-genv MASTER_ADDR")), "{error}");
    }

    #[test]
    fn mpirun_in_a_slurm_job_counts_before_the_job() {
        let slurm = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8"), ("SLURM_NODELIST", "a")];
        let open_mpi = ["RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"].map(|n| format!("OMPI_COMM_WORLD_{n}"));
        let open_mpi: Vec<_> = open_mpi.iter().map(String::as_str).zip(["1", "2", "1", "2"]).collect();
        let found = launch(&[&slurm[..], &open_mpi].concat()).unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.launcher), (1, 2, "mpirun"));
    }

    #[test]
    fn open_mpi_on_one_machine_needs_no_address() {
        let variables = [
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ];
        let found = launch(&variables).unwrap().unwrap();
        assert_eq!((found.rank, found.local_rank, found.address.as_str()), (1, 1, "127.0.0.1"));
        let error = launch(&[&variables[..3], &[("OMPI_COMM_WORLD_LOCAL_SIZE", "1")][..]].concat());
        // A later local size of 1 with local rank 1 contradicts itself, too, but the address comes first.
        let error = error.unwrap_err();
        assert!(error.hint_text().is_some_and(|hint| hint.contains("-x MASTER_ADDR=host")), "{error}");
    }

    #[test]
    fn contradictions_are_named() {
        let message = |name: &'static str, value: &'static str| {
            let other = TORCHRUN.map(|(n, v)| if n == name { (n, value) } else { (n, v) });
            launch(&other).unwrap_err().to_string()
        };
        assert_eq!(message("RANK", "4"), "torchrun says that this is rank 4 of 4; ranks count from 0");
        assert_eq!(
            message("LOCAL_RANK", "2"),
            "torchrun says that this is local rank 2 of 2; ranks count from 0"
        );
        assert_eq!(message("RANK", "one"), "expected a number in RANK, found \"one\"");
        let error = launch(&[("RANK", "0"), ("WORLD_SIZE", "2")]).unwrap_err();
        assert!(error.message().contains("MASTER_ADDR is not"), "{error}");
    }
}
