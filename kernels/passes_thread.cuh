// The two passes over channels for a CPU thread: peak by peak, each in vectors over its window. The forward pass
// keeps the line shapes for the adjoint, as computing them again costs more than the cache they take.
#pragma once
#include "workspace.cuh"

template <bool TAIL, bool STEP, class T>
XRF_FN void add_window(Thread team, const PeakScalars<T> &s, int before, int count, T *XRF_RESTRICT total,
                       T *XRF_RESTRICT peak, T *XRF_RESTRICT step, T *XRF_RESTRICT tail, T *XRF_RESTRICT slope) {
    for (int b = 0; b < count; b += Thread::BLOCK)
        XRF_EACH_LANE(team, j) {
            const Shape<T> f = shape_at<TAIL, STEP>(s, s.x(T(b + j - before)));
            total[b + j] += counts_of<TAIL, STEP>(s, f.peak, f.step, f.tail);
            peak[b + j] = f.peak;
            if (STEP) step[b + j] = f.step;
            if (TAIL) tail[b + j] = f.tail;
            if (TAIL) slope[b + j] = f.slope;
        }
}

template <class T>
XRF_FN void add_far_tail(Thread team, const PeakScalars<T> &s, int before, int count, int far, bool mirrored,
                         T *XRF_RESTRICT total) {
    FarTail<Thread, T> f = FarTail<Thread, T>::begin(team, s, before, count, mirrored);
    for (int b = 0; b < far; b += Thread::BLOCK, f.next()) {
        T *XRF_RESTRICT m = total + f.c;
        XRF_EACH_LANE(team, j) m[j] += s.tail * f.value[j];
    }
}

template <bool TAIL, bool STEP, class T> XRF_FN void add_peak(Thread team, int i, double cut, Workspace<T> &w) {
    const Peaks<T> &p = w.peaks;
    const PeakScalars<T> s = scalars_of<TAIL, STEP>(p, i, cut);
    const KeptShapes<T> &k = w.kept;
    const int o = p.offset[i], first = p.first[i], count = p.count[i], before = count / 2;
    add_window<TAIL, STEP>(team, s, before, count, w.total + first, k.peak + o, k.step + o, k.tail + o, k.slope + o);
    if (TAIL && p.far_count[i] > 0)
        add_far_tail(team, s, before, count, p.far_count[i], (p.kind[i] & PEAK_MIRRORED) != 0, w.total + first);
    if (STEP) w.step_height[first / Thread::BLOCK] += T(2) * s.step;  // erfc(-inf) = 2
}

// w.total = sum of the peaks.
template <class T> XRF_FN void add_peaks(Thread team, const Axis &a, Workspace<T> &w) {
    Peaks<T> &p = w.peaks;
    const int n = padded<Thread>(a.count), blocks = n / Thread::BLOCK;
    const bool steps = (w.kinds & kinds_with(PEAK_STEP)) != 0;
    XRF_SIMD for (int c = 0; c < n + Thread::BLOCK; ++c) w.total[c] = T(0);
    for (int b = 0; steps && b <= blocks; ++b) w.step_height[b] = T(0);
    int offset = 0;
    for (int i = 0; i < p.n; ++i) {
        p.offset[i] = offset;
        offset += p.count[i];
        switch (p.kind[i] & (PEAK_TAIL | PEAK_STEP)) {
        case 0: add_peak<false, false>(team, i, a.cut, w); break;
        case PEAK_TAIL: add_peak<true, false>(team, i, a.cut, w); break;
        case PEAK_STEP: add_peak<false, true>(team, i, a.cut, w); break;
        default: add_peak<true, true>(team, i, a.cut, w);
        }
    }
    if (!steps) return;
    T height = T(0);
    for (int b = blocks - 1; b >= 0; --b) {
        height += w.step_height[b + 1];
        T *m = w.total + b * Thread::BLOCK;
        XRF_EACH_LANE(team, j) m[j] += height;
    }
}

