//! Builds tests/emulator, and fits with its program `emulate`.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{fs, io};

use ndarray::Array2;
use xrfit::engine::Precision;
use xrfit::problem::Problem;

/// What it is compiled with.
const FLAGS: [&str; 9] = [
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-pthread",
    "-fno-math-errno",
    "-fno-exceptions",
    "-fvisibility=hidden",
    "-Wall",
    "-Wno-unknown-pragmas",
];

/// An image for the stand-in driver, which has the kernels in itself.
const IMAGE: &str =
    "// the stand-in driver has the kernels in itself\n.version 8.0\n.target sm_90\n";

/// The folder with `emulate` and the stand-in `libcuda.so.1`, made once from each state of the sources; `None`
/// (and a line that says so) where there is no C++ compiler.
pub fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| make(&[])).as_deref()
}

/// The same, its kernels compiled with macros.
pub fn make(defines: &[String]) -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let Ok(version) = Command::new(&compiler).arg("--version").output() else {
        println!("skipped: no C++ compiler {compiler}");
        return None;
    };
    let mut state = DefaultHasher::new();
    (FLAGS, version.stdout, defines).hash(&mut state);
    for source in sources(&["kernels", "tests/emulator", "tests/emulator/driver"]) {
        (&source, fs::read(&source).expect("a source is read")).hash(&mut state);
    }
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = tmp.join(format!("emulator-{:016x}", state.finish()));
    if !folder.exists() {
        let unfinished = tempfile::tempdir_in(tmp).expect("a folder");
        build(&compiler, unfinished.path(), defines);
        // another test may have been quicker
        let moved = fs::rename(unfinished.path(), &folder);
        moved.or_else(there_by_now).expect("the finished folder gets its name");
    }
    Some(folder)
}

fn there_by_now(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    }
}

/// The C++ files of folders, in order.
fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = folders.iter().flat_map(|f| fs::read_dir(root.join(f)).expect("a folder"));
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry").path()).collect();
    let known = ["cpp", "cu", "cuh", "h"].map(OsStr::new);
    files.retain(|f| f.extension().is_some_and(|e| known.contains(&e)));
    files.sort();
    files
}

fn build(compiler: &str, folder: &Path, defines: &[String]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let emulator = root.join("tests/emulator");
    let compile = |arguments: &[&OsStr]| {
        let mut command = Command::new(compiler);
        command.args(FLAGS).arg("-I").arg(root.join("kernels")).arg("-I").arg(&emulator);
        let output = command.args(arguments).output().expect("the compiler starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let [o, c] = ["-o", "-c"].map(OsStr::new);
    let defines: Vec<String> = defines.iter().map(|define| format!("-D{define}")).collect();
    let [fibers, kernels] =
        [("fibers", &[][..]), ("kernels", &defines[..])].map(|(name, given)| {
            let source = emulator.join(name).with_extension("cpp");
            let object = folder.join(name).with_extension("o");
            let given: Vec<&OsStr> = given.iter().map(OsStr::new).collect();
            compile(&[&given[..], &[c, source.as_ref(), o, object.as_ref()]].concat());
            object
        });
    let objects = [kernels.as_os_str(), fibers.as_os_str()];
    let program = [emulator.join("emulate.cpp"), folder.join("emulate")];
    compile(&[&[program[0].as_ref(), o, program[1].as_ref()][..], &objects[..]].concat());
    let driver = sources(&["tests/emulator/driver"]);
    let driver = driver.iter().filter(|f| f.extension() == Some(OsStr::new("cpp")));
    let driver: Vec<&OsStr> = driver.map(|f| f.as_os_str()).collect();
    let library = folder.join("libcuda.so.1");
    let shared = ["-shared", "-Wl,-soname,libcuda.so.1", "-o"].map(OsStr::new);
    compile(&[&shared[..], &[library.as_ref()][..], &driver[..], &objects[..]].concat());
    std::os::unix::fs::symlink("libcuda.so.1", folder.join("libcuda.so")).expect("a link");
    fs::write(folder.join("stand-in.ptx"), IMAGE).expect("an image");
}

/// How the kernels are run.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub team: &'static str,
    pub memory: &'static str,
    pub order: &'static str,
    pub blocks: usize,
}

impl Way {
    pub fn precision(self) -> Precision {
        if self.team.ends_with("f64") { Precision::F64 } else { Precision::F32 }
    }
}

/// Spectra of one problem, as the emulator reads them.
pub struct Spectra<'a> {
    pub problem: &'a Problem,
    /// `[n, channels]`, `[n, window]`, `[n, variables]`
    pub counts: Array2<f64>,
    pub background: Array2<f64>,
    pub starts: Array2<f64>,
}

