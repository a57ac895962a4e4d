// Who works on one spectrum: a team of members, each with LANES virtual lanes.
//
// On the CPU a team is one thread whose 16 virtual lanes are one or two vector registers; on a GPU it is a warp
// or a block whose members have one lane each. A pass over channels walks blocks of
// BLOCK = members x LANES channels; windows start at multiples of BLOCK and are padded to it, so no
// lane needs a test. Sums are kept per lane and reduced once, by sum().
//
//     for (int b = 0; b < padded; b += Team::BLOCK)
//         XRF_EACH_LANE(team, j) { const int t = b + j; ... }
#pragma once
#include "portable.cuh"

struct Thread {
    static constexpr int LANES = 16;
    static constexpr int BLOCK = 16;
    // A CPU keeps the line shapes of the forward pass for the adjoint; recomputing them costs more
    // than the cache they take. On a GPU it is the other way round.
    static constexpr bool KEEPS_SHAPES = true;

    // Sum over all lanes of the team, the same in every member. The tree is fixed, so the result
    // does not depend on anything but the lanes.
    template <class T> static XRF_METHOD T sum(const T (&lane)[LANES]) {
        T half[8], quarter[4];
        XRF_SIMD for (int j = 0; j < 8; ++j) half[j] = lane[j] + lane[j + 8];
        XRF_SIMD for (int j = 0; j < 4; ++j) quarter[j] = half[j] + half[j + 4];
        return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
    }
    // Makes what every member wrote visible to all.
    static XRF_METHOD void sync() {}
};

#define XRF_EACH_LANE(team, j) XRF_SIMD for (int j = 0; j < Thread::LANES; ++j)

// Channels padded to whole blocks.
template <class Team> XRF_FN int padded(int n) { return (n + Team::BLOCK - 1) / Team::BLOCK * Team::BLOCK; }
