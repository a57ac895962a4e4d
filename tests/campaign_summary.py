"""What h5py and silx make of a campaign's table: started by tests/campaign_summary.rs with the file's name."""

import sys

import h5py
import silx.io
from silx.io import nxdata

with h5py.File(sys.argv[1]) as file:
    summary = file[file.attrs["default"]]
    totals = summary[summary.attrs["default"]]
    assert totals.attrs["NX_class"] == "NXdata", f"the default is {totals.name}"
    assert totals[totals.attrs["signal"]].attrs["units"] == "counts", "unit of the totals"
    assert list(summary["detector"].asstr()) == ["0", "0", "0", "1", "sum"], "detectors"
    for name, column in summary["status"].items():
        assert column.attrs["meaning"], f"status {name} is not explained"
with silx.io.open(sys.argv[1]) as file:
    plot = nxdata.get_default(file)
    assert plot is not None and plot.is_valid and plot.is_curve, "silx shows no plot of the totals"
    assert plot.errors is not None, "silx finds no standard deviations"
