//! `xrfit spectrum`: one evaluation of the forward model.

use ndarray::{Array1, Axis, s};

use crate::cli::SpectrumArgs;
use crate::config::Case;
use crate::engine::{self, Choice};
use crate::error::{Error, Result};
use crate::kernels;
use crate::maps::{self, Modelled};
use crate::output;
use crate::problem::{Background, Problem};
use crate::scan;

pub(super) fn run(args: &SpectrumArgs) -> Result<()> {
    let case = Case::read(&args.case)?;
    let observed = args.observed.iter().map(|path| ("the observed spectrum", &**path));
    let named = case.files.iter().map(|path| ("a file of the case", &**path));
    let read: Vec<_> =
        [("the case", &*args.case)].into_iter().chain(observed).chain(named).collect();
    output::check(&args.output, args.overwrite.into(), &read)?;
    let problem = &case.problem;
    let observed = args
        .observed
        .as_ref()
        .or(case.observed.as_ref())
        .map(|path| -> Result<_> {
            let counts = scan::npy_spectrum(path)?;
            if counts.len() < problem.channels {
                return Err(Error::file(
                    path,
                    format!(
                        "the spectrum has {} channels; the case needs {}",
                        counts.len(),
                        problem.channels
                    ),
                ));
            }
            Ok(counts)
        })
        .transpose()?;
    if args.gradient && observed.is_none() {
        return Err(Error::configuration(
            "--gradient needs an observed spectrum (it is the objective's); give --observed FILE.npy",
        ));
    }
    let content = evaluate(args, &case, observed)?;
    maps::write_modelled(&args.output, args.overwrite.into(), &content)?;
    log::info!("wrote {}", args.output.display());
    Ok(())
}

fn evaluate(args: &SpectrumArgs, case: &Case, observed: Option<Array1<f64>>) -> Result<Modelled> {
    let problem = Problem {
        channels: observed.as_ref().map_or(case.problem.channels, Array1::len),
        ..case.problem.clone()
    };
    let precision = args.precision.map_or(engine::Precision::F64, Into::into);
    // one spectrum is not worth kernels compiled for a device, unless they are asked for
    let choice = match args.engine {
        Choice::Auto => Choice::Cpu,
        asked => asked,
    };
    let engine = engine::open(choice, precision)?;
    let counts = observed.clone().unwrap_or_else(|| Array1::zeros(problem.channels));
    let background = match problem.background {
        Background::Snip => {
            engine.snip(&problem, engine::single(counts.view()).view())?.row(0).to_owned()
        }
        _ => Array1::zeros(problem.count),
    };
    let found = engine.evaluate(&problem, &case.variables, counts.view(), background.view())?;
    let (parameters, amplitudes) =
        found.gradient.view().split_at(Axis(0), problem.parameters.len());
    let window = s![problem.first..problem.first + problem.count];
    Ok(Modelled {
        energy: problem.energies().slice(window).to_owned(),
        components: problem.components.clone(),
        spectra: found.components,
        sum: found.total,
        background,
        observed: observed.map(|y| (y.slice(window).to_owned(), found.objective)),
        objective_unit: problem.objective_unit().into(),
        parameters: kernels::parameters().iter().map(|p| p.name.to_string()).collect(),
        gradient: args.gradient.then(|| (parameters.to_owned(), amplitudes.to_owned())),
    })
}
