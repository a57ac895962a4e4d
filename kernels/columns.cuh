// The columns of the Jacobian: dM'/d variable at every channel of the window, for linear amplitudes and free shapes,
// from the terms of every peak (terms.cuh). The axis needs one array only:
//
//   drift(c) = dM/d ENERGY_OFFSET = sum of dm/dx / s
//   dM/d ENERGY_SLOPE = c drift + M / g,     dM/d ENERGY_QUADRATIC = c^2 drift
//
// Escape is linear and comes last.
#pragma once
#include "terms.cuh"

// Is column k a template, which stays as it is?
XRF_FN bool is_template(const XrfProblem &q, int k) { return k >= q.n_components && k < linear_variables(q); }

// Which columns there are, decided once per fit.
template <class Team, class T> XRF_FN void choose_columns(Team team, const XrfProblem &q, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    if (team.leads()) {
        j.shapes = 0;
        for (int p = 0; p < N_PARAMETERS; ++p)
            if (q.free[p]) j.parameter[j.shapes++] = p;
        j.n = linear_variables(q) + j.shapes;
        j.column = j.own;
        j.stride = column_stride<Team>(q.count);
        j.stay = false;
    }
    team.sync();
}

// Adds the terms of the channels b < count of a window to the columns of a peak. `at` leads to the window's first.
template <bool TAIL, bool STEP, class Team, class T>
XRF_FN void add_to_shapes(Team team, const PeakTerms<T> &terms, const Jacobian<T> &j, int at, int count) {
    const T *XRF_RESTRICT peak = j.basis[TERM_PEAK], *XRF_RESTRICT step = j.basis[TERM_STEP],
            *XRF_RESTRICT tail = j.basis[TERM_TAIL], *XRF_RESTRICT gamma = j.basis[TERM_GAMMA],
            *XRF_RESTRICT x = j.basis[TERM_X], *XRF_RESTRICT d0 = j.basis[TERM_D0];
    const int linear = j.n - j.shapes;
    XRF_ROLLED for (int f = 0; f < j.shapes; ++f) {
        if (!moves<TAIL, STEP>(terms, j, f)) continue;
        T *XRF_RESTRICT column = j.column + (int64_t)(linear + f) * j.stride + at;
        const T *k = terms.term + f * N_TERMS;
        const T a = terms.amplitude, of_peak = a * k[TERM_PEAK], of_x = a * k[TERM_X], of_d0 = a * k[TERM_D0],
                of_step = STEP ? a * k[TERM_STEP] : T(0), of_tail = TAIL ? a * k[TERM_TAIL] : T(0),
                of_gamma = TAIL ? a * k[TERM_GAMMA] : T(0);
        for (int b = team.first(); b < count; b += Team::BLOCK)
            XRF_EACH_LANE(team, l) {
                T sum = of_peak * peak[b + l] + of_x * x[b + l] + of_d0 * d0[b + l];
                if (STEP) sum += of_step * step[b + l];
                if (TAIL) sum += of_tail * tail[b + l] + of_gamma * gamma[b + l];
                column[b + l] += sum;
            }
    }
}

// The stretch of a peak's channels in whole blocks of the team, and that of its far tail.
struct Stretch {
    int first, count, before;  // channels from the first to where t is 0
    int far;
    bool mirrored;
};

template <class Team, class T> XRF_FN Stretch stretch_of(Team, const Peaks<T> &p, int i) {
    const int begin = p.first[i], end = begin + p.count[i], far = p.far_count[i], block = Team::BLOCK;
    const bool mirrored = (p.kind[i] & PEAK_MIRRORED) != 0;
    const int first = begin / block * block, count = padded<Team>(end - first);
    const int beyond = mirrored ? padded<Team>(end + far) - (first + count) : first - (begin - far) / block * block;
    return {first, count, begin + p.count[i] / 2 - first, far > 0 && beyond > 0 ? beyond : 0, mirrored};
}

