//! A process knows from its environment whether a launcher started it, and as which of how many.

use xrfit::cluster::Launcher;

#[test]
fn launchers_show_in_the_environment() {
    let seen = |variables: &[(&str, &str)]| {
        Launcher::seen_in(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_string())
        })
        .map(|launcher| (launcher.name, launcher.size, launcher.rank))
    };
    assert_eq!(seen(&[]), None);
    assert_eq!(
        seen(&[("OMPI_COMM_WORLD_SIZE", "3"), ("OMPI_COMM_WORLD_RANK", "1"), ("PMIX_RANK", "1")]),
        Some(("mpirun", Some(3), Some(1)))
    );
    assert_eq!(seen(&[("PMI_SIZE", "2"), ("PMI_RANK", "0")]), Some(("mpiexec", Some(2), Some(0))));
    assert_eq!(seen(&[("PMIX_RANK", "5")]), Some(("mpiexec", None, Some(5))));
    // The batch script and an interactive step of a job with several tasks are one process.
    assert_eq!(seen(&[("SLURM_NTASKS", "8")]), None);
    let step = ("SLURM_STEP_ID", "0");
    assert_eq!(seen(&[step, ("SLURM_NTASKS", "8"), ("SLURM_STEP_NUM_TASKS", "1")]), None);
    assert_eq!(
        seen(&[step, ("SLURM_NTASKS", "8"), ("SLURM_PROCID", "7")]),
        Some(("srun", Some(8), Some(7)))
    );
}
