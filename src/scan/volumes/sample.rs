//! Stored numbers, and how a piece of `[channel, row, col]` becomes spectra.

use std::ops::Range;

use hdf5::types::{FloatSize, IntSize, TypeDescriptor};

/// Channels turned at once: a cache line of the result.
const TURN_CHANNELS: usize = 16;

/// The type of a stored count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
    /// An integer of eight bytes, which libhdf5 converts.
    Other,
}

impl Sample {
    /// The type of a dataset; `None` when it holds no plain numbers.
    pub(super) fn of(dataset: &hdf5::Dataset) -> Option<Self> {
        match dataset.dtype().and_then(|stored| stored.to_descriptor()).ok()? {
            TypeDescriptor::Unsigned(IntSize::U1) => Some(Self::U8),
            TypeDescriptor::Integer(IntSize::U1) => Some(Self::I8),
            TypeDescriptor::Unsigned(IntSize::U2) => Some(Self::U16),
            TypeDescriptor::Integer(IntSize::U2) => Some(Self::I16),
            TypeDescriptor::Unsigned(IntSize::U4) => Some(Self::U32),
            TypeDescriptor::Integer(IntSize::U4) => Some(Self::I32),
            TypeDescriptor::Float(FloatSize::U4) => Some(Self::F32),
            TypeDescriptor::Float(FloatSize::U8) => Some(Self::F64),
            TypeDescriptor::Unsigned(_) | TypeDescriptor::Integer(_) => Some(Self::Other),
            _ => None,
        }
    }

    /// Are the stored bytes those of the machine's own numbers?
    pub(super) fn is_native(dataset: &hdf5::Dataset) -> bool {
        dataset.dtype().is_ok_and(|stored| {
            let native = stored
                .to_descriptor()
                .and_then(|numbers| hdf5::Datatype::from_descriptor(&numbers));
            native.is_ok_and(|native| native == stored)
        })
    }

    /// Bytes of one number; `None` when only libhdf5 reads it.
    pub(super) fn bytes(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::F64 => Some(8),
            Self::Other => None,
        }
    }

    /// Largest count of an integer of 16 bits or fewer; wider ones do not fill up.
    pub(super) fn saturation(self) -> Option<f32> {
        match self {
            Self::U8 => Some(u8::MAX.into()),
            Self::I8 => Some(i8::MAX.into()),
            Self::U16 => Some(u16::MAX.into()),
            Self::I16 => Some(i16::MAX.into()),
            _ => None,
        }
    }

    /// Puts what a piece holds of a block's pixels into their spectra.
    pub(super) fn place(self, block: &mut Block<'_>, piece: &Piece, bytes: &[u8]) {
        macro_rules! place {
            ($number:ty) => {
                block.place(piece, |index| {
                    const SIZE: usize = size_of::<$number>();
                    let raw = &bytes[index * SIZE..][..SIZE];
                    <$number>::from_ne_bytes(raw.try_into().expect("SIZE bytes")) as f32
                })
            };
        }
        match self {
            Self::U8 => place!(u8),
            Self::I8 => place!(i8),
            Self::U16 => place!(u16),
            Self::I16 => place!(i16),
            Self::U32 => place!(u32),
            Self::I32 => place!(i32),
            Self::F32 => place!(f32),
            Self::F64 => place!(f64),
            Self::Other => unreachable!("libhdf5 reads these"),
        }
    }
}

/// A box of the volume, `[channel, row, col]`; chunks at the edge reach beyond it.
pub(super) struct Piece {
    /// First channel, row and column.
    pub(super) origin: [usize; 3],
    /// Number of channels, rows and columns.
    pub(super) shape: [usize; 3],
}

/// Neighbouring pixels and their spectra.
pub(super) struct Block<'a> {
    /// `[pixels.len(), channels]`, flat.
    pub(super) spectra: &'a mut [f32],
    pub(super) pixels: Range<usize>,
    /// Channels, rows and columns of the volume.
    pub(super) volume: [usize; 3],
}

impl Block<'_> {
    /// Puts a piece into the spectra; `count` gives the number at a place of the piece, flat.
    pub(super) fn place(&mut self, piece: &Piece, count: impl Fn(usize) -> f32) {
        let [channels, _, cols] = self.volume;
        let [first_channel, first_row, first_col] = piece.origin;
        let present = piece.shape[0].min(channels - first_channel);
        for row in first_row..first_row + piece.shape[1] {
            let (row_start, row_end) =
                (row * cols + first_col, row * cols + cols.min(first_col + piece.shape[2]));
            let run = self.pixels.start.max(row_start)..self.pixels.end.min(row_end);
            for channel in (0..present).step_by(TURN_CHANNELS) {
                let n = TURN_CHANNELS.min(present - channel);
                let place =
                    |k: usize| ((channel + k) * piece.shape[1] + row - first_row) * piece.shape[2];
                for pixels in turns(&run) {
                    let mut turned = [[0.0; TURN_CHANNELS]; TURN_CHANNELS];
                    for k in 0..n {
                        let from = place(k) + pixels.start - row_start;
                        for (j, lane) in turned[..pixels.len()].iter_mut().enumerate() {
                            lane[k] = count(from + j);
                        }
                    }
                    for (lane, pixel) in turned.iter().zip(pixels) {
                        let to = (pixel - self.pixels.start) * channels + first_channel + channel;
                        self.spectra[to..to + n].copy_from_slice(&lane[..n]);
                    }
                }
            }
        }
    }
}

/// A run in parts of at most [`TURN_CHANNELS`]; none for an empty run.
fn turns(run: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let end = run.end;
    run.clone().step_by(TURN_CHANNELS).map(move |first| first..end.min(first + TURN_CHANNELS))
}
