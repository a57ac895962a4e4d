//! Which engine fitted on each rank, in words for the result file.

use crate::cluster::Cluster;
use crate::engine::Engine;
use crate::report;

/// The engines of all ranks, after their fits.
pub(super) struct Engines {
    /// Each engine once; where there are several, with its ranks.
    pub words: String,
    /// Spectra that CPUs fitted because devices failed.
    pub taken_over: usize,
}

/// Brings the engines of all ranks together on rank 0, which says how much the devices failed on; nothing on the others.
pub(super) fn gather(engine: &dyn Engine, cluster: &mut dyn Cluster) -> Option<Engines> {
    let mut own = (engine.taken_over() as u64).to_le_bytes().to_vec();
    own.extend(engine.describe().into_bytes());
    let ranks = cluster.gather(own);
    let ranks: Vec<(usize, String)> = ranks.iter().map(|bytes| of_rank(bytes)).collect();
    let failed: Vec<usize> = (0..ranks.len()).filter(|&rank| ranks[rank].0 > 0).collect();
    let taken_over = ranks.iter().map(|(taken_over, _)| taken_over).sum();
    if taken_over > 0 {
        log::warn!(
            "the CPU fitted {} spectra that the CUDA device of {} failed on",
            report::count(taken_over),
            listed(&failed)
        );
    }
    (cluster.rank() == 0).then(|| Engines { words: words(&ranks), taken_over })
}

fn of_rank(bytes: &[u8]) -> (usize, String) {
    let (taken_over, words) = bytes.split_first_chunk().expect("a number, then words");
    (u64::from_le_bytes(*taken_over) as usize, String::from_utf8_lossy(words).into_owned())
}

/// `cuda:0, ... on ranks 0-2, 5; cuda:1, ... on rank 3`; without ranks where all have the same.
fn words(ranks: &[(usize, String)]) -> String {
    let mut engines: Vec<(&str, Vec<usize>)> = Vec::new();
    for (rank, (_, engine)) in ranks.iter().enumerate() {
        match engines.iter_mut().find(|(known, _)| known == engine) {
            Some((_, ranks)) => ranks.push(rank),
            None => engines.push((engine, vec![rank])),
        }
    }
    if let [(engine, _)] = engines[..] {
        return engine.to_string();
    }
    let each = engines.iter().map(|(engine, ranks)| format!("{engine} on {}", listed(ranks)));
    each.collect::<Vec<_>>().join("; ")
}

/// `rank 3`, `ranks 0-2, 5`; of ranks in order.
fn listed(ranks: &[usize]) -> String {
    let runs = ranks.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => unreachable!("a chunk has ranks"),
    });
    let what = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{what} {}", runs.collect::<Vec<_>>().join(", "))
}
