//! The chunks of a dataset: which of them a run of pixels touches, their stored bytes, unpacking.

use std::ops::Range;
use std::sync::Arc;

use hdf5::filters::Filter;
use hdf5_sys::h5::{herr_t, hsize_t};
use hdf5_sys::h5d::H5Dread_chunk1;
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5p::H5P_DEFAULT;
use libdeflater::Decompressor;

use super::sample::{Piece, Sample};

/// A larger chunk is left to libhdf5 \[bytes\].
const LARGEST: usize = 256 << 20;

/// Filters that spectra come with, by their registered number.
const FILTERS: [(i32, &str); 16] = [
    (1, "deflate"),
    (2, "shuffle"),
    (3, "fletcher32"),
    (4, "szip"),
    (5, "nbit"),
    (6, "scale-offset"),
    (307, "bzip2"),
    (32000, "LZF"),
    (32001, "Blosc"),
    (32004, "LZ4"),
    (32008, "bitshuffle"),
    (32013, "ZFP"),
    (32015, "Zstandard"),
    (32017, "SZ"),
    (32024, "SZ3"),
    (32026, "Blosc2"),
];

// hdf5-metno-sys lacks this one; H5Dget_chunk_info_by_coord walks through all chunks instead.
unsafe extern "C" {
    fn H5Dget_chunk_storage_size(
        dataset: hid_t,
        offset: *const hsize_t,
        bytes: *mut hsize_t,
    ) -> herr_t;
}

/// A filter that is undone here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    Shuffle,
    Deflate,
}

/// How the chunks of a dataset lie and are packed.
pub(super) struct Chunks {
    /// Channels, rows and columns of the dataset.
    volume: [usize; 3],
    /// Channels, rows and columns of a chunk.
    chunk: [usize; 3],
    sample_bytes: usize,
    /// In the order of writing.
    packings: Vec<Packing>,
}

impl Chunks {
    /// The chunks of a dataset; `None` when only libhdf5 can unpack them.
    pub(super) fn of(dataset: &hdf5::Dataset, sample: Sample) -> Option<Self> {
        let sample_bytes = sample.bytes().filter(|_| Sample::is_native(dataset))?;
        let chunk: [usize; 3] = dataset.chunk()?.try_into().ok()?;
        let packings: Vec<_> = dataset
            .dcpl()
            .and_then(|created| created.get_filters())
            .ok()?
            .iter()
            .map(|filter| match filter {
                Filter::Shuffle => Some(Packing::Shuffle),
                Filter::Deflate(_) => Some(Packing::Deflate),
                _ => None,
            })
            .collect::<Option<_>>()?;
        // Unpacked sizes are known for a single deflate only.
        if packings.iter().filter(|&&packing| packing == Packing::Deflate).count() > 1 {
            return None;
        }
        let volume = dataset.shape().try_into().ok()?;
        let bytes = chunk.iter().try_fold(sample_bytes, |bytes, &n| bytes.checked_mul(n))?;
        (1..=LARGEST).contains(&bytes).then_some(Self { volume, chunk, sample_bytes, packings })
    }

    /// Bytes of an unpacked chunk.
    pub(super) fn bytes(&self) -> usize {
        self.chunk.iter().product::<usize>() * self.sample_bytes
    }

    /// The box a chunk covers.
    pub(super) fn piece(&self, origin: [usize; 3]) -> Piece {
        Piece { origin, shape: self.chunk }
    }

    /// Origins of all chunks that hold something of these pixels, in the order of pixels.
    pub(super) fn touched(&self, pixels: &Range<usize>) -> Vec<[usize; 3]> {
        let ([channels, _, cols], [depth, height, width]) = (self.volume, self.chunk);
        let (first_row, last_row) = (pixels.start / cols, (pixels.end - 1) / cols);
        let mut origins = Vec::new();
        for row in (first_row / height * height..=last_row).step_by(height) {
            for col in (0..cols).step_by(width) {
                let rows = row.max(first_row)..(row + height).min(last_row + 1);
                let holds_some = |row: usize| {
                    let (start, end) = (row * cols + col, row * cols + (col + width).min(cols));
                    start < pixels.end && pixels.start < end
                };
                if rows.into_iter().any(holds_some) {
                    origins.extend((0..channels).step_by(depth).map(|channel| [channel, row, col]));
                }
            }
        }
        origins
    }

    /// The last pixel a chunk holds.
    pub(super) fn last_pixel(&self, origin: [usize; 3]) -> usize {
        let last_row = (origin[1] + self.chunk[1]).min(self.volume[1]) - 1;
        let last_col = (origin[2] + self.chunk[2]).min(self.volume[2]) - 1;
        last_row * self.volume[2] + last_col
    }

