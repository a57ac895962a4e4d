"""Times fits of PyTorch on the spectra that the bench gpu exports: gpu_torch.py FOLDER [SPECTRA] [STEPS]

MapsTorch's batched fit where the package mapstorch is there: with its tails, which it cannot leave out, and with and
without the background that it finds anew at each step. Always also its model without tails and steps, written out
here: every line over the whole window, derivatives by autograd, Adam with MapsTorch's learning rates, all of them and
the amplitudes for each spectrum of its own. Both in float32.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

# MapsTorch's, of what it can fit; 1e-2 for an amplitude
RATES = {
    "COHERENT_SCT_ENERGY": 1e-2, "ENERGY_OFFSET": 1e-3, "ENERGY_SLOPE": 1e-6, "ENERGY_QUADRATIC": 1e-7,
    "COMPTON_ANGLE": 1.0, "COMPTON_FWHM_CORR": 1e-2, "FWHM_FANOPRIME": 1e-8, "FWHM_OFFSET": 1e-4,
    "COMPTON_HI_F_TAIL": 1e-6, "COMPTON_F_TAIL": 1e-4, "F_TAIL_OFFSET": 1e-4, "KB_F_TAIL_OFFSET": 1e-4,
}
SCATTER = ("COHERENT_SCT_AMPLITUDE", "COMPTON_AMPLITUDE")
# of the model's largest channel
ALLOWED = 1e-4
# of a spectrum, as autograd keeps them
BYTES = 16 << 20


def gauss(slope, width, off):
    return slope / (width * math.sqrt(2 * math.pi)) * torch.exp(-0.5 * (off / width) ** 2)


class Case:
    def __init__(self, folder, device):
        self.about = json.loads((folder / "case.json").read_text())
        counts = np.fromfile(folder / "case.f32", "<f4").reshape(-1, self.about["channels"])
        self.all_counts, self.device = counts, device
        about = self.about
        self.window = slice(about["first"], about["first"] + about["count"])
        self.channels = torch.arange(self.window.start, self.window.stop, device=device, dtype=torch.float32)
        self.start = dict(zip(about["parameters"], about["start"]))
        self.free = [about["parameters"][i] for i in about["free"]]

    def spectra(self, n):
        return np.resize(self.all_counts, (n, self.about["channels"]))

    def model(self, shapes, amplitudes):
        """Counts over the window, [n, count]; shapes by name and amplitudes (log10) by component, each [n, 1]."""
        about, p = self.about, shapes
        c = self.channels
        energy = p["ENERGY_OFFSET"] + p["ENERGY_SLOPE"] * c + p["ENERGY_QUADRATIC"] * c * c
        beam = p["COHERENT_SCT_ENERGY"]
        angle = torch.deg2rad(p["COMPTON_ANGLE"])
        scattered = beam / (1 + beam / 511 * (1 - torch.cos(angle)))

        def width(at):
            noise = (p["FWHM_OFFSET"] / 2.3548) ** 2
            return torch.sqrt(noise + at * about["pair_energy_ev"] * p["FWHM_FANOPRIME"])

        total = torch.zeros_like(energy)
        for k, at, ratio in zip(about["line_component"], about["line_energy"], about["line_ratio"]):
            amplitude = ratio * 10 ** amplitudes[about["components"][k]]
            total = total + amplitude * gauss(p["ENERGY_SLOPE"], width(at), energy - at)
        elastic, compton = (10 ** amplitudes[name] for name in SCATTER)
        total = total + elastic * gauss(p["ENERGY_SLOPE"], width(beam), energy - beam)
        broad = width(scattered) * p["COMPTON_FWHM_CORR"]
        return total + compton * gauss(p["ENERGY_SLOPE"], broad, energy - scattered)

    def check(self):
        """The same model as xrfit's?"""
        number = lambda value: torch.tensor([[value]], device=self.device, dtype=torch.float32)
        shapes = {name: number(value) for name, value in self.start.items()}
        amplitudes = map(number, self.about["amplitudes"])
        found = self.model(shapes, dict(zip(self.about["components"], amplitudes)))[0]
        expected = np.array(self.about["model"])
        off = np.abs(found.cpu().numpy() - expected).max() / expected.max()
        if not off <= ALLOWED:
            sys.exit(f"this is not xrfit's model: it differs by {off:.1e} of its largest value, allowed {ALLOWED:.0e}")

    def first_amplitude(self, name, counts):
        """MapsTorch's start: 8 times the mean counts near the first line."""
        offset, slope = self.start["ENERGY_OFFSET"], self.start["ENERGY_SLOPE"]
        if name in SCATTER:
            at, near = self.start["COHERENT_SCT_ENERGY"], 0.4
        else:
            at, near = self.about["line_energy"][self.about["line_component"].index(self.about["components"].index(name))], 0.1
        low, high = (round((at + side * near - offset) / slope) for side in (-1, 1))
        mean = counts[:, max(low, 0) : high + 1].mean(axis=1, keepdims=True)
        return np.log10(np.maximum(8 * mean + 0.01, 1))

    def fit(self, n, steps):
        """Its last fitted spectra and the measured ones, [n, count]."""
        counts = self.spectra(n)
        tensor = lambda values: torch.tensor(values, device=self.device, dtype=torch.float32)
        shapes = {name: tensor(np.full((n, 1), value)) for name, value in self.start.items()}
        amplitudes = {name: tensor(self.first_amplitude(name, counts)) for name in self.about["components"]}
        moving = [(shapes[name], RATES[name]) for name in self.free if name in RATES]
        moving += [(amplitude, 1e-2) for amplitude in amplitudes.values()]
        optimizer = torch.optim.Adam([{"params": v.requires_grad_(), "lr": rate} for v, rate in moving])
        measured = tensor(counts[:, self.window])
        for _ in range(steps):
            optimizer.zero_grad()
            fitted = self.model(shapes, amplitudes)
            ((fitted - measured) ** 2).sum().backward()
            optimizer.step()
        return fitted.detach().cpu().numpy(), counts[:, self.window]

    def fit_by_mapstorch(self, n, steps, snip):
        from mapstorch.default import default_fitting_params, default_param_vals
        from mapstorch.opt import fit_spec_batch

        counts = self.spectra(n)
        known = {name: value for name, value in self.start.items() if name in default_param_vals}
        _, fitted, background, losses = fit_spec_batch(
            counts, (self.window.start, self.window.stop - 1), elements_to_fit=self.about["components"][:-2],
            per_spectrum_params=default_fitting_params, init_param_vals={**default_param_vals, **known},
            init_amp=True, use_snip=snip, optimizer="adam", n_iter=steps, progress_bar=False, device=self.device,
        )
        if len(losses) != steps:
            # it ends without a word
            raise RuntimeError(f"{len(losses)} of {steps} steps: out of memory?")
        return fitted + background, counts[:, self.window]


