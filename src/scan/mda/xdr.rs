//! Values of the XDR encoding (RFC 4506), as EPICS writes them: big-endian, four bytes at least.
//!
//! Knows nothing of scans. No number from the file is trusted: every length is held against the
//! bytes that are left before anything is reserved or skipped.

use std::io::{BufReader, Read, Seek, SeekFrom};

/// What is wrong at which byte, a sentence without the file's name.
pub(super) type Result<T> = std::result::Result<T, String>;

/// What a user can do about a file that contradicts itself.
pub(super) const DAMAGED: &str = "it is cut off or damaged: copy it again from the beamline";

/// A file of XDR values and the place to read next.
pub(super) struct Xdr<S: Read + Seek> {
    source: BufReader<S>,
    len: u64,
    at: u64,
}

impl<S: Read + Seek> Xdr<S> {
    /// Starts at the beginning of `source`.
    pub(super) fn new(mut source: S) -> std::io::Result<Self> {
        let len = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        Ok(Self { source: BufReader::new(source), len, at: 0 })
    }

    /// Length of the file \[bytes\].
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Place of the next value \[bytes\].
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Goes to a place in the file.
    pub(super) fn go_to(&mut self, at: u64) -> Result<()> {
        if at > self.len {
            return Err(format!(
                "the file refers to its byte {at}, but ends at byte {}; {DAMAGED}",
                self.len
            ));
        }
        // A relative seek keeps the buffer, so that neighbouring records cost no system call.
        let step = i64::try_from(at).and_then(|to| i64::try_from(self.at).map(|from| to - from));
        let step = step.map_err(|_| format!("the file refers to its byte {at}; {DAMAGED}"))?;
        self.source.seek_relative(step).map_err(|e| format!("cannot read byte {at}: {e}"))?;
        self.at = at;
        Ok(())
    }

    /// Skips `bytes`.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<()> {
        self.needs(bytes, "data")?;
        self.go_to(self.at + bytes)
    }

    /// Makes sure that `bytes` more bytes exist, for `what`.
    pub(super) fn needs(&self, bytes: u64, what: &str) -> Result<()> {
        if bytes > self.len - self.at {
            return Err(format!(
                "the file ends at byte {}, but {what} at byte {} takes {bytes} bytes; {DAMAGED}",
                self.len, self.at
            ));
        }
        Ok(())
    }

    /// A signed integer; shorts take four bytes too.
    pub(super) fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.bytes("a number")?))
    }

    /// A number of things, at most `most`.
    pub(super) fn count(&mut self, what: &str, most: usize) -> Result<usize> {
        let at = self.at;
        let n = self.int()?;
        usize::try_from(n)
            .ok()
            .filter(|&n| n <= most)
            .ok_or_else(|| format!("{n} {what} at byte {at} (0 to {most} are possible); {DAMAGED}"))
    }

    /// A single-precision number.
    pub(super) fn float(&mut self) -> Result<f32> {
        Ok(f32::from_be_bytes(self.bytes("a number")?))
    }

    /// A counted string: its length, then, unless that is 0, the length again and the characters
    /// (Latin-1), padded to four bytes.
    pub(super) fn string(&mut self) -> Result<String> {
        if self.int()? <= 0 {
            return Ok(String::new());
        }
        let most = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        let length = self.count("characters of a string", most)?;
        self.needs(length.next_multiple_of(4) as u64, "a string")?;
        let raw = self.block(length.next_multiple_of(4))?;
        let text = raw[..length].split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(text.iter().map(|&byte| char::from(byte)).collect())
    }

    /// `n` signed integers.
    pub(super) fn ints(&mut self, n: usize) -> Result<Vec<i32>> {
        let raw = self.array(n, 4, "an array")?;
        Ok(raw.chunks_exact(4).map(|b| i32::from_be_bytes(word(b))).collect())
    }

    /// `n` places in the file.
    pub(super) fn offsets(&mut self, n: usize) -> Result<Vec<u32>> {
        let raw = self.array(n, 4, "a table of offsets")?;
        Ok(raw.chunks_exact(4).map(|b| u32::from_be_bytes(word(b))).collect())
    }

    /// `n` single-precision numbers.
    pub(super) fn floats(&mut self, n: usize) -> Result<Vec<f32>> {
        let raw = self.array(n, 4, "an array")?;
        Ok(raw.chunks_exact(4).map(|b| f32::from_be_bytes(word(b))).collect())
    }

    /// `n` double-precision numbers.
    pub(super) fn doubles(&mut self, n: usize) -> Result<Vec<f64>> {
        let raw = self.array(n, 8, "an array")?;
        Ok(raw.chunks_exact(8).map(|b| f64::from_be_bytes(word(b))).collect())
    }

    fn array(&mut self, n: usize, width: usize, what: &str) -> Result<Vec<u8>> {
        let bytes =
            n.checked_mul(width).ok_or_else(|| format!("{what} of {n} values; {DAMAGED}"))?;
        self.needs(bytes as u64, what)?;
        self.block(bytes)
    }

    fn block(&mut self, bytes: usize) -> Result<Vec<u8>> {
        let mut raw = vec![0; bytes];
        self.fill(&mut raw)?;
        Ok(raw)
    }

    fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        self.needs(N as u64, what)?;
        let mut raw = [0; N];
        self.fill(&mut raw)?;
        Ok(raw)
    }

    fn fill(&mut self, raw: &mut [u8]) -> Result<()> {
        let at = self.at;
        self.source.read_exact(raw).map_err(|e| format!("cannot read byte {at}: {e}"))?;
        self.at += raw.len() as u64;
        Ok(())
    }
}

/// The bytes of one value.
fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("chunks_exact gives chunks of this length")
}