impl Spectra<'_> {
    fn bytes(&self) -> Vec<u8> {
        let p = self.problem;
        let index = |i: Option<usize>| i.map_or(-1, |i| i as i32);
        let mut bytes = Vec::new();
        let mut ints = |values: &[i32]| values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        ints(&[p.channels as i32, p.first as i32, p.count as i32, p.components.len() as i32]);
        ints(&[p.templates.nrows() as i32]);
        ints(&[index(p.elastic), index(p.compton), p.lines.len() as i32, p.tail as i32]);
        ints(&[p.escape_shift as i32, p.snip_order as i32, p.background as i32]);
        ints(&[p.objective as i32, p.optimizer as i32, p.steps as i32]);
        ints(&[i32::from(p.solve_start), i32::from(p.clip_net_counts), p.weights as i32]);
        let mut doubles =
            |v: &mut dyn Iterator<Item = f64>| v.for_each(|x| bytes.extend(x.to_le_bytes()));
        let saturation = f64::from(p.saturation.unwrap_or(f32::INFINITY));
        doubles(&mut [p.pair_energy_ev, p.snip_width, p.tolerance, saturation].into_iter());
        doubles(&mut p.lines.iter().map(|l| l.energy));
        doubles(&mut p.lines.iter().map(|l| l.ratio));
        doubles(&mut p.lines.iter().map(|l| l.mu));
        doubles(&mut p.lines.iter().map(|l| l.width));
        doubles(&mut p.lines.iter().map(|l| l.edge));
        p.lines.iter().for_each(|l| bytes.extend((l.component as i32).to_le_bytes()));
        p.lines.iter().for_each(|l| bytes.extend((l.family as i32).to_le_bytes()));
        let all = || p.variables();
        let mut doubles =
            |v: &mut dyn Iterator<Item = f64>| v.for_each(|x| bytes.extend(x.to_le_bytes()));
        doubles(&mut all().map(|v| v.start));
        doubles(&mut all().map(|v| v.lower));
        doubles(&mut all().map(|v| v.upper));
        doubles(&mut all().map(|v| v.rate));
        doubles(&mut all().map(|v| v.prior.map_or(0.0, |prior| prior.center)));
        doubles(&mut all().map(|v| v.prior.map_or(0.0, |prior| prior.width)));
        doubles(&mut p.templates.iter().copied());
        bytes.extend(all().map(|v| u8::from(v.free)));
        bytes.extend((self.counts.nrows() as i32).to_le_bytes());
        let arrays = [&self.counts, &self.background, &self.starts];
        arrays.iter().flat_map(|a| a.iter()).for_each(|x| bytes.extend(x.to_le_bytes()));
        bytes
    }

    /// The results of `task` (fit or evaluate), one number after another.
    pub fn run(&self, task: &str, way: Way) -> Numbers {
        self.run_with(folder().expect("a C++ compiler"), task, way)
    }

    /// And those of the emulator in a folder.
    pub fn run_with(&self, folder: &Path, task: &str, way: Way) -> Numbers {
        let mut child = Command::new(folder.join("emulate"))
            .args([task, way.team, way.memory, &way.blocks.to_string()])
            .env("EMULATED_ORDER", way.order)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the emulator starts");
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(&self.bytes()).expect("the emulator reads");
        drop(input);
        let output = child.wait_with_output().expect("the emulator ends");
        assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
        let numbers = output.stdout.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
        Numbers(numbers.collect::<Vec<_>>().into_iter())
    }
}

/// Numbers to be taken off in order.
pub struct Numbers(pub std::vec::IntoIter<f64>);

impl Numbers {
    pub fn take(&mut self, n: usize) -> Vec<f64> {
        let taken: Vec<f64> = self.0.by_ref().take(n).collect();
        assert_eq!(taken.len(), n, "the emulator wrote all results");
        taken
    }
}
