"""Compares the maps of two map files, one of each engine: gpu.py FOUND.h5 EXPECTED.h5"""

import sys

import h5py
import numpy as np

# Differences of an element's map over its largest value: of nearly all pixels, and of the worst. A fit of single
# precision ends a little elsewhere where its amplitude is loosely known.
ALLOWED = {"f64": (1e-4, 1e-3), "f32": (5e-3, 5e-2)}


def analysis(path):
    groups = h5py.File(path)["MAPS/XRF_Analyzed"]
    return next(iter(groups.values()))


def main():
    found, expected = map(analysis, sys.argv[1:3])
    names = [name.decode() for name in expected["Channel_Names"][()]]
    components = [i for i, name in enumerate(names) if name not in ("Num_Iter", "Fit_Residual")]
    precision = expected["xrfit/Provenance/engine"].asstr()[()].split(", ")[-1]
    most, worst = ALLOWED[precision]
    good = True
    for i in components:
        a, b = found["Counts_Per_Sec"][i], expected["Counts_Per_Sec"][i]
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            print(f"{names[i]}: NaN in one engine alone")
            good = False
            continue
        scale = max(np.nanmax(np.abs(b)), 1e-30)
        off = np.abs(a - b)[np.isfinite(b)] / scale
        typical, largest = np.percentile(off, 99), off.max()
        print(f"{names[i]:28} differs by {typical:.1e} in 99 of 100 pixels, {largest:.1e} at most")
        good &= typical <= most and largest <= worst
    if not good:
        sys.exit(f"allowed in {precision}: {most:.0e} and {worst:.0e}")


main()
