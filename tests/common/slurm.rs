//! A Slurm of the test's own, in a temporary folder and at free ports; it ends with the value that stands for it.
//!
//! ```text
//! let Some(slurm) = Slurm::start(Nodes::One) else { return };
//! let job = slurm.submit(&["--ntasks-per-node=3"], "cpu.sbatch", &["scan.h5", "-o", "maps.h5"]);
//! slurm.wait_for(&job, "COMPLETED");
//! println!("{}", slurm.log(&job));
//! ```
#![allow(dead_code, reason = "each test uses its part")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A job that takes longer for one step of its life hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What the cluster has; on this machine, whatever it says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// `n1`, with eight cores.
    One,
    /// `n1` and `n2`, with four cores and two devices each.
    TwoWithDevices,
}

pub struct Slurm {
    /// Its files, and the folder `work` in which jobs run.
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Slurm {
    /// `None`, and a line that says so, where Slurm is absent or does not start.
    pub fn start(nodes: Nodes) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["state", "spool", "tmp", "work"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let file = |name, text: String| {
            fs::write(folder.path().join(name), text).expect("a file of Slurm's");
        };
        file("slurm.conf", configuration(folder.path(), nodes));
        file("gres.conf", devices(nodes));
        let mut slurm = Self { folder, daemons: Vec::new() };
        let names: &[&str] = if nodes == Nodes::One { &["n1"] } else { &["n1", "n2"] };
        let mut started = slurm.daemon("slurmctld", &["-D", "-c"]);
        for name in names {
            started = started && slurm.daemon("slurmd", &["-D", "-N", name]);
        }
        if started && slurm.is_up(names.len()) {
            return Some(slurm);
        }
        println!("skipped: Slurm (slurmctld, slurmd, sbatch) is absent or does not start here");
        None
    }

    /// Starts one of Slurm's daemons as a child; whether it is there.
    fn daemon(&mut self, program: &str, options: &[&str]) -> bool {
        let log = File::create(self.path(&format!("{program}.{}.out", self.daemons.len())));
        let spawn = |program: &str| {
            let out = log.as_ref().expect("a log").try_clone().expect("a log");
            let mut command = self.command(program);
            command.args(options).stdout(Stdio::null()).stderr(out).spawn()
        };
        // Debian has it where only root looks
        let child = spawn(program).or_else(|_| spawn(&format!("/usr/sbin/{program}")));
        let started = child.is_ok();
        self.daemons.extend(child);
        started
    }

    fn is_up(&self, nodes: usize) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(15) {
            if self.ask("sinfo", &["-h", "-N", "-t", "idle", "-o", "%N"]).lines().count() == nodes {
                return true;
            }
            sleep(PAUSE);
        }
        false
    }

