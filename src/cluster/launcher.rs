//! Who started this process, read from the environment before any MPI call.
//!
//! Not MPI itself: a launcher's word is checked against MPI's when the ranks join.

/// The variables by which a launcher shows, for those who start a process that must be alone.
pub const VARIABLES: [&str; 5] =
    ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "SLURM_STEP_ID"];

/// A launcher, and what it says about this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Its name, for messages.
    pub name: &'static str,
    /// How many processes it started, where it says.
    pub size: Option<usize>,
    /// Which of them this is, where it says.
    pub rank: Option<usize>,
}

impl Launcher {
    /// The launcher of this process.
    pub fn seen() -> Option<Self> {
        Self::seen_in(|name| std::env::var(name).ok())
    }

    /// The launcher that shows in the variables that `lookup` gives.
    pub fn seen_in(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| lookup(name).and_then(|text| text.trim().parse::<usize>().ok());
        let any = |names: [&str; 2]| names.into_iter().find_map(number);
        let found = |name, size, rank| Some(Self { name, size, rank });

        if let Some(size) = number("OMPI_COMM_WORLD_SIZE") {
            return found("mpirun", Some(size), number("OMPI_COMM_WORLD_RANK"));
        }
        // An interactive step has one process, whatever the job has: ask the step first.
        let tasks = any(["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]).unwrap_or(1);
        if lookup("SLURM_STEP_ID").is_some() && tasks > 1 {
            return found("srun", Some(tasks), number("SLURM_PROCID"));
        }
        let rank = any(["PMI_RANK", "PMIX_RANK"]);
        let size = number("PMI_SIZE");
        if rank.is_some() || size.is_some() {
            return found("mpiexec", size, rank);
        }
        None
    }

    /// Whether this process is certainly one of several.
    pub fn has_several(&self) -> bool {
        self.size.unwrap_or(1) > 1 || self.rank.unwrap_or(0) > 0
    }
}

/// Whether this process speaks for the run before the ranks have joined: the first of those that a
/// launcher started, or the only one. For usage errors and `--help`.
pub fn speaks() -> bool {
    Launcher::seen().and_then(|launcher| launcher.rank).unwrap_or(0) == 0
}
