//! Promise: files of other programs are read: compressed with the filters of hdf5plugin when those are
//! there, big-endian, and while the other program holds a lock, if the user says so.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use xrfit::scan::{self, OpenOptions};

const LOCKED: OpenOptions = OpenOptions { file_locking: true };

/// A Python that can do `import`, named by `XRFIT_PYTHON`; `None`, and a line that says so, without one.
fn python(import: &str) -> Option<String> {
    let python = std::env::var("XRFIT_PYTHON").unwrap_or_else(|_| "python3".into());
    let can =
        Command::new(&python).args(["-c", import]).output().is_ok_and(|out| out.status.success());
    if !can {
        println!("skipped: {python} (XRFIT_PYTHON) cannot {import}");
    }
    can.then_some(python)
}

#[test]
fn a_file_without_locks_opens_while_another_holds_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("scan.h5");
    // Locks are between programs, and cargo's environment turns them off.
    const LOCKS: &str = "HDF5_USE_FILE_LOCKING";
    let Some(python) = python("import h5py") else { return };
    let script = format!(
        "import h5py, numpy as np, sys\n\
         f = h5py.File({path:?}, 'w')\n\
         f['MAPS_RAW/data_a'] = np.zeros((37, 11, 13), 'u2')\n\
         f.flush()\n\
         print('open', flush=True)\n\
         sys.stdin.read()"
    );
    let mut writer = Command::new(python)
        .args(["-c", &script])
        .env_remove(LOCKS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 5];
    writer.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let inspect = |options: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_xrfit"));
        program.env_remove(LOCKS).arg("inspect").arg(&path).args(options);
        program.output().expect("the program starts")
    };
    let [locked, unlocked] = [&[][..], &["--no-file-locking"]].map(inspect);
    drop(writer.stdin.take());
    writer.wait().unwrap();
    let message = String::from_utf8_lossy(&locked.stderr);
    assert!(!locked.status.success(), "a locked file was opened");
    assert!(message.contains("--no-file-locking"), "no way out in: {message}");
    let message = String::from_utf8_lossy(&unlocked.stderr);
    assert!(unlocked.status.success(), "without locking: {message}");
    let told = String::from_utf8_lossy(&unlocked.stdout);
    assert!(told.contains("11 rows x 13 columns"), "rows and columns in: {told}");
}

#[test]
fn plugin_filters_are_read_when_their_plugin_is_there() {
    let Some(python) = python("import h5py, hdf5plugin") else { return };
    if std::env::var_os("XRFIT_TEST_PLUGINS").is_some() {
        ["blosc", "lz4", "bitshuffle", "zstd", "big_endian"].into_iter().for_each(check);
        return;
    }
    let folder = TempDir::new().unwrap();
    let script = "
import sys, numpy as np, h5py, hdf5plugin as p
c, r, x = np.indices((37, 11, 13))
counts = ((c * 31 + r * 17 + x * 7) % 127).astype('<u2')
kinds = dict(blosc=p.Blosc(), lz4=p.LZ4(), bitshuffle=p.Bitshuffle(), zstd=p.Zstd(), big_endian={})
for name, kind in kinds.items():
    data = counts.astype('>i2') if name == 'big_endian' else counts
    with h5py.File(sys.argv[1] + '/' + name, 'w') as f:
        f.create_dataset('MAPS_RAW/data_a', data=data, chunks=(37, 2, 5), **kind)
print(p.PLUGINS_PATH)
";
    let out = Command::new(python).args(["-c", script]).arg(folder.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // libhdf5 looks for plugins once, at its start: so in a process of its own.
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plugin_filters_are_read_when_their_plugin_is_there"])
        .env("XRFIT_TEST_PLUGINS", folder.path())
        .env("HDF5_PLUGIN_PATH", String::from_utf8(out.stdout).unwrap().trim())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// Reads one of the files of the script, in tiles that cut its chunks, and compares.
fn check(name: &str) {
    let folder = PathBuf::from(std::env::var_os("XRFIT_TEST_PLUGINS").expect("set for the child"));
    let mut scan = scan::open(&folder.join(name), LOCKED).unwrap_or_else(|error| panic!("{error}"));
    for first in (0..143).step_by(31) {
        let pixels = first..143.min(first + 31);
        let spectra = scan.spectra(0, pixels.clone()).unwrap_or_else(|error| panic!("{error}"));
        for ((k, channel), count) in spectra.indexed_iter() {
            let (row, col) = ((pixels.start + k) / 13, (pixels.start + k) % 13);
            let expected = ((channel * 31 + row * 17 + col * 7) % 127) as f32;
            assert!(
                *count == expected,
                "{name}: {row}, {col}, {channel}: {count}, expected {expected}"
            );
        }
    }
}