// The window of a peak in the columns.
template <bool TAIL, bool STEP, class Team, class T>
XRF_FN void add_near(Team team, const PeakScalars<T> &s, const PeakTerms<T> &terms, const Jacobian<T> &j, const Stretch &at) {
    T *XRF_RESTRICT own = terms.own + at.first, *XRF_RESTRICT drift = terms.drift + at.first;
    T *XRF_RESTRICT peak = j.basis[TERM_PEAK], *XRF_RESTRICT step = j.basis[TERM_STEP],
      *XRF_RESTRICT tail = j.basis[TERM_TAIL], *XRF_RESTRICT gamma = j.basis[TERM_GAMMA],
      *XRF_RESTRICT x_dx = j.basis[TERM_X], *XRF_RESTRICT d0 = j.basis[TERM_D0];
    const T per_kev = terms.per_kev;
    const int before = at.before;
    for (int b = team.first(); b < at.count; b += Team::BLOCK)
        XRF_EACH_LANE(team, l) {
            const T x = s.x(T(b + l - before));
            const Shape<T> f = shape_at<TAIL, STEP>(s, x);
            const T below_cut = below(x, s.cut);
            T dx = s.peak * peak_dx(x, f.peak);
            if (STEP) dx += s.step * step_dx(f.peak);
            if (TAIL) dx += s.tail * tail_dx(below_cut, s.inv_gamma, f.tail, f.slope);
            own[b + l] += counts_of<TAIL, STEP>(s, f.peak, f.step, f.tail);
            drift[b + l] += per_kev * dx;
            peak[b + l] = f.peak;
            if (STEP) step[b + l] = f.step;
            if (TAIL) tail[b + l] = f.tail;
            if (TAIL) gamma[b + l] = tail_dgamma_rest(x, below_cut, f.tail, f.slope);
            x_dx[b + l] = x * dx;
            d0[b + l] = dx;
        }
    add_to_shapes<TAIL, STEP>(team, terms, j, at.first, at.count);
}

// Its far tail, where tau' = tau / G and r = -x tau.
template <class Team, class T>
XRF_FN void add_far(Team team, const PeakScalars<T> &s, const PeakTerms<T> &terms, const Jacobian<T> &j, const Stretch &at) {
    T *XRF_RESTRICT peak = j.basis[TERM_PEAK], *XRF_RESTRICT tail = j.basis[TERM_TAIL], *XRF_RESTRICT gamma = j.basis[TERM_GAMMA],
      *XRF_RESTRICT x_dx = j.basis[TERM_X], *XRF_RESTRICT d0 = j.basis[TERM_D0];
    const int low = at.mirrored ? at.count : -at.far;
    T *XRF_RESTRICT own = terms.own + at.first + low, *XRF_RESTRICT drift = terms.drift + at.first + low;
    FarTail<Team, T> far = FarTail<Team, T>::begin(team, s, at.before, at.count, at.mirrored);
    for (int b = 0; b < at.far; b += Team::BLOCK, far.next()) {
        const int c = far.c - low;
        XRF_EACH_LANE(team, l) {
            const T v = far.value[l], x = s.x(T(far.t + l)), dx = s.tail * s.inv_gamma * v;
            own[c + l] += s.tail * v;
            drift[c + l] += terms.per_kev * dx;
            peak[c + l] = T(0);
            tail[c + l] = v;
            gamma[c + l] = -x * v;
            x_dx[c + l] = x * dx;
            d0[c + l] = dx;
        }
    }
    add_to_shapes<true, false>(team, terms, j, at.first + low, at.far);
}

// A peak in the columns: its window, its far tail, its step below.
template <bool TAIL, bool STEP, class Team, class T>
XRF_OUTLINE void add_columns_of(Team team, const XrfProblem &q, int i, double cut, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const Peaks<T> p = peaks_of(w);
    const PeakScalars<T> s = scalars_of<TAIL, STEP>(p, i, cut);
    const Stretch at = stretch_of(team, p, i);
    const PeakTerms<T> terms = terms_of(w, i, component_of(q, w, i));
    add_near<TAIL, STEP>(team, s, terms, j, at);
    if (TAIL && at.far > 0) add_far(team, s, terms, j, at);
    if (STEP && team.leads()) {
        const int block = at.first / Team::BLOCK, blocks = j.stride / Team::BLOCK + 1;
        j.height[component_of(q, w, i) * blocks + block] += T(2) * s.step;  // erfc(-inf) = 2
        for (int f = 0; f < j.shapes; ++f)
            if (moves<TAIL, STEP>(terms, j, f))
                j.height[(j.n - j.shapes + f) * blocks + block] += T(2) * terms.amplitude * terms.term[f * N_TERMS + TERM_STEP];
    }
}

