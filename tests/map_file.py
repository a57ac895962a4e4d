"""What h5py and silx make of a map file: started by tests/map_file.rs with the file's name."""

import sys

import h5py
import numpy
import silx.io
from silx.io import nxdata

ROWS, COLS = 5, 7
ELEMENTS = ["Si", "Ca", "Fe", "Zn"]


def default_of(group):
    """The NXdata group that the attributes `default` lead to."""
    while group.attrs["NX_class"] != "NXdata":
        group = group[group.attrs["default"]]
    return group


def check_chain(file):
    data = default_of(file)
    signal = data[data.attrs["signal"]]
    assert signal.shape == (ROWS, COLS), f"shape of the default signal: {signal.shape}"
    assert data.name.rsplit("/")[-1] in ELEMENTS, f"the default is {data.name}"
    axes = [data[axis] for axis in data.attrs["axes"]]
    assert [axis.shape for axis in axes] == [(ROWS,), (COLS,)], f"shapes of the axes: {axes}"


def check_elements(file):
    """Each component is a plot of its own, with the numbers of the stack and none stored twice."""
    analysis = file["MAPS/XRF_Analyzed"]
    fitted = analysis[analysis.attrs["default"]]
    stack = fitted["Counts_Per_Sec"]
    names = list(fitted["Channel_Names"].asstr())
    maps = fitted["xrfit/Maps"]
    for name in ELEMENTS + ["COHERENT_SCT_AMPLITUDE", "COMPTON_AMPLITUDE"]:
        image = maps[name][maps[name].attrs["signal"]]
        assert image.is_virtual, f"{name} is stored twice"
        assert image.attrs["units"] == stack.attrs["units"], name
        same = numpy.array_equal(image[()], stack[names.index(name)], equal_nan=True)
        assert same, f"{name} differs from its plane of the stack"


def check_silx(path):
    with silx.io.open(path) as file:
        plot = nxdata.get_default(file)
        assert plot is not None and plot.is_valid, "silx finds no default plot"
        assert plot.is_image, "the default plot is no image"
        assert plot.signal.shape == (ROWS, COLS), f"shape in silx: {plot.signal.shape}"
        assert [len(axis) for axis in plot.axes] == [ROWS, COLS], "axes in silx"
        maps = file[plot.group.name.rsplit("/", 1)[0]]
        for name in ELEMENTS:
            assert nxdata.NXdata(maps[name]).is_image, f"{name} is no image in silx"


with h5py.File(sys.argv[1]) as opened:
    check_chain(opened)
    check_elements(opened)
check_silx(sys.argv[1])
