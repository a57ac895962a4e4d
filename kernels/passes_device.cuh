// The two passes over channels for a team of a GPU. Shapes are computed again in the adjoint pass: that costs less
// than keeping them.
//
// Forward, a channel gathers the peaks that reach it: a warp takes strips of 96 channels, three a lane, finds the
// peaks of a strip by a vote, and no channel is written twice. Adjoint, eight lanes walk a peak, so that a warp
// works on four, and the sums of eight lanes need three exchanges.
#pragma once
#include "device_teams.cuh"
#include "workspace.cuh"

// Channels of a lane in a strip, and of a strip.
enum { STRIP_CHANNELS = 3, STRIP = STRIP_CHANNELS * WARP_LANES };

// tau of the far tail, 2 exp(1/2G^2) exp(x/G).
template <class T> XRF_FN T far_tail(const PeakScalars<T> &s, T t) {
    return s.twice_e2 * exponential(s.inv_gamma * s.x(t));
}

// Adds the peaks of a vote, counted from `chunk`, to a lane's channels c.
template <bool TAIL, bool STEP, class T>
XRF_FN void gather(const Peaks<T> &p, int chunk, unsigned peaks, double cut, const T (&c)[STRIP_CHANNELS],
                   T (&m)[STRIP_CHANNELS]) {
    for (; peaks; peaks = without_last(peaks)) {
        const PeakScalars<T> s = scalars_of<TAIL, STEP>(p, chunk + last_of(peaks), cut);
        XRF_UNROLL for (int k = 0; k < STRIP_CHANNELS; ++k) {
            const T x = s.x(c[k] - s.middle);
            const Shape<T> f = shape_at<TAIL, STEP>(s, x);
            m[k] += counts_of<TAIL, STEP>(s, f.peak, f.step, f.tail);
        }
    }
}

template <class T>
XRF_FN void gather_far_tails(const Peaks<T> &p, int chunk, unsigned peaks, const T (&c)[STRIP_CHANNELS],
                             T (&m)[STRIP_CHANNELS]) {
    for (; peaks; peaks = without_last(peaks)) {
        const PeakScalars<T> s = scalars_of<true, false>(p, chunk + last_of(peaks), 0);
        XRF_UNROLL for (int k = 0; k < STRIP_CHANNELS; ++k) m[k] += s.tail * far_tail(s, c[k] - s.middle);
    }
}

// How a peak reaches the channels from `begin` to `end`.
struct Reach {
    bool near, far, below;  // its window; its far tail; the even part of its step
};

template <bool SHAPED, class T> XRF_FN Reach reach_of(const Peaks<T> &p, int i, int begin, int end) {
    const int first = p.first[i], last = first + p.count[i];
    const bool near = first < end && last > begin && first < last;
    if (!SHAPED) return {near, false, false};
    const int far = p.far_count[i];
    const int far_first = (p.kind[i] & PEAK_MIRRORED) ? last : first - far;
    return {near, !near && far_first < end && far_first + far > begin, first >= end};
}

// w.total = sum of the peaks.
template <bool SHAPED, class Team, class T> XRF_FN void add_all(Team team, const Axis &a, Workspace<T> &w) {
    const Peaks<T> p = peaks_of(w);
    T *total = near_pointer(w.total);
    const int lane = team.lane();
    for (int begin = STRIP * team.warp(); begin < a.count; begin += STRIP * Team::WARPS) {
        const int end = begin + STRIP < a.count ? begin + STRIP : a.count;
        T m[STRIP_CHANNELS], c[STRIP_CHANNELS], height = T(0);
        XRF_UNROLL for (int k = 0; k < STRIP_CHANNELS; ++k) {
            m[k] = T(0);
            c[k] = T(begin + k * WARP_LANES + lane);
        }
        for (int chunk = 0; chunk < p.n; chunk += WARP_LANES) {
            const int i = chunk + lane;
            const Reach reach = i < p.n ? reach_of<SHAPED>(p, i, begin, end) : Reach{false, false, false};
            const int kind = SHAPED && i < p.n ? p.kind[i] & (PEAK_TAIL | PEAK_STEP) : 0;
            gather<false, false>(p, chunk, team.which(reach.near && kind == 0), a.cut, c, m);
            if constexpr (SHAPED) {
                gather<true, false>(p, chunk, team.which(reach.near && kind == PEAK_TAIL), a.cut, c, m);
                gather<false, true>(p, chunk, team.which(reach.near && kind == PEAK_STEP), a.cut, c, m);
                gather<true, true>(p, chunk, team.which(reach.near && kind == (PEAK_TAIL | PEAK_STEP)), a.cut, c, m);
                gather_far_tails(p, chunk, team.which(reach.far), c, m);
                if ((kind & PEAK_STEP) && reach.below) height += T(2) * p.curve[i].coefs.step;  // erfc(-inf) = 2
            }
        }
        if constexpr (SHAPED) height = team.warp_sum(height);
        XRF_UNROLL for (int k = 0; k < STRIP_CHANNELS; ++k) {
            const int channel = begin + k * WARP_LANES + lane;
            if (channel < padded<Team>(a.count)) total[channel] = m[k] + height;
        }
    }
    team.sync();
}

