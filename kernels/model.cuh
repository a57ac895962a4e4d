// The spectrum of the fit window and its adjoint: parameters into peaks, peaks into a model, the
// detector's escape on top, and all the way back.
#pragma once
#include "elements.cuh"
#include "escape.cuh"
#include "scatter.cuh"

template <class Team, class T, bool TAIL, bool STEP>
XRF_FN void add_one(Team team, const Peaks<T> &p, int i, double cut, Workspace<T> &w) {
    const PeakScalars<T> s = scalars_of(p, i, cut);
    const KeptShapes<T> &k = w.kept;
    const int o = p.offset[i], first = p.first[i];
    add_window<TAIL, STEP>(team, s, p.count[i], w.model + first, k.peak + o, k.step + o, k.tail + o, k.slope + o);
    if (TAIL && p.far_count[i] > 0)
        add_far_tail(team, s, p.count[i], p.far_count[i], (p.kind[i] & PEAK_MIRRORED) != 0, w.model + first);
    if (STEP && team.leads()) w.step_height[first / Team::BLOCK] += T(2) * s.step;  // erfc(-inf) = 2
}

// model and total of the placed peaks.
template <class Team, class T>
XRF_FN void forward(Team team, const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w) {
    const int n = padded<Team>(a.count), blocks = n / Team::BLOCK;
    const bool steps = w.line_step || w.compton_step;
    XRF_SIMD XRF_SHARE(team, c, n + Team::BLOCK) w.model[c] = T(0);
    if (steps && team.leads())
        for (int b = 0; b <= blocks; ++b) w.step_height[b] = T(0);
    for (int i = 0; i < w.peaks.n; ++i) switch (w.peaks.kind[i] & (PEAK_TAIL | PEAK_STEP)) {
        case 0: add_one<Team, T, false, false>(team, w.peaks, i, a.cut, w); break;
        case PEAK_TAIL: add_one<Team, T, true, false>(team, w.peaks, i, a.cut, w); break;
        case PEAK_STEP: add_one<Team, T, false, true>(team, w.peaks, i, a.cut, w); break;
        default: add_one<Team, T, true, true>(team, w.peaks, i, a.cut, w);
    }
    team.sync();
    if (steps) {
        T height = T(0);
        for (int b = blocks - 1; b >= 0; --b) {
            height += w.step_height[b + 1];
            T *m = w.model + b * Team::BLOCK + team.first();
            XRF_EACH_LANE(team, j) m[j] += height;
        }
    }
    if (!w.si_escape && !w.ge_escape) return;
    XRF_SIMD XRF_SHARE(team, c, n) w.total[c] = w.model[c];
    if (w.si_escape) {
        find_escape(team, a, q.escape_shift, si_escape_energy(), w.escaped_from);
        add_escape(team, a.count, w.escaped_from, T(v[SI_ESCAPE]), w.model, w.total);
    }
    if (w.ge_escape) {
        find_escape(team, a, q.escape_shift, ge_escape_energy(), w.escaped_from);
        add_escape(team, a.count, w.escaped_from, T(v[GE_ESCAPE]), w.model, w.total);
    }
}

template <class Team, class T, bool TAIL, bool STEP>
XRF_FN void sum_one(Team team, Peaks<T> &p, int i, double cut, const Workspace<T> &w) {
    const PeakScalars<T> s = scalars_of(p, i, cut);
    const KeptShapes<T> &k = w.kept;
    const int o = p.offset[i], first = p.first[i];
    T sums[N_SUMS];
    sum_window<TAIL, STEP>(team, s, p.count[i], w.weight + first, k.peak + o, k.step + o, k.tail + o,
                           k.slope + o, sums);
    if (TAIL && p.far_count[i] > 0)
        sum_far_tail(team, s, p.count[i], p.far_count[i], (p.kind[i] & PEAK_MIRRORED) != 0, w.weight + first, sums);
    if (!team.leads()) return;
    for (int n = 0; n < N_SUMS; ++n) p.sums[n][i] = sums[n];
    if (STEP) p.sums[SUM_STEP][i] += 2 * w.step_weight[first / Team::BLOCK];
}