// Where each column is not 0, from the peaks' windows and whether anything reaches below them.
template <class Team, class T> XRF_FN void find_reach(Team team, const XrfProblem &q, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const Peaks<T> &p = w.peaks;
    const int end = padded<Team>(q.count);
    const bool everywhere = has_escape(w) || w.line_step || w.compton_step;
    if (team.leads()) {
        for (int k = 0; k < j.n; ++k) {
            if (is_template(q, k)) continue;
            const bool all = everywhere || k >= q.n_components;
            j.low[k] = all ? 0 : end;
            j.high[k] = all ? end : 0;
        }
        for (int i = 0; i < p.n; ++i) {
            const int k = component_of(q, w, i), far = p.far_count[i];
            const bool up = (p.kind[i] & PEAK_MIRRORED) != 0;
            if (p.count[i] + far == 0) continue;
            const int low = (p.first[i] - (up ? 0 : far)) / Team::BLOCK * Team::BLOCK;
            const int high = padded<Team>(p.first[i] + p.count[i] + (up ? far : 0));
            j.low[k] = low < j.low[k] ? low : j.low[k];
            j.high[k] = high > j.high[k] ? high : j.high[k];
        }
    }
    team.sync();
}

// The steps below the windows, of every column.
template <class Team, class T> XRF_FN void add_heights(Team team, const XrfProblem &q, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const int blocks = padded<Team>(q.count) / Team::BLOCK, stride = j.stride / Team::BLOCK + 1;
    for (int k = 0; k < j.n; ++k) {
        T height = T(0);
        for (int b = blocks - 1; b >= 0; --b) {
            height += j.height[k * stride + b + 1];
            T *m = j.column + (int64_t)k * j.stride + b * Team::BLOCK + team.first();
            XRF_EACH_LANE(team, l) m[l] += height;
        }
    }
}

// Columns of the energy axis from drift and model, both without escape.
template <class Team, class T>
XRF_FN void axis_columns(Team team, const XrfProblem &q, const Axis &a, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    const T per_slope = T(1 / a.slope);
    for (int f = 0; f < j.shapes; ++f) {
        const int p = j.parameter[f];
        if (!is_of_axis(p)) continue;
        T *XRF_RESTRICT column = j.column + (int64_t)(linear_variables(q) + f) * j.stride;
        const T *XRF_RESTRICT drift = j.drift, *XRF_RESTRICT model = w.model;
        XRF_SIMD XRF_SHARE(team, i, padded<Team>(q.count)) {
            const T c = T(a.first + i);
            column[i] = p == ENERGY_OFFSET  ? drift[i]
                        : p == ENERGY_SLOPE ? c * drift[i] + per_slope * model[i]
                                            : c * c * drift[i];
        }
    }
}

// into(c) = from(c) and what escapes into c; fractions of silicon and germanium.
template <class Team, class T>
XRF_FN void with_escape(Team team, const XrfProblem &q, const double *v, const Workspace<T> &w, const T *from, T *into) {
    const T fraction[2] = {T(w.si_escape ? v[SI_ESCAPE] : 0), T(w.ge_escape ? v[GE_ESCAPE] : 0)};
    XRF_SHARE(team, c, padded<Team>(q.count)) {
        T sum = from[c];
        for (int e = 0; e < 2 && c < q.count; ++e) {
            const int parent = w.escaped_from[e][c];
            if (parent < q.count) sum += fraction[e] * from[parent];
        }
        into[c] = sum;
    }
    team.sync();
}

// Escape of every column, the columns of its fractions, and w.total.
template <class Team, class T>
XRF_FN void escape_columns(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    for (int k = 0; k < j.n; ++k) {
        if (is_template(q, k)) continue;
        T *column = j.column + (int64_t)k * j.stride;
        const int p = k < q.n_components ? -1 : j.parameter[k - linear_variables(q)];
        if (p == SI_ESCAPE || p == GE_ESCAPE) {
            const int *from = w.escaped_from[p == GE_ESCAPE];
            XRF_SHARE(team, c, q.count) column[c] = from[c] < q.count ? w.model[from[c]] : T(0);
            continue;
        }
        with_escape(team, q, v, w, column, j.weighted);
        XRF_SIMD XRF_SHARE(team, c, padded<Team>(q.count)) column[c] = j.weighted[c];
        team.sync();
    }
    with_escape(team, q, v, w, w.model, w.total);
}

