//! `xrfit devices`: what this machine offers, and what each rank of a job takes of it.

use crate::cluster::{self, Cluster};
use crate::engine::{self, Choice, Precision};
use crate::error::Result;
use crate::scan;

pub(super) fn run(cluster: &mut dyn Cluster) -> Result<()> {
    let mine = engine_of_rank(cluster);
    let ranks = cluster.gather(mine.into_bytes());
    if cluster.rank() > 0 {
        return Ok(());
    }
    let libraries = [("MPI", cluster::library()), ("HDF5", scan::library())];
    let found = engine::found().into_iter().chain(libraries);
    let found = found.map(|(what, words)| format!("{what:<6} {words}\n"));
    let ranks = ranks.iter().map(|engine| String::from_utf8_lossy(engine)).enumerate();
    let ranks = ranks.map(|(rank, engine)| format!("rank {rank} {engine}\n"));
    print!("{}", found.chain(ranks).collect::<String>());
    Ok(())
}

/// The machine of this rank, and the engine that it takes when nobody says.
fn engine_of_rank(cluster: &dyn Cluster) -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (local, _) = cluster.local();
    let engine = match engine::choose(Choice::Auto, Precision::F32, local) {
        Ok(opened) => {
            let why = opened.note.map_or_else(String::new, |note| format!(" ({note})"));
            format!("{}{why}", opened.engine.describe())
        }
        Err(why) => why.to_string(),
    };
    let threads = cluster.local_threads();
    format!("on {}: {engine}, {threads} threads", machine.trim())
}
