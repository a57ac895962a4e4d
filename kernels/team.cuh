// Who works on one spectrum: a team of members, each with LANES virtual lanes.
//
// On the CPU a team is one thread whose 16 virtual lanes are one or two vector registers; on a GPU it is a
// warp or a block of threads (device_teams.cuh), and a member has one lane. All members run the same
// text with the same values in their own variables; what is in the workspace they share:
//
// - Channels, lines, variables are dealt out: i belongs to member i mod MEMBERS. A pass over channels walks
//   blocks of BLOCK = MEMBERS x LANES channels; arrays are padded to it, so that no lane needs a test and a
//   channel has the same member in every pass. How peaks are walked differs: passes_thread.cuh, passes_device.cuh.
//
//       for (int b = team.first(); b < padded; b += Team::BLOCK)
//           XRF_EACH_LANE(team, j) { const int c = b + j; ... }
//       XRF_SHARE(team, i, n) { ... }
//
// - What is one value or one after another is written by the member that leads().
// - Between writing and another member's reading, and between reading and another's writing again,
//   stands team.sync().
//
// Sums are kept per lane or per member and reduced once, by sum(), in a fixed order.
#pragma once
#include "portable.cuh"

struct Thread {
    static constexpr int MEMBERS = 1;
    static constexpr int LANES = 16;
    static constexpr int BLOCK = 16;
    // Windows of peaks begin and end at multiples of it.
    static constexpr int GRAIN = 16;
    // Elements of a small matrix's row that a member takes at once.
    static constexpr int PIECE = 8;
    // The forward pass keeps the line shapes for the adjoint; see passes_thread.cuh.
    static constexpr bool KEEPS_SHAPES = true;

    static XRF_METHOD int member() { return 0; }
    static XRF_METHOD bool leads() { return true; }
    // This member's first channel of every block.
    static XRF_METHOD int first() { return 0; }
    // Makes what every member wrote visible to all.
    static XRF_METHOD void sync() {}

    // Sum over all lanes of the team, the same in every member. The tree is fixed, so the result
    // does not depend on anything but the lanes.
    template <class T> static XRF_METHOD T sum(const T (&lane)[LANES]) {
        T half[8], quarter[4];
        XRF_SIMD for (int j = 0; j < 8; ++j) half[j] = lane[j] + lane[j + 8];
        XRF_SIMD for (int j = 0; j < 4; ++j) quarter[j] = half[j] + half[j + 4];
        return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
    }
    // Sum over all members, the same in every member.
    static XRF_METHOD double sum(double mine) { return mine; }
    // True in every member when it is true in one.
    static XRF_METHOD bool any(bool mine) { return mine; }
};

// This member's lanes of a block of channels.
#define XRF_EACH_LANE(team, j) XRF_SIMD for (int j = 0; j < decltype(team)::LANES; ++j)
// This member's share of 0 .. n, on a GPU one or two each, or seldom.
#define XRF_SHARE(team, i, n) XRF_ROLLED for (int i = team.member(); i < (n); i += decltype(team)::MEMBERS)

// Channels padded to whole blocks.
template <class Team> XRF_FN int padded(int n) { return (n + Team::BLOCK - 1) / Team::BLOCK * Team::BLOCK; }

// Sum of an array over the channels below n; it is padded.
template <class Team, class T> XRF_FN double sum_of(Team team, int n, const T *XRF_RESTRICT a) {
    T sums[Team::LANES] = {};
    for (int b = team.first(); b < n; b += Team::BLOCK)
        XRF_EACH_LANE(team, j) sums[j] += b + j < n ? a[b + j] : T(0);
    return (double)team.sum(sums);
}