// The sums of every peak from w.weight = dL/dtotal, which is replaced by dL/dmodel where there is
// escape. Returns dL/dSI_ESCAPE and dL/dGE_ESCAPE.
struct EscapeSlopes { double si, ge; };

template <class Team, class T>
XRF_FN EscapeSlopes adjoint(Team team, const XrfProblem &q, const Axis &a, const double *v, Workspace<T> &w) {
    const int n = padded<Team>(a.count), blocks = n / Team::BLOCK;
    const bool steps = w.line_step || w.compton_step;
    for (int c = a.count + team.member(); c < n + Team::BLOCK; c += Team::MEMBERS) w.weight[c] = T(0);
    team.sync();
    EscapeSlopes slopes = {0, 0};
    if (w.si_escape || w.ge_escape) {
        T *outer = w.scratch;  // the total is no longer needed
        XRF_SIMD XRF_SHARE(team, c, n) outer[c] = w.weight[c];
        if (w.si_escape) {
            find_escape(team, a, q.escape_shift, si_escape_energy(), w.escaped_from);
            slopes.si = pull_escape(team, a.count, w.escaped_from, T(v[SI_ESCAPE]), w.model, outer, w.weight);
        }
        if (w.ge_escape) {
            find_escape(team, a, q.escape_shift, ge_escape_energy(), w.escaped_from);
            slopes.ge = pull_escape(team, a.count, w.escaped_from, T(v[GE_ESCAPE]), w.model, outer, w.weight);
        }
    }
    if (steps) {
        double below = 0;
        for (int b = 0; b < blocks; ++b) {
            if (team.leads()) w.step_weight[b] = below;
            T lane[Team::LANES];
            XRF_EACH_LANE(team, j) lane[j] = w.weight[b * Team::BLOCK + team.first() + j];
            below += (double)team.sum(lane);
        }
        if (team.leads()) w.step_weight[blocks] = below;
    }
    for (int i = 0; i < w.peaks.n; ++i) switch (w.peaks.kind[i] & (PEAK_TAIL | PEAK_STEP)) {
        case 0: sum_one<Team, T, false, false>(team, w.peaks, i, a.cut, w); break;
        case PEAK_TAIL: sum_one<Team, T, true, false>(team, w.peaks, i, a.cut, w); break;
        case PEAK_STEP: sum_one<Team, T, false, true>(team, w.peaks, i, a.cut, w); break;
        default: sum_one<Team, T, true, true>(team, w.peaks, i, a.cut, w);
    }
    team.sync();
    return slopes;
}

// The axis of a set of parameters.
XRF_FN Axis axis_of(const XrfProblem &q, const double *v) {
    const double no_cut = 1e30;
    return {v[ENERGY_OFFSET], v[ENERGY_SLOPE], v[ENERGY_QUADRATIC], q.first, q.count,
            q.tail == XRF_TAIL_HYPERMET ? no_cut : 0.0};
}

// Spectrum of a set of parameters; amplitudes are taken from w.amplitude, linear.
template <class Team, class T> XRF_CALL void spectrum(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    const Axis a = axis_of(q, v);
    line_peaks(team, q, v, w);
    if (team.leads()) scatter_peaks(q, v, w);
    team.sync();
    place_peaks(team, a, w.peaks);
    forward(team, q, a, v, w);
}

// dL/d variables from w.weight = dL/dtotal, into w.gradient [N_PARAMETERS + K].
template <class Team, class T>
XRF_CALL void spectrum_adjoint(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    const Axis a = axis_of(q, v);
    const EscapeSlopes escape = adjoint(team, q, a, v, w);
    pull_lines(team, q, a, v, w, w.gradient);
    if (team.leads()) {
        w.gradient[SI_ESCAPE] = escape.si;
        w.gradient[GE_ESCAPE] = escape.ge;
        pull_elastic(q, a, v, w, w.gradient);
        pull_compton(q, a, v, w, w.gradient);
    }
    team.sync();
}

// Linear amplitudes of log10 ones.
template <class Team, class T>
XRF_FN void linear_amplitudes(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    XRF_SIMD XRF_SHARE(team, k, q.n_components)
        w.amplitude[k] = exponential(v[N_PARAMETERS + k] * log_ten());
    team.sync();
}
