//! Ranks of an MPI job.
//!
//! Knows no tickets' meaning. Every wait looks and sleeps ([`Pause`]) instead of MPI's spinning.
//! Lengths of MPI messages are `c_int`, so bytes travel as their length and then parts of them.
//! MPI's own errors end the job (its default); so does a panic, through a hook, because a rank that
//! unwinds into `MPI_Finalize` would wait for the others for ever.

use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::environment::{Universe, initialize_with_threading, library_version};
use mpi::request::{Request, Scope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use super::cores::{self, Cores};
use super::failure::{PANICKED, say};
use super::pause::{ANSWER, Pause};
use super::{Cluster, Event, Launcher};
use crate::error::{Error, Result};

const READY: i32 = 1;
const LENGTH: i32 = 2;
const PART: i32 = 3;
const TICKET: i32 = 4;

/// Bytes of one MPI message: far below the limit of 2 GiB, and under way for few milliseconds.
const PART_BYTES: usize = 8 << 20;
/// How long a rank looks for a message without sleeping.
const AWAKE: Duration = Duration::from_millis(1);
/// The longest sleep of a rank that nobody waits for.
const REST: Duration = Duration::from_millis(2);
/// The ticket that means: none left.
const NO_TICKET: u64 = u64::MAX;

/// Joins the job that the launcher started.
///
/// # Errors
///
/// When the launcher started more processes than MPI finds: it belongs to another MPI.
pub(super) fn join(launcher: &Launcher) -> Result<Box<dyn Cluster>> {
    let (universe, _) =
        initialize_with_threading(Threading::Funneled).expect("a process joins once");
    let world = universe.world();
    let size = world.size() as usize;
    if launcher.size.is_some_and(|started| started != size) || size == 1 && launcher.has_several() {
        return Err(Error::configuration(format!(
            "{} started several processes, but {} finds {size} (each would map the whole scan); use \
             the launcher of that MPI, or build xrfit with the launcher's",
            launcher.name,
            library()
        )));
    }
    end_the_job_on_panic(world.rank());
    Ok(Box::new(Job::new(universe, world)))
}

/// The MPI library's name and version, without the rest of what it says.
pub(super) fn library() -> String {
    let text = library_version().unwrap_or_else(|_| "MPI".into());
    let name = text.split([',', '\n', '\0']).next().unwrap_or_default();
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One rank of the job.
struct Job {
    world: SimpleCommunicator,
    local: (usize, usize),
    /// Cores of the ranks of this machine.
    cores: Option<Vec<Cores>>,
    /// Dropped last: it ends MPI.
    _universe: Universe,
}

impl Job {
    fn new(universe: Universe, world: SimpleCommunicator) -> Self {
        let machine = world.split_shared(world.rank());
        let local = (machine.rank() as usize, machine.size() as usize);
        let cores = gather_cores(&machine, local.1);
        Self { world, local, cores, _universe: universe }
    }

    /// Gives every rank the bytes that rank 0 has, a part at a time.
    fn broadcast_part(&self, bytes: &mut [u8]) {
        let root = self.world.process_at_rank(0);
        scope(|scope| wait(root.immediate_broadcast_into(scope, bytes)));
    }

    /// The rest of the message that rank `rank` began with its length.
    fn receive_parts(&self, rank: i32, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        let sender = self.world.process_at_rank(rank);
        for part in bytes.chunks_mut(PART_BYTES) {
            sender.receive_into_with_tag(part, PART);
        }
        bytes
    }

    /// The next event, if it is there.
    fn look(&self) -> Option<Event> {
        let any = self.world.any_process();
        // A first probe may only bring in what a second one then finds.
        let probe = || any.immediate_matched_probe();
        let (message, status) = probe().or_else(probe)?;
        let rank = status.source_rank();
        match status.tag() {
            READY => {
                message.matched_receive_into(&mut [0_u8; 0][..]);
                Some(Event::Ready { rank: rank as usize })
            }
            LENGTH => {
                let mut length = 0_u64;
                message.matched_receive_into(&mut length);
                let bytes = self.receive_parts(rank, length);
                Some(Event::Message { rank: rank as usize, bytes })
            }
            tag => unreachable!("a message with tag {tag} from rank {rank}"),
        }
    }
}

impl Cluster for Job {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn local(&self) -> (usize, usize) {
        self.local
    }

    fn describe(&self) -> String {
        library()
    }

    fn local_threads(&self) -> usize {
        let Some(cores) = &self.cores else {
            return (cores::limit() / self.local.1).max(1);
        };
        let launcher = Cores::of_process(std::os::unix::process::parent_id());
        let advice = launcher.and_then(|launcher| cores::advice(cores, &launcher));
        if let Some(advice) = advice.filter(|_| self.rank() == 0) {
            log::warn!("{advice}");
        }
        cores::share(cores, self.local.0, cores::limit())
    }

    fn next_ticket(&mut self) -> Option<usize> {
        let first = self.world.process_at_rank(0);
        let mut ticket = 0_u64;
        scope(|scope| {
            wait(first.immediate_send_with_tag(scope, &[0_u8; 0][..], READY));
            wait(first.immediate_receive_into_with_tag(scope, &mut ticket, TICKET));
        });
        (ticket != NO_TICKET).then_some(ticket as usize)
    }

    fn send(&mut self, bytes: &[u8]) {
        assert!(self.rank() > 0, "rank 0 sends to nobody");
        let first = self.world.process_at_rank(0);
        let length = bytes.len() as u64;
        scope(|scope| {
            wait(first.immediate_send_with_tag(scope, &length, LENGTH));
            for part in bytes.chunks(PART_BYTES) {
                wait(first.immediate_send_with_tag(scope, part, PART));
            }
        });
    }

    fn receive(&mut self, wait: Duration) -> Option<Event> {
        let start = Instant::now();
        let mut pause = Pause::up_to(ANSWER);
        loop {
            let event = self.look();
            if event.is_some() || start.elapsed() >= wait {
                return event;
            }
            thread::sleep(pause.next());
        }
    }

    fn grant(&mut self, rank: usize, ticket: Option<usize>) {
        let ticket = ticket.map_or(NO_TICKET, |ticket| ticket as u64);
        self.world.process_at_rank(rank as i32).send_with_tag(&ticket, TICKET);
    }

    fn broadcast(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let mut length = (bytes.len() as u64).to_le_bytes();
        self.broadcast_part(&mut length);
        bytes.resize(u64::from_le_bytes(length) as usize, 0);
        for part in bytes.chunks_mut(PART_BYTES) {
            self.broadcast_part(part);
        }
        bytes
    }

    fn barrier(&mut self) {
        wait(self.world.immediate_barrier());
    }

    fn abort(&mut self, code: i32) -> ! {
        self.world.abort(code)
    }
}

/// `MPI_Finalize` waits for all ranks too, and spins.
impl Drop for Job {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.barrier();
        }
    }
}

