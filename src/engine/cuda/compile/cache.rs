//! Compiled kernels on disk: `$XRFIT_CACHE`, or `xrfit` in `$XDG_CACHE_HOME` or `~/.cache`.
//!
//! An entry begins with the length and the SHA-256 of what it holds, so that one that was cut short is noticed.
//! It gets its name when it is complete, so any number of ranks may read and write at once. A cache that cannot
//! be used costs time and nothing else.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Begins every entry; the number changes with the layout.
const MAGIC: &[u8] = b"xrfit kernels 1\n";
const HASH: usize = 32;
const HEADER: usize = MAGIC.len() + 8 + HASH;

/// What is kept under a key, if it is whole.
pub(super) fn read(key: &str) -> Option<Vec<u8>> {
    let path = entry(key)?;
    let entry = match fs::read(&path) {
        Ok(entry) => entry,
        Err(e) => {
            if e.kind() != std::io::ErrorKind::NotFound {
                log::warn!("{}: {e}; the kernels are compiled again", path.display());
            }
            return None;
        }
    };
    let held = content(&entry);
    if held.is_none() {
        log::warn!("{}: damaged; the kernels are compiled again", path.display());
    }
    held.map(<[u8]>::to_vec)
}

/// Keeps `content` under a key.
pub(super) fn write(key: &str, content: &[u8]) {
    let Some(path) = entry(key) else {
        log::debug!("there is no home for a cache of compiled kernels; name one in XRFIT_CACHE");
        return;
    };
    let partial = path.with_file_name(format!(".{key}.partial-{}", unique()));
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let mut file = fs::File::create_new(&partial)?;
        file.write_all(&header(content))?;
        file.write_all(content)?;
        fs::rename(&partial, &path)
    });
    if let Err(e) = written {
        log::debug!("{}: {e}; the kernels will be compiled again", path.display());
        // whatever is left of it; that there is nothing is as good
        fs::remove_file(&partial).ok();
    }
}

fn entry(key: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XRFIT_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("xrfit")))
        .or_else(|| Some(set("HOME")?.join(".cache/xrfit")))
        .map(|folder| folder.join(format!("{key}.image")))
}

fn header(content: &[u8]) -> Vec<u8> {
    [MAGIC, &(content.len() as u64).to_le_bytes(), &Sha256::digest(content)].concat()
}

fn content(entry: &[u8]) -> Option<&[u8]> {
    let content = entry.get(HEADER..)?;
    entry.starts_with(&header(content)).then_some(content)
}

/// Differs between threads, processes, and nodes that share the folder.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |now| now.as_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{nanoseconds:x}-{count}", std::process::id())
}
