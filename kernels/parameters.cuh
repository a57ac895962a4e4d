// Every shape parameter of the MAPS model, once. Rust reads this table through xrf_parameters().
//
// Names, meanings and defaults are those of MAPS and XRF-Maps (Vogt 2003). `rate` is Adam's
// learning rate in the parameter's own unit per step, as in MapsTorch where MapsTorch has one.
#pragma once

//  X(name, unit, value, lower, upper, rate, meaning)
#define XRF_PARAMETERS(X)                                                                            \
    X(ENERGY_OFFSET, "keV", 0.0, -0.2, 0.2, 1e-3, "energy of channel 0")                             \
    X(ENERGY_SLOPE, "keV/channel", 0.01, 0.001, 0.1, 1e-6, "energy per channel")                     \
    X(ENERGY_QUADRATIC, "keV/channel^2", 0.0, -1e-4, 1e-4, 1e-9, "curvature of the energy axis")     \
    X(FWHM_OFFSET, "keV", 0.12, 0.005, 0.5, 1e-4, "peak width (FWHM) at 0 keV")                      \
    X(FWHM_FANOPRIME, "keV", 1.2e-4, 1e-6, 0.05, 1e-8, "growth of the squared width with energy")    \
    X(FWHM_SCALE, "1", 1.0, 0.5, 2.0, 1e-3, "all peak widths over those of the two before")          \
    X(COHERENT_SCT_ENERGY, "keV", 9.99, 1.0, 200.0, 1e-2, "incident energy: the elastic peak")       \
    X(COMPTON_ANGLE, "degree", 90.0, 0.0, 359.0, 1.0, "scattering angle of the Compton peak")        \
    X(COMPTON_FWHM_CORR, "1", 1.0, 1.0, 4.0, 1e-2, "Compton peak width over detector width")         \
    X(COMPTON_F_STEP, "1", 0.0, 0.0, 1.0, 1e-4, "step area fraction below the Compton peak")         \
    X(COMPTON_F_TAIL, "1", 0.1, 0.0, 1.0, 1e-4, "low-side tail fraction of the Compton peak")        \
    X(COMPTON_GAMMA, "1", 1.0, 0.1, 10.0, 1e-2, "its low-side tail length, in peak widths")          \
    X(COMPTON_HI_F_TAIL, "1", 0.013, 0.0, 1.0, 1e-6, "high-side tail fraction of the Compton peak")  \
    X(COMPTON_HI_GAMMA, "1", 1.0, 0.1, 3.0, 1e-2, "its high-side tail length, in peak widths")       \
    X(F_STEP_OFFSET, "1", 0.0, 0.0, 1.0, 1e-6, "step fraction per mu_fraction, constant term")       \
    X(F_STEP_LINEAR, "1/keV", 0.0, 0.0, 1.0, 1e-7, "step fraction per mu_fraction, times energy")    \
    X(F_TAIL_OFFSET, "1", 0.003, 0.0, 0.1, 1e-4, "tail fraction of K-alpha and L lines, constant")   \
    X(F_TAIL_LINEAR, "1", 0.001, 0.0, 1.0, 1e-6, "tail fraction of K-alpha and L lines, times mu")   \
    X(KB_F_TAIL_OFFSET, "1", 0.05, 0.0, 0.2, 1e-4, "tail fraction of K-beta lines, constant")        \
    X(KB_F_TAIL_LINEAR, "1", 0.0, 0.0, 0.02, 1e-6, "tail fraction of K-beta lines, times mu")        \
    X(GAMMA_OFFSET, "1", 2.2, 0.1, 10.0, 1e-2, "tail length in peak widths, constant")               \
    X(GAMMA_LINEAR, "1/keV", 0.0, 0.0, 3.0, 1e-3, "tail length in peak widths, times energy")        \
    X(SI_ESCAPE, "1", 0.0, 0.0, 0.2, 1e-4, "silicon escape peak over its parent")                    \
    X(GE_ESCAPE, "1", 0.0, 0.0, 0.2, 1e-4, "germanium escape peak over its parent")

enum Parameter {
#define XRF_ENUM(name, unit, value, lower, upper, rate, meaning) name,
    XRF_PARAMETERS(XRF_ENUM)
#undef XRF_ENUM
    N_PARAMETERS
};