/// Waits for a request: a moment awake, as nothing computes on this rank meanwhile, then asleep.
fn wait<'a, D: ?Sized, S: Scope<'a>>(request: Request<'a, D, S>) {
    let start = Instant::now();
    let mut pause = Pause::up_to(REST);
    let mut open = request.test();
    while let Err(request) = open {
        if start.elapsed() < AWAKE {
            thread::yield_now();
        } else {
            thread::sleep(pause.next());
        }
        open = request.test();
    }
}

/// The cores of each rank of this machine, `None` where a system does not say.
fn gather_cores(machine: &SimpleCommunicator, ranks: usize) -> Option<Vec<Cores>> {
    let none = Cores([0; Cores::WORDS]);
    let own = Cores::of_process(std::process::id()).unwrap_or(none);
    let mut words = vec![0_u64; ranks * Cores::WORDS];
    machine.all_gather_into(&own.0[..], &mut words[..]);
    let all: Vec<_> =
        words.chunks_exact(Cores::WORDS).filter_map(|set| set.try_into().ok().map(Cores)).collect();
    (!all.contains(&none)).then_some(all)
}

/// Sets the hook that ends the job when any thread of this rank panics.
fn end_the_job_on_panic(rank: i32) {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    panic::set_hook(Box::new(move |info| {
        let first = !PANICKING.swap(true, Ordering::SeqCst);
        if first {
            say(&format!("rank {rank}: {}", describe(info)));
        }
        if !mpi::is_initialized() || mpi::is_finalized() {
            return;
        }
        if first {
            // MPI may only be called from the first thread and this may be another: if the call
            // gets stuck, the process goes all the same, and the launcher ends the rest.
            thread::spawn(|| {
                thread::sleep(Duration::from_secs(3));
                std::process::abort();
            });
            SimpleCommunicator::world().abort(PANICKED);
        }
        thread::sleep(Duration::from_secs(10));
    }));
}

/// What a panic says, in one line; a backtrace follows when the user asked for it.
fn describe(info: &PanicHookInfo<'_>) -> String {
    let said = info.payload();
    let what = said.downcast_ref::<&str>().copied();
    let what =
        what.or_else(|| said.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic");
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let trace = std::backtrace::Backtrace::capture();
    let trace = match trace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
        _ => String::new(),
    };
    format!("{what}{place} (this is an error in xrfit itself; please report it){trace}")
}
