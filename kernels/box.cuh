// Minimum of a quadratic form in a box: g'd + d'H d / 2 with lower <= x + d <= upper, H symmetric and not indefinite.
//
// Block principal pivoting (for one bound Portugal, Júdice & Vicente, Math. Comp. 63 (1994) 625, for two Júdice & Pires,
// Comput. Oper. Res. 21 (1994) 587): solve for the variables that are free, exchange every one that is infeasible, and
// fall back to one at a time when that does not reduce their number, which guarantees an end.
#pragma once
#include "cholesky.cuh"

// Of a variable: free, at a bound, or without any effect.
enum { BOX_FREE = 0, BOX_LOWER = 1, BOX_UPPER = 2, BOX_FIXED = 3 };

// Steps of the free variables with the others where they are, into j.step.
template <class Team, class T> XRF_OUTLINE bool solve_free(Team team, double damping, Jacobian<T> &j) {
    const int n = j.n;
    int m = 0;
    for (int i = 0; i < n; ++i) {
        if (j.state[i] != BOX_FREE) continue;
        if (team.leads()) j.chosen[m] = i;
        ++m;
    }
    XRF_SHARE(team, i, n)
        j.step[i] = j.state[i] == BOX_LOWER ? j.lower[i] - j.x[i] : j.state[i] == BOX_UPPER ? j.upper[i] - j.x[i] : 0.0;
    team.sync();
    XRF_SHARE(team, r, m) j.solution[r] = -j.gradient[j.chosen[r]];
    for (int k = 0; k < n; ++k) {
        const double step = j.step[k];
        if (step == 0) continue;
        XRF_SHARE(team, r, m) j.solution[r] -= j.matrix[j.chosen[r] * n + k] * step;
    }
    team.sync();
    const bool sound = factor_chosen(team, m, damping, j);
    solve_upper(team, m, j);
    XRF_SHARE(team, r, m) j.step[j.chosen[r]] = j.solution[r] * j.scale[j.chosen[r]];
    if (team.leads()) j.factored = damping == 0 ? m : 0;
    team.sync();
    return sound;
}

// What the last factor promises that half the objective falls by a step of its variables, while the others stay at their
// bounds; after it, solve_again gives the step. Infinite where one is not at its bound or is to leave it, or without a factor.
template <class Team, class T> XRF_OUTLINE double gain_by_factor(Team team, Jacobian<T> &j) {
    const int m = j.factored;
    bool leaves = m == 0;
    for (int i = 0; i < j.n; ++i) {
        const double g = j.gradient[i], x = j.x[i];
        leaves = leaves || (j.state[i] == BOX_LOWER && (g < 0 || x > j.lower[i])) ||
                 (j.state[i] == BOX_UPPER && (g > 0 || x < j.upper[i]));
    }
    if (leaves) return 1e300;
    XRF_SHARE(team, r, m) j.solution[r] = -j.gradient[j.chosen[r]] * j.scale[j.chosen[r]];
    team.sync();
    solve_lower(team, m, j);
    double gain = 0;
    for (int r = 0; r < m; ++r) gain += j.solution[r] * j.solution[r];
    return 0.5 * gain;
}

// The step that gain_by_factor promised, into j.step.
template <class Team, class T> XRF_OUTLINE void solve_again(Team team, Jacobian<T> &j) {
    const int m = j.factored;
    team.sync();
    solve_upper(team, m, j);
    XRF_SHARE(team, i, j.n) j.step[i] = 0;
    team.sync();
    XRF_SHARE(team, r, m) j.step[j.chosen[r]] = j.solution[r] * j.scale[j.chosen[r]];
    team.sync();
}

// Which state variable i should have: a free one beyond a bound goes there, a bound one whose gradient points inside
// becomes free.
template <class T> XRF_FN int better_state(const Jacobian<T> &j, int i, double damping) {
    const int state = j.state[i];
    if (state == BOX_FIXED) return state;
    if (state == BOX_FREE) {
        const double x = j.x[i] + j.step[i];
        return x < j.lower[i] ? BOX_LOWER : x > j.upper[i] ? BOX_UPPER : BOX_FREE;
    }
    const double *row = j.matrix + i * j.n;
    double slope = j.gradient[i] + damping * row[i] * j.step[i], size = magnitude(slope);
    for (int k = 0; k < j.n; ++k) {
        const double term = row[k] * j.step[k];
        slope += term;
        size += magnitude(term);
    }
    const double inside = state == BOX_LOWER ? -slope : slope;
    return inside > 1e-10 * size ? BOX_FREE : state;
}

// The step, into j.step, and the states of the variables, which it starts from. Returns false where a column
// depends on others.
template <class Team, class T> XRF_OUTLINE bool solve_box(Team team, double damping, Jacobian<T> &j) {
    const int n = j.n;
    int fewest = n + 1, tries = 3;
    bool sound = true;
    for (int round = 0; round < 20 * n; ++round) {
        sound = solve_free(team, damping, j);
        int count = 0, last = -1;
        for (int i = 0; i < n; ++i)
            if (better_state(j, i, damping) != j.state[i]) {
                ++count;
                last = i;
            }
        if (count == 0) return sound;
        const bool fewer = count < fewest;
        fewest = fewer ? count : fewest;
        tries = fewer ? 3 : tries - 1;
        team.sync();
        // decide on all before changing any
        XRF_SHARE(team, i, n) j.chosen[i] = tries >= 0 || i == last ? better_state(j, i, damping) : j.state[i];
        team.sync();
        XRF_SHARE(team, i, n) j.state[i] = j.chosen[i];
        team.sync();
    }
    XRF_SHARE(team, i, n) {  // rounding moved in circles: what it came to, inside the box
        const double x = clamped(j.x[i] + j.step[i], j.lower[i], j.upper[i]);
        j.step[i] = x - j.x[i];
    }
    if (team.leads()) j.factored = 0;
    team.sync();
    return sound;
}
