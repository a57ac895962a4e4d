//! Stands for the CUDA engine in a program that was built without it.

use std::ops::RangeInclusive;

use ndarray::{Array2, ArrayView1, ArrayView2};

use super::{Batch, Engine, Evaluation, Fits, Precision};
use crate::error::{Error, Result};
use crate::problem::Problem;

const ABSENT: &str = "this xrfit was built without CUDA (cargo feature `cuda`)";

#[derive(Clone, Copy, Debug)]
pub(super) enum Otherwise {
    Fail,
    Cpu,
}

/// Never exists.
pub(super) enum Cuda {}

pub(super) fn has_device() -> bool {
    false
}

pub(super) fn found() -> Vec<(&'static str, String)> {
    vec![("CUDA", format!("none: {ABSENT}"))]
}

impl Cuda {
    pub fn open(_: Precision, _: usize, _: Otherwise) -> Result<Self> {
        Err(Error::Engine(ABSENT.into()))
    }
}

impl Engine for Cuda {
    fn describe(&self) -> String {
        match *self {}
    }

    fn useful_batches(&self) -> RangeInclusive<usize> {
        match *self {}
    }

    fn fit(&self, _: &Problem, _: Batch) -> Result<Fits> {
        match *self {}
    }

    fn evaluate(
        &self,
        _: &Problem,
        _: &[f64],
        _: ArrayView1<f64>,
        _: ArrayView1<f64>,
    ) -> Result<Evaluation> {
        match *self {}
    }

    fn snip(&self, _: &Problem, _: ArrayView2<f32>) -> Result<Array2<f64>> {
        match *self {}
    }
}
