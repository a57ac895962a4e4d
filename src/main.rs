//! The command `xrfit`: parse, join the ranks, run, report.

use clap::Parser;
use xrfit::{cli::Cli, cluster, error::Error, report, run};

fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|problem| {
        if cluster::speaks() {
            problem.exit();
        }
        std::process::exit(problem.exit_code());
    });
    let mut cluster = cluster::join().unwrap_or_else(|error| cluster::refuse(&error));
    report::start_log(cluster.rank());
    match run::run(cli.command, &mut *cluster) {
        Ok(()) => {}
        // all ranks are here
        Err(stopped @ Error::Stopped) => {
            drop(cluster);
            std::process::exit(stopped.exit_code());
        }
        Err(error) => cluster::fail(&mut *cluster, &error),
    }
}