// sum = that of amplitude times column over the columns first .. end.
template <class Team, class T>
XRF_FN void sum_columns(Team team, const Jacobian<T> &j, int first, int end, T *XRF_RESTRICT sum) {
    XRF_SIMD XRF_SHARE(team, c, j.stride) sum[c] = T(0);
    for (int k = first; k < end; ++k) {
        const T amplitude = T(j.trial[k]);
        if (amplitude == T(0)) continue;
        const T *XRF_RESTRICT column = j.column + (int64_t)k * j.stride;
        for (int b = j.low[k] + team.first(); b < j.high[k]; b += Team::BLOCK)
            XRF_EACH_LANE(team, l) sum[b + l] += amplitude * column[b + l];
    }
}

// w.model, and the background where it is made of templates.
template <class Team, class T> XRF_FN void model_of_columns(Team team, const XrfProblem &q, Workspace<T> &w) {
    const Jacobian<T> &j = w.jacobian;
    sum_columns(team, j, 0, q.n_components, w.model);
    if (q.n_templates > 0) sum_columns(team, j, q.n_components, linear_variables(q), w.background);
    team.sync();
}

// Escape's whole channels at these parameters; they stay until they are found anew.
template <class Team, class T>
XRF_OUTLINE void place_escape(Team team, const XrfProblem &q, const double *v, Workspace<T> &w) {
    const Axis a = axis_of(q, v);
    if (w.si_escape) find_escape(team, a, q.escape_shift, si_escape_energy(), w.escaped_from[0]);
    if (w.ge_escape) find_escape(team, a, q.escape_shift, ge_escape_energy(), w.escaped_from[1]);
    for (int e = 0; e < 2; ++e)
        if (!(e == 0 ? w.si_escape : w.ge_escape)) {
            XRF_SHARE(team, c, q.count) w.escaped_from[e][c] = q.count;
        }
    team.sync();
}

// All columns at w.jacobian.trial, whose shapes go into v; and w.total there. Where no shape moves, they are found once.
template <class Team, class T> XRF_OUTLINE void columns(Team team, const XrfProblem &q, double *v, Workspace<T> &w) {
    Jacobian<T> &j = w.jacobian;
    if (j.stay) {
        model_of_columns(team, q, w);
        if (w.total != w.model) XRF_SHARE(team, c, q.count) w.total[c] = w.model[c];
        team.sync();
        return;
    }
    XRF_SHARE(team, k, q.n_components) w.amplitude[k] = 1;
    XRF_SHARE(team, f, j.shapes) v[j.parameter[f]] = j.trial[linear_variables(q) + f];
    team.sync();
    const Axis a = axis_of(q, v);
    put_peaks(team, q, a, v, w);
    find_terms(team, q, a, v, w);
    find_reach(team, q, w);
    XRF_SIMD XRF_SHARE(team, c, j.stride) j.drift[c] = T(0);
    for (int k = 0; k < j.n; ++k) {
        if (is_template(q, k)) continue;
        T *XRF_RESTRICT column = j.column + (int64_t)k * j.stride;
        const int low = j.low[k], high = j.high[k] + Team::BLOCK;
        XRF_SIMD for (int c = low + team.member(); c < high; c += Team::MEMBERS) column[c] = T(0);
    }
    const bool steps = w.line_step || w.compton_step;
    if (steps) XRF_SHARE(team, i, j.n * (j.stride / Team::BLOCK + 1)) j.height[i] = T(0);
    team.sync();
    for (int i = 0; i < w.peaks.n; ++i) switch (w.peaks.kind[i] & (PEAK_TAIL | PEAK_STEP)) {
        case 0: add_columns_of<false, false>(team, q, i, a.cut, w); break;
        case PEAK_TAIL: add_columns_of<true, false>(team, q, i, a.cut, w); break;
        case PEAK_STEP: add_columns_of<false, true>(team, q, i, a.cut, w); break;
        default: add_columns_of<true, true>(team, q, i, a.cut, w);
    }
    team.sync();
    if (steps) add_heights(team, q, w);
    team.sync();
    model_of_columns(team, q, w);
    axis_columns(team, q, a, w);
    team.sync();
    if (has_escape(w)) escape_columns(team, q, v, w);
    if (team.leads()) j.stay = j.shapes == 0;
    team.sync();
}
