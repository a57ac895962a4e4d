//! `xrfit campaign`: many scans.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `xrfit campaign`.
#[derive(Args, Debug, Clone)]
pub struct CampaignArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub step: CampaignStep,
}

/// What can be done with a campaign.
#[derive(Subcommand, Debug, Clone)]
pub enum CampaignStep {
    /// Writes the work list, OUTPUT/campaign.json, and says which scans cannot be opened.
    ///
    /// Again, when scans came or went: entries keep their number, their output and what is done; new ones get the numbers
    /// behind the last.
    Plan(ManifestArgs),
    /// Maps every scan that is not done, one after another, each in a process of its own; or one with --index.
    ///
    /// SIGTERM, SIGINT and SIGUSR1 stop it, with exit code 75; the same command goes on. Exit code 1 when scans failed:
    /// they are listed at the end, with their reasons.
    Run(RunArgs),
    /// Says what is done, runs, was interrupted, failed and why, and how long the rest takes.
    Status(ManifestArgs),
    /// Maps again what failed or was interrupted, as `run` does.
    Retry(RetryArgs),
    /// Writes one table of all map files, OUTPUT/summary.csv and OUTPUT/summary.h5.
    ///
    /// A row for each map file that is done: pixels by status, quartiles of R², and for each element the sum of its counts
    /// over all fitted pixels with its standard deviation. It replaces the one before.
    Summary(ManifestArgs),
}

/// A campaign.
#[derive(Args, Debug, Clone)]
pub struct ManifestArgs {
    /// Which scans, how, and where to.
    #[arg(value_name = "MANIFEST.toml")]
    pub manifest: PathBuf,
}

/// `xrfit campaign run`.
#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    /// Which scans, how, and where to.
    #[arg(value_name = "MANIFEST.toml")]
    pub manifest: PathBuf,
    /// Only the entry of this number, from 0, on all ranks of this job [default: SLURM_ARRAY_TASK_ID, in a job array].
    #[arg(long, value_name = "I")]
    pub index: Option<usize>,
    /// Map each scan on this many ranks of this machine, with mpirun.
    #[arg(long, value_name = "N")]
    pub ranks: Option<NonZeroUsize>,
}

/// `xrfit campaign retry`.
#[derive(Args, Debug, Clone)]
pub struct RetryArgs {
    /// Which scans, how, and where to.
    #[arg(value_name = "MANIFEST.toml")]
    pub manifest: PathBuf,
    /// Map each scan on this many ranks of this machine, with mpirun.
    #[arg(long, value_name = "N")]
    pub ranks: Option<NonZeroUsize>,
}