template <class Team, class T> XRF_FN void add_peaks(Team team, const Axis &a, Workspace<T> &w) {
    if (is_shaped(w)) add_all<true>(team, a, w);
    else add_all<false>(team, a, w);
}

// A lane's share of the sums of peak i.
template <bool TAIL, bool STEP, class Team, class T>
XRF_FN void sum_share(Team team, const Peaks<T> &p, int i, double cut, const T *weight, PeakSums<T> &sums) {
    const PeakScalars<T> s = scalars_of<TAIL, STEP>(p, i, cut);
    const int first = p.first[i], count = p.count[i], lane = team.lane_of_group();
    T t = T(lane - count / 2), share[N_SUMS][1] = {};
    XRF_UNROLL_BY((TAIL || STEP ? 1 : 4)) for (int c = lane; c < count; c += Team::GROUP, t += T(Team::GROUP)) {
        const T x = s.x(t);
        const Shape<T> f = shape_at<TAIL, STEP>(s, x);
        add_terms<TAIL, STEP>(s, weight[first + c], t, x, f.peak, f.step, f.tail, f.slope, 0, share);
    }
    XRF_UNROLL for (int k = 0; k < N_SUMS; ++k) sums.of[k] = share[k][0];
    complete_terms<TAIL, STEP>(s, sums);
    if (!TAIL || p.far_count[i] == 0) return;
    T far[3] = {};
    const int beyond = (p.kind[i] & PEAK_MIRRORED) ? count : -p.far_count[i], far_first = first + beyond;
    t = T(lane - count / 2 + beyond);
    XRF_UNROLL_BY(2) for (int c = lane; c < p.far_count[i]; c += Team::GROUP, t += T(Team::GROUP)) {
        const T v = weight[far_first + c] * far_tail(s, t), vt = v * t;
        far[0] += v;
        far[1] += vt;
        far[2] += vt * t;
    }
    add_far_terms(s, far, sums);
}

// Sums of the weights below every eighth of n channels, for the even part of the steps.
template <class Team, class T> XRF_FN void sum_weights_below(Team team, int n, Workspace<T> &w) {
    const int groups = n / Team::GROUP;
    for (int g = team.group(); g < groups; g += Team::GROUPS) {
        const T of_group = team.group_sum(w.weight[g * Team::GROUP + team.lane_of_group()]);
        if (team.lane_of_group() == 0) w.weight_below[g + 1] = of_group;
    }
    team.sync();
    if (team.leads()) {
        double below = 0;
        w.weight_below[0] = T(0);
        for (int g = 1; g <= groups; ++g) w.weight_below[g] = T(below += (double)w.weight_below[g]);
    }
    team.sync();
}

// The sums of every peak from w.weight = dL/dm.
template <bool SHAPED, class Team, class T> XRF_FN void sum_all(Team team, const Axis &a, Workspace<T> &w) {
    const Peaks<T> p = peaks_of(w);
    const T *weight = near_pointer(w.weight);
    XRF_ROLLED for (int round = 0; round < p.n; round += Team::GROUPS) {
        const int i = round + team.group();
        const int kind = SHAPED && i < p.n ? p.kind[i] & (PEAK_TAIL | PEAK_STEP) : 0;
        PeakSums<T> sums = {};
        if (i < p.n && kind == 0) sum_share<false, false>(team, p, i, a.cut, weight, sums);
        if constexpr (SHAPED) {
            if (kind == PEAK_TAIL) sum_share<true, false>(team, p, i, a.cut, weight, sums);
            if (kind == PEAK_STEP) sum_share<false, true>(team, p, i, a.cut, weight, sums);
            if (kind == (PEAK_TAIL | PEAK_STEP)) sum_share<true, true>(team, p, i, a.cut, weight, sums);
        }
        XRF_UNROLL for (int k = 0; k < (SHAPED ? N_SUMS : SUM_STEP); ++k)
            if (XRF_RUN_curved || k != SUM_D2) sums.of[k] = team.group_sum(sums.of[k]);
        if (i >= p.n || team.lane_of_group() != 0) continue;
        if (kind & PEAK_STEP) sums.of[SUM_STEP] += T(2) * near_pointer(w.weight_below)[p.first[i] / Team::GROUP];
        p.sums[i] = sums;
    }
}

template <class Team, class T> XRF_FN void sum_peaks(Team team, const Axis &a, Workspace<T> &w) {
    if (is_shaped(w) && (w.kinds & kinds_with(PEAK_STEP))) sum_weights_below(team, padded<Team>(a.count), w);
    if (is_shaped(w)) sum_all<true>(team, a, w);
    else sum_all<false>(team, a, w);
}