    /// A file of Slurm's own.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder in which jobs run.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// A command that talks to this Slurm, and whose jobs find xrfit and may start many ranks as root.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let inherited = |(name, _): &(String, String)| {
            ["SLURM", "SBATCH", "OMPI_MCA", "PMI"].iter().any(|begin| name.starts_with(begin))
        };
        for (name, _) in std::env::vars().filter(inherited) {
            command.env_remove(name);
        }
        let programs = Path::new(env!("CARGO_BIN_EXE_xrfit")).parent().expect("its folder");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(self.work())
            .stdin(Stdio::null())
            .env("SLURM_CONF", self.path("slurm.conf"))
            .env("PATH", format!("{}:{path}", programs.display()))
            .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
            .env("OMPI_MCA_mpi_yield_when_idle", "1");
        command
    }

    /// What a command says; nothing where it fails.
    pub fn ask(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program).args(args).output();
        output.map_or_else(|_| String::new(), |o| String::from_utf8_lossy(&o.stdout).into_owned())
    }

    /// `sbatch`, ready to be given more variables, for a script of jobs/.
    pub fn sbatch(&self, options: &[&str], script: &str, args: &[&str]) -> Command {
        let mut command = self.command("sbatch");
        command.args(["--parsable", "--mem-per-cpu=50", "--output=job-%j.log"]).args(options);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs").join(script)).args(args);
        command
    }

    /// Submits; the number of the job.
    pub fn submitted(&self, sbatch: &mut Command) -> String {
        let output = sbatch.output().expect("sbatch starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sbatch:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    pub fn submit(&self, options: &[&str], script: &str, args: &[&str]) -> String {
        self.submitted(&mut self.sbatch(options, script, args))
    }

    /// What `scontrol show job` says about a job (the first task of an array): `JobState`, `Restarts`, ...
    pub fn about(&self, job: &str, what: &str) -> String {
        let shown = self.ask("scontrol", &["show", "job", job]);
        let value = shown.split_whitespace().find_map(|w| w.strip_prefix(what)?.strip_prefix('='));
        value.unwrap_or_default().to_string()
    }

    /// Waits until a job is in this state: `PENDING`, `RUNNING`, `COMPLETED`, `FAILED`.
    pub fn wait_for(&self, job: &str, state: &str) {
        self.wait(job, state, || self.about(job, "JobState") == state);
    }

    /// Waits until the log of a job has these words.
    pub fn wait_for_words(&self, job: &str, words: &str) {
        self.wait(job, words, || self.log(job).contains(words));
    }

    fn wait(&self, job: &str, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            // a job that failed will not come to anything else
            let failed = self.about(job, "JobState") == "FAILED" && !is_so();
            if failed || began.elapsed() > LIMIT {
                let shown = self.ask("scontrol", &["show", "job", job]);
                panic!("job {job} is not `{what}`: {shown}{}", self.log(job));
            }
            sleep(PAUSE);
        }
    }

    /// Starts a requeued job without the two minutes that Slurm waits otherwise; not in the second in which it ended,
    /// whose credential it has revoked.
    pub fn restart_now(&self, job: &str) {
        self.wait_for(job, "PENDING");
        let update = ["update", &format!("JobId={job}"), "StartTime=now+2"];
        let updated = self.command("scontrol").args(update).status();
        assert!(updated.is_ok_and(|s| s.success()), "job {job} gets an earlier start");
    }

    /// What a job has written so far.
    pub fn log(&self, job: &str) -> String {
        let number = self.about(job, "JobId");
        let read = fs::read(self.work().join(format!("job-{number}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&read).into_owned()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let jobs = self.ask("squeue", &["-h", "-o", "%i"]);
        for job in jobs.lines() {
            self.ask("scancel", &[job]);
        }
        let began = Instant::now();
        while !self.ask("squeue", &["-h"]).is_empty() && began.elapsed() < Duration::from_secs(15) {
            sleep(PAUSE);
        }
        // the nodes before their head, each with the time to put its things away
        for mut daemon in self.daemons.drain(..).rev() {
            let id = daemon.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &id]).status();
            let began = Instant::now();
            while matches!(daemon.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(5)
            {
                sleep(PAUSE);
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Ports that nobody listens at.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

fn configuration(folder: &Path, nodes: Nodes) -> String {
    let [head, first, second] = free_ports();
    let user = Command::new("id").arg("-un").output().expect("id starts");
    let user = String::from_utf8_lossy(&user.stdout).trim().to_string();
    let dir = folder.display();
    let mut text = format!(
        "ClusterName=xrfit
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={head}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd.%n.pid
SlurmdSpoolDir={dir}/spool/%n
StateSaveLocation={dir}/state
TmpFS={dir}/tmp
SlurmctldLogFile={dir}/slurmctld.log
SlurmdLogFile={dir}/slurmd.%n.log
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=600
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"
    );
    let node = |name, port, more| {
        format!("NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} {more}\n")
    };
    let added = match nodes {
        Nodes::One => node("n1", first, "CPUs=8 RealMemory=4000"),
        Nodes::TwoWithDevices => {
            let more = "CPUs=4 RealMemory=2000 Gres=gpu:2";
            format!("GresTypes=gpu\n{}{}", node("n1", first, more), node("n2", second, more))
        }
    };
    text.write_str(&added).expect("text");
    text
}

/// Two files that every machine has stand for the devices of a node.
fn devices(nodes: Nodes) -> String {
    match nodes {
        Nodes::One => String::new(),
        Nodes::TwoWithDevices => ["/dev/null", "/dev/zero"]
            .map(|file| format!("NodeName=n[1-2] Name=gpu File={file}\n"))
            .concat(),
    }
}