    /// An unpacked chunk; `None` when it was never written, or is not what it should be.
    pub(super) fn read(&self, dataset: &hdf5::Dataset, origin: [usize; 3]) -> Option<Arc<Vec<u8>>> {
        let (raw, skipped) = self.read_raw(dataset, origin)?;
        self.unpack(raw, skipped).map(Arc::new)
    }

    /// The stored bytes of a chunk, and which filters were skipped for it, as a bit mask.
    fn read_raw(&self, dataset: &hdf5::Dataset, origin: [usize; 3]) -> Option<(Vec<u8>, u32)> {
        let offset = origin.map(|n| n as hsize_t);
        hdf5::sync::sync(|| {
            let mut bytes: hsize_t = 0;
            // SAFETY: the dataset is open and has three dimensions, as many as `offset`; the lock is held.
            let found =
                unsafe { H5Dget_chunk_storage_size(dataset.id(), offset.as_ptr(), &raw mut bytes) };
            let bytes = usize::try_from(bytes).ok()?;
            // Filters that do not pay off add little: more than twice the size is damage.
            if found < 0 || bytes == 0 || bytes > 2 * self.bytes() + 4096 {
                return None;
            }
            let mut raw = vec![0_u8; bytes];
            let mut skipped = 0;
            // SAFETY: as above; `raw` has the size that libhdf5 has just named for this chunk, and no other
            // thread can change the file in between through this library.
            let read = unsafe {
                H5Dread_chunk1(
                    dataset.id(),
                    H5P_DEFAULT,
                    offset.as_ptr(),
                    &raw mut skipped,
                    raw.as_mut_ptr().cast(),
                )
            };
            (read >= 0).then_some((raw, skipped))
        })
    }

    fn unpack(&self, raw: Vec<u8>, skipped: u32) -> Option<Vec<u8>> {
        let mut bytes = raw;
        for (index, packing) in self.packings.iter().enumerate().rev() {
            if skipped & (1 << index) != 0 {
                continue;
            }
            let mut out = vec![0; self.bytes()];
            match packing {
                Packing::Deflate => {
                    let n = Decompressor::new().zlib_decompress(&bytes, &mut out).ok()?;
                    out.truncate(n);
                }
                Packing::Shuffle if bytes.len() == out.len() => match self.sample_bytes {
                    2 => unshuffle::<2>(&bytes, &mut out),
                    4 => unshuffle::<4>(&bytes, &mut out),
                    8 => unshuffle::<8>(&bytes, &mut out),
                    _ => out = bytes,
                },
                Packing::Shuffle => return None,
            }
            bytes = out;
        }
        (bytes.len() == self.bytes()).then_some(bytes)
    }
}

/// Undoes HDF5's shuffle: the first bytes of all numbers, then the second bytes, ...
fn unshuffle<const N: usize>(shuffled: &[u8], out: &mut [u8]) {
    let planes: [&[u8]; N] =
        std::array::from_fn(|k| &shuffled[k * out.len() / N..][..out.len() / N]);
    for (index, number) in out.chunks_exact_mut(N).enumerate() {
        for (byte, plane) in number.iter_mut().zip(&planes) {
            *byte = plane[index];
        }
    }
}

/// What a user must do before a dataset can be unpacked: a sentence, when a filter is missing.
pub(super) fn missing_filter(dataset: &hdf5::Dataset) -> Option<String> {
    let filters = dataset.dcpl().and_then(|created| created.get_filters()).ok()?;
    let missing = filters.iter().find(|filter| !Filter::get_info(filter.id()).decode_enabled)?;
    let (id, name) = (missing.id(), filter_name(missing.id()));
    Some(format!(
        "is compressed with the HDF5 filter {name} ({id}), for which there is no plugin here; get one with \
         `pip install hdf5plugin` and `export HDF5_PLUGIN_PATH=$(python -c 'import hdf5plugin; \
         print(hdf5plugin.PLUGINS_PATH)')`"
    ))
}

/// Name of a filter by its registered number.
fn filter_name(id: i32) -> &'static str {
    FILTERS.iter().find(|(known, _)| *known == id).map_or("of unknown name", |(_, name)| name)
}

/// Layout, filters and type of a dataset, in words.
pub(in crate::scan) fn storage(dataset: &hdf5::Dataset) -> String {
    let layout = match dataset.chunk() {
        Some(chunk) => format!("chunks of {chunk:?}"),
        None => format!("{:?}", dataset.layout()).to_lowercase(),
    };
    let names: Vec<_> = dataset.filters().iter().map(|filter| filter_name(filter.id())).collect();
    let packed = if names.is_empty() { "not compressed".into() } else { names.join(" + ") };
    let numbers = dataset.dtype().and_then(|stored| stored.to_descriptor());
    let numbers = numbers.map_or_else(|_| "numbers".into(), |stored| stored.to_string());
    format!("{numbers}, {layout}, {packed}")
}
