//! `xrfit devices`: what this machine offers, and what each rank of a job takes of it.

use std::time::Duration;

use crate::cluster::{self, Cluster, Event};
use crate::engine::{self, Choice, Precision};
use crate::error::Result;
use crate::scan;

/// Between two looks for what other ranks say.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(cluster: &mut dyn Cluster) -> Result<()> {
    let mine = engine_of_rank(cluster);
    if cluster.rank() > 0 {
        cluster.send(mine.as_bytes());
        cluster.barrier();
        return Ok(());
    }
    let mut ranks = vec![mine];
    ranks.resize(cluster.size(), String::new());
    let mut missing = cluster.size() - 1;
    while missing > 0 {
        if let Some(Event::Message { rank, bytes }) = cluster.receive(LOOK) {
            ranks[rank] = String::from_utf8_lossy(&bytes).into_owned();
            missing -= 1;
        }
    }
    let libraries = [("MPI", cluster::library()), ("HDF5", scan::library())];
    let found = engine::found().into_iter().chain(libraries);
    let found = found.map(|(what, words)| format!("{what:<6} {words}\n"));
    let ranks = ranks.iter().enumerate().map(|(rank, engine)| format!("rank {rank} {engine}\n"));
    print!("{}", found.chain(ranks).collect::<String>());
    cluster.barrier();
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
