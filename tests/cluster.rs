//! Every ticket is worked on once and every result is stored once, on any number of ranks however
//! slow some are, and what goes wrong on one rank ends the run on all.
//!
//! Here ranks are threads; `tests/mpi.rs` holds the same promise for processes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xrfit::cluster::{Cluster, Solo, channels, serve};
use xrfit::error::{Error, Result};

/// Long enough for a loaded machine, short enough to notice ranks that wait for each other.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `test` and panics when it takes longer than [`LIMIT`].
fn in_time<T: Send + 'static>(name: &str, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || done.send(test()));
    match wait.recv_timeout(LIMIT) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name} takes longer than {LIMIT:?}"),
        Err(_) => std::panic::resume_unwind(thread.join().expect_err("a test that panicked")),
    }
}

/// What `ticket` stands for: bytes of a length and content of its own.
fn result_of(ticket: usize) -> Vec<u8> {
    (0..ticket * 37 % 101).map(|i| (ticket + i) as u8).collect()
}

/// How a rank works: reading included, or reading ahead on another thread.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    OneByOne,
    Ahead,
}

const BOTH: [How; 2] = [How::OneByOne, How::Ahead];

impl How {
    /// Serves either way; `read` fails before `work` does.
    fn serve(
        self,
        cluster: &mut dyn Cluster,
        tickets: usize,
        mut read: impl FnMut(usize) -> Result<()> + Send,
        mut work: impl FnMut(usize) -> Result<Vec<u8>> + Send,
        sink: impl FnMut(usize, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::OneByOne => {
                let both = |ticket| read(ticket).and_then(|()| work(ticket));
                serve::run(cluster, tickets, both, sink)
            }
            Self::Ahead => {
                let read = |ticket| read(ticket).map(|()| ticket);
                let work = |ticket, input| {
                    assert_eq!(ticket, input, "what was read for the ticket");
                    work(ticket)
                };
                serve::run_reading_ahead(cluster, tickets, read, work, sink)
            }
        }
    }
}

/// One run: how many ranks and tickets, and how slow they are [µs per ticket, by rank].
#[derive(Clone, Debug)]
struct Run {
    how: How,
    tickets: usize,
    slowness: Vec<u64>,
    slow_sink: u64,
}

impl Run {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let ranks = rng.random_range(1..=9);
        let slowness = (0..ranks).map(|_| [0, 0, 20, 700][rng.random_range(0..4)]).collect();
        Self {
            how: BOTH[rng.random_range(0..2)],
            tickets: rng.random_range(0..60),
            slowness,
            slow_sink: [0, 0, 300][rng.random_range(0..3)],
        }
    }

    /// The tickets that each rank worked on, and on rank 0 those stored.
    fn on(&self, cluster: &mut dyn Cluster) -> Result<(Vec<usize>, Vec<usize>)> {
        let (mut worked, mut stored) = (Vec::new(), Vec::new());
        let slowness = Duration::from_micros(self.slowness[cluster.rank()]);
        let work = |ticket| {
            thread::sleep(slowness);
            worked.push(ticket);
            Ok(result_of(ticket))
        };
        let read = |_| {
            thread::sleep(slowness / 2);
            Ok(())
        };
        self.how.serve(cluster, self.tickets, read, work, |ticket, bytes| {
            thread::sleep(Duration::from_micros(self.slow_sink));
            assert_eq!(bytes, result_of(ticket), "result of ticket {ticket}");
            stored.push(ticket);
            Ok(())
        })?;
        Ok((worked, stored))
    }
}

#[test]
fn every_ticket_is_worked_on_once_and_stored_once() {
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    for _ in 0..300 {
        let run = Run::random(&mut rng);
        let ranks = in_time(&format!("{run:?}"), {
            let run = run.clone();
            move || {
                channels::run(run.slowness.len(), |cluster| run.on(cluster).expect("no failure"))
            }
        })
        .unwrap_or_else(|code| panic!("{run:?} ended with {code}"));

        let sorted = |mut tickets: Vec<usize>| {
            tickets.sort_unstable();
            tickets
        };
        let all: Vec<_> = (0..run.tickets).collect();
        let worked = ranks.iter().flat_map(|(worked, _)| worked.iter().copied()).collect();
        assert_eq!(sorted(worked), all, "tickets worked on, {run:?}");
        assert_eq!(sorted(ranks[0].1.clone()), all, "tickets stored, {run:?}");
        let elsewhere: usize = ranks[1..].iter().map(|(_, stored)| stored.len()).sum();
        assert_eq!(elsewhere, 0, "tickets stored elsewhere than on rank 0, {run:?}");
    }
}

#[test]
fn a_slow_rank_takes_fewer_tickets() {
    let run =
        Run { how: How::OneByOne, tickets: 63, slowness: vec![1_000, 50_000, 1_000], slow_sink: 0 };
    let ranks = in_time("63 tickets", move || channels::run(3, |cluster| run.on(cluster)));
    let counts: Vec<_> =
        ranks.expect("a run").into_iter().map(|rank| rank.expect("no failure").0.len()).collect();
    assert!(counts[1] < 10, "tickets of the slow rank 1, of 63: {counts:?}");
}

#[test]
fn a_solo_run_works_on_everything() {
    for how in BOTH {
        let run = Run { how, tickets: 101, slowness: vec![0], slow_sink: 0 };
        let (worked, stored) = run.on(&mut Solo).expect("no failure");
        let all: Vec<_> = (0..101).collect();
        assert_eq!((worked, stored), (all.clone(), all), "{how:?}");
    }
    assert_eq!(Solo.broadcast(vec![1, 2, 3]), [1, 2, 3]);
    assert!(Solo.local_threads() >= 1);
}

