//! The command `xrfit`: parse, join the ranks, run, report.

use clap::Parser;
use xrfit::{cli::Cli, cluster, report, run};

fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|problem| {
        if cluster::speaks() {
            problem.exit();
        }
        std::process::exit(problem.exit_code());
    });
    let mut cluster = cluster::join().unwrap_or_else(|error| cluster::refuse(&error));
    report::start_log(cluster.rank());
    if let Err(error) = run::run(cli.command, &mut *cluster) {
        cluster::fail(&mut *cluster, &error);
    }
}