template <bool TAIL, bool STEP, class T>
XRF_FN void sum_window(Thread team, const PeakScalars<T> &s, int before, int count, const T *XRF_RESTRICT weight,
                       const T *XRF_RESTRICT peak, const T *XRF_RESTRICT step, const T *XRF_RESTRICT tail,
                       const T *XRF_RESTRICT slope, PeakSums<T> &out) {
    T lanes[N_SUMS][Thread::LANES] = {};
    for (int b = 0; b < count; b += Thread::BLOCK)
        XRF_EACH_LANE(team, j) {
            const T t = T(b + j - before);
            add_terms<TAIL, STEP>(s, weight[b + j], t, s.x(t), peak[b + j], STEP ? step[b + j] : T(0),
                                  TAIL ? tail[b + j] : T(0), TAIL ? slope[b + j] : T(0), j, lanes);
        }
    for (int k = 0; k < N_SUMS; ++k) {
        const bool used = k == SUM_STEP ? STEP : (k == SUM_TAIL || k == SUM_GAMMA) ? TAIL : true;
        out.of[k] = used ? team.sum(lanes[k]) : T(0);
    }
    complete_terms<TAIL, STEP>(s, out);
}

template <class T>
XRF_FN void sum_far_tail(Thread team, const PeakScalars<T> &s, int before, int count, int far, bool mirrored,
                         const T *XRF_RESTRICT weight, PeakSums<T> &out) {
    FarTail<Thread, T> f = FarTail<Thread, T>::begin(team, s, before, count, mirrored);
    T lanes[3][Thread::LANES] = {};
    for (int b = 0; b < far; b += Thread::BLOCK, f.next()) {
        const T *XRF_RESTRICT w = weight + f.c;
        XRF_EACH_LANE(team, j) {
            const T t = T(f.t + j);
            const T v = w[j] * f.value[j], vt = v * t;
            lanes[0][j] += v;
            lanes[1][j] += vt;
            lanes[2][j] += vt * t;
        }
    }
    const T sums[3] = {team.sum(lanes[0]), team.sum(lanes[1]), team.sum(lanes[2])};
    add_far_terms(s, sums, out);
}

template <bool TAIL, bool STEP, class T> XRF_FN void sum_peak(Thread team, int i, double cut, Workspace<T> &w) {
    const Peaks<T> &p = w.peaks;
    const PeakScalars<T> s = scalars_of<TAIL, STEP>(p, i, cut);
    const KeptShapes<T> &k = w.kept;
    const int o = p.offset[i], first = p.first[i], count = p.count[i], before = count / 2;
    PeakSums<T> sums;
    sum_window<TAIL, STEP>(team, s, before, count, w.weight + first, k.peak + o, k.step + o, k.tail + o, k.slope + o, sums);
    if (TAIL && p.far_count[i] > 0)
        sum_far_tail(team, s, before, count, p.far_count[i], (p.kind[i] & PEAK_MIRRORED) != 0, w.weight + first, sums);
    if (STEP) sums.of[SUM_STEP] += T(2) * w.weight_below[first / Thread::BLOCK];
    p.sums[i] = sums;
}

// The sums of every peak from w.weight = dL/dm.
template <class T> XRF_FN void sum_peaks(Thread team, const Axis &a, Workspace<T> &w) {
    const int blocks = padded<Thread>(a.count) / Thread::BLOCK;
    if (w.kinds & kinds_with(PEAK_STEP)) {
        double below = 0;
        for (int b = 0; b <= blocks; ++b) {
            w.weight_below[b] = T(below);
            T lane[Thread::LANES];
            XRF_EACH_LANE(team, j) lane[j] = w.weight[b * Thread::BLOCK + j];
            below += (double)team.sum(lane);
        }
    }
    for (int i = 0; i < w.peaks.n; ++i) switch (w.peaks.kind[i] & (PEAK_TAIL | PEAK_STEP)) {
        case 0: sum_peak<false, false>(team, i, a.cut, w); break;
        case PEAK_TAIL: sum_peak<true, false>(team, i, a.cut, w); break;
        case PEAK_STEP: sum_peak<false, true>(team, i, a.cut, w); break;
        default: sum_peak<true, true>(team, i, a.cut, w);
        }
}