#[test]
fn rank_0_holds_few_results_while_it_stores() {
    let (made, stored) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let most = AtomicUsize::new(0);
    let ranks = 5;
    let ended = channels::run(ranks, |cluster| {
        let work = |_| {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(vec![0; 7])
        };
        serve::run(cluster, 201, work, |_, _| {
            let held = made.load(Ordering::SeqCst) - stored.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(held, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(300));
            Ok(())
        })
    });
    ended.expect("a run").into_iter().collect::<Result<Vec<_>>>().expect("no failure");
    // A backlog of 4 and one being stored, two of rank 0's own, one each of the others.
    let most = most.into_inner();
    assert!(most <= 4 + 1 + 2 + ranks, "results held at once: {most}");
}

/// Where a ticket fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Reading,
    Work,
}

const WAYS: [(How, Place); 3] =
    [(How::OneByOne, Place::Work), (How::Ahead, Place::Reading), (How::Ahead, Place::Work)];

/// Runs on `ranks` ranks until `fails` says that a rank fails on a ticket, and gives the
/// run's exit code and rank 0's error.
fn failing(
    (how, place): (How, Place),
    ranks: usize,
    fails: impl Fn(usize, usize) -> bool + Send + Sync + 'static,
) -> (Option<i32>, Vec<String>) {
    let (tell, told) = mpsc::channel();
    let ended = in_time("a failing run", move || {
        channels::run(ranks, |cluster| {
            let rank = cluster.rank();
            let at = |here, ticket| match here == place && fails(rank, ticket) {
                true => Err(Error::configuration(format!("ticket {ticket} is bad"))),
                false => Ok(()),
            };
            let read = |ticket| at(Place::Reading, ticket);
            let work = |ticket| at(Place::Work, ticket).map(|()| result_of(ticket));
            if let Err(error) = how.serve(cluster, 53, read, work, |_, _| Ok(())) {
                if rank == 0 {
                    tell.send(error.to_string()).expect("the test listens");
                }
                // As `fail` does, without its line in the output of the tests.
                cluster.abort(1);
            }
        })
    });
    (ended.err(), told.try_iter().collect())
}

#[test]
fn an_error_on_any_rank_ends_the_run_on_all() {
    for (ranks, way) in [2, 3, 7].into_iter().flat_map(|n| WAYS.map(|way| (n, way))) {
        for bad in [1, ranks - 1] {
            // The bad rank fails at its first ticket, wherever the others are.
            let (ended, told) = failing(way, ranks, move |rank, _| {
                thread::sleep(Duration::from_millis(1));
                rank == bad
            });
            assert_eq!(ended, Some(1), "how the run of {ranks} ranks ended, {way:?}");
            if let Some(told) = told.first() {
                assert!(told.starts_with(&format!("rank {bad}: ticket ")), "rank 0 said: {told}");
            }
        }
    }
}

#[test]
fn an_error_of_rank_0_itself_keeps_its_type() {
    for (ranks, way) in [1, 3].into_iter().flat_map(|n| WAYS.map(|way| (n, way))) {
        let (ended, told) = failing(way, ranks, |rank, _| {
            thread::sleep(Duration::from_millis(1));
            rank == 0
        });
        assert_eq!(ended, Some(1), "how the run of {ranks} ranks ended, {way:?}");
        assert!(told[0].starts_with("ticket ") && told[0].ends_with("is bad"), "{told:?}");
    }
}

#[test]
fn an_error_of_storing_ends_the_run() {
    let ended = in_time("a full disk", || {
        channels::run(3, |cluster| {
            let store = |ticket, _| match ticket {
                17 => Err(Error::file("maps.h5", "the disk is full")),
                _ => Ok(()),
            };
            let served = serve::run(cluster, 41, |ticket| Ok(result_of(ticket)), store);
            if cluster.rank() == 0 {
                assert!(served.is_err(), "a run whose ticket 17 cannot be stored");
                cluster.abort(1);
            }
        })
    });
    assert_eq!(ended.map(|ranks| ranks.len()), Err(1));
}

#[test]
fn a_panic_on_any_rank_ends_the_run_on_all() {
    for (bad, how) in [0, 2].into_iter().flat_map(|bad| BOTH.map(|how| (bad, how))) {
        let ended = in_time("a panic", move || {
            channels::run(4, |cluster| {
                let rank = cluster.rank();
                let work = |ticket| {
                    thread::sleep(Duration::from_millis(1));
                    assert!(rank != bad, "this panic belongs to the test");
                    Ok(result_of(ticket))
                };
                how.serve(cluster, 1001, |_| Ok(()), work, |_, _| Ok(())).is_ok()
            })
        });
        assert_eq!(ended, Err(101), "how a run ended in which rank {bad} panics, {how:?}");
    }
}

#[test]
fn a_failed_run_does_not_wait_for_a_long_ticket_of_rank_0() {
    let start = Instant::now();
    let ended = in_time("a long ticket", || {
        channels::run(2, |cluster| {
            let rank = cluster.rank();
            let work = |ticket| {
                if rank == 1 {
                    // Rank 0 is at its first ticket by then.
                    thread::sleep(Duration::from_millis(300));
                    return Err(Error::configuration(format!("ticket {ticket} is bad")));
                }
                thread::sleep(Duration::from_secs(4));
                Ok(Vec::new())
            };
            let served = serve::run(cluster, 5, work, |_, _| Ok(()));
            assert!(rank == 1, "rank 0 ends the job from within, not with {served:?}");
        })
    });
    assert_eq!(ended.map(|ranks| ranks.len()), Err(1));
    // Rank 0's thread lives to the end of its ticket only because ranks are threads here.
    assert!(start.elapsed() < Duration::from_secs(10), "ended after {:?}", start.elapsed());
}
