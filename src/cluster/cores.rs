//! How many threads a rank may run: its share of the cores it may use.
//!
//! A launcher may bind a rank to some cores (`mpirun -n 2` binds each to one) or let all ranks of a
//! machine use all of them. A core that n ranks of a machine may use counts 1/n for each.

use std::thread::available_parallelism;

/// A set of core numbers, a bit each; more than Linux has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores(pub [u64; Self::WORDS]);

impl Cores {
    /// Words of a set.
    pub const WORDS: usize = 128;

    /// Cores a process may run on, `None` where the system does not say.
    pub fn of_process(id: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Self::parse(list.trim())
    }

    /// Reads a list such as `0-3,8,10-11`; `None` when it is not one.
    pub fn parse(list: &str) -> Option<Self> {
        let mut words = [0; Self::WORDS];
        for part in list.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            for core in first.parse::<usize>().ok()?..=last.parse::<usize>().ok()? {
                *words.get_mut(core / 64)? |= 1 << (core % 64);
            }
        }
        Some(Self(words))
    }

    /// Number of cores.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn has(&self, core: usize) -> bool {
        self.0[core / 64] >> (core % 64) & 1 == 1
    }

    fn union(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
        self
    }
}

/// Threads the system lets this process run; knows bindings and the quota of a container.
pub fn limit() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The share of the rank `local` among the ranks of a machine that may use `cores`, when a
/// container lets each run `limit` threads.
pub fn share(cores: &[Cores], local: usize, limit: usize) -> usize {
    let mine = &cores[local];
    let users = |core| cores.iter().filter(|set| set.has(core)).count() as f64;
    let share: f64 =
        (0..Cores::WORDS * 64).filter(|&core| mine.has(core)).map(|core| 1.0 / users(core)).sum();
    let quota = limit as f64 / mine.count().max(1) as f64;
    // 3 x 1/3 may fall short of 1 by rounding.
    ((share * quota.min(1.0) + 1e-9) as usize).max(1)
}

/// Advice when the ranks of a machine may use fewer cores than the launcher that started them.
pub fn advice(cores: &[Cores], launcher: &Cores) -> Option<String> {
    let used = cores.iter().skip(1).fold(cores[0], Cores::union).count();
    let all = launcher.count();
    (used < all).then(|| {
        format!(
            "the launcher bound the ranks of this machine to {used} of its {all} cores (the others \
             stay idle); start with `mpirun --bind-to none`, or `--map-by slot:PE=N` for N cores per \
             rank"
        )
    })
}