def r_squared(fitted, measured):
    mean = measured.mean(axis=1, keepdims=True)
    return 1 - ((fitted - measured) ** 2).sum(axis=1) / ((measured - mean) ** 2).sum(axis=1)


def timed(fit, n, steps):
    """Spectra per second, their median R², and how many there were: half as many where memory does not suffice."""
    def seconds(steps):
        began = time.perf_counter()
        result = fit(n, steps)  # ends with a copy from the device
        return time.perf_counter() - began, result

    while True:
        try:
            seconds(2)  # the first fit makes much ready
            spent, (fitted, measured) = seconds(steps)
            return n / spent, float(np.median(r_squared(fitted, measured))), n
        except RuntimeError as error:
            if "memory" not in str(error) or n == 1:
                raise
        torch.cuda.empty_cache()
        n //= 2


def main():
    folder = Path(sys.argv[1])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    n, steps = 4, 3
    if device == "cuda":
        n = min(4096, int(torch.cuda.mem_get_info()[0] * 0.7) // BYTES)
        steps = 500
    given = [int(word) for word in sys.argv[2:4]]
    n, steps = given + [n, steps][len(given) :]
    case = Case(folder, device)
    case.check()
    ways = [("its model without tails, here", case.fit)]
    try:
        from importlib.metadata import version
        import mapstorch.opt
        name = f"mapstorch {version('mapstorch')}"
        for what, snip in ((", no background", False), (", SNIP each step", True)):
            ways.append((name + what, lambda n, steps, snip=snip: case.fit_by_mapstorch(n, steps, snip)))
    except ImportError as missing:
        print(f"skipped: MapsTorch itself, as there is no package ({missing})")
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"E15, {case.about['count']} channels, {steps} steps of Adam; torch {torch.__version__}, {where}")
    print(f"{'who':<36} {'spectra/s':>12} {'at once':>8} {'median R²':>10} {'xrfit is so many times faster':>30}")
    ours = case.about["spectra_per_second"]
    if ours:
        print(f"{'xrfit, no tails, 500 steps':<36} {ours:>12.0f}")
    for name, fit in ways:
        speed, quality, at_once = timed(fit, n, steps)
        times = f"{ours / (speed * steps / case.about['steps']):.0f}" if ours else "-"
        print(f"{name:<36} {speed:>12.1f} {at_once:>8} {quality:>10.3f} {times:>30}")


main()
