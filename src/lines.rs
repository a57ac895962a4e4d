//! Emission lines of a component (element and shell, or a pile-up pair), from built-in data
//! (`xraydb`) or from a MAPS `xrf_library.csv` and `henke.xdr`.
