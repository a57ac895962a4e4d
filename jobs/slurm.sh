# shellcheck shell=bash
# What the job scripts share. They source it; it is not submitted.
#
#     job_check "$@"            ends the job with a message where there is nothing to do or no xrfit to do it
#     job_run COMMAND...        runs it on all ranks, passes signals on, returns its exit code
#     job_end CODE              ends the job: 75 goes back to the queue, other codes are the job's
#     job_main COMMAND...       the two together
#
# `job_threads` is the number of threads of a rank, `job_ranks` the number of ranks.

job_threads="${SLURM_CPUS_PER_TASK:-1}"
job_ranks="${SLURM_NTASKS:-$((${SLURM_NTASKS_PER_NODE:-1} * ${SLURM_JOB_NUM_NODES:-1}))}"
# An array's first task has the number of the whole array: name the task.
job_name="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID:-}}"
job_name="${job_name:-$SLURM_JOB_ID}"
# The launcher that runs, and how many signals came meanwhile.
job_pid='' job_signals=0
# A file that srun's rank 0 takes away when it starts.
job_mark="$PWD/.xrfit-unstarted-$job_name"

job_say() { printf 'job %s: %s\n' "$job_name" "$*" >&2; }

job_check() {
    if ! command -v xrfit >/dev/null; then
        job_say "xrfit is not on the PATH of $(hostname) (nothing can be done); edit the second SITE block of the job script"
        exit 2
    fi
    if [ "$#" -eq 0 ]; then
        job_say "nothing is named after the script (there is nothing to do); its head says how it is submitted"
        exit 2
    fi
    job_say "$(xrfit --version), $job_ranks ranks with $job_threads threads each on ${SLURM_JOB_NODELIST:-?}, restarts so far: ${SLURM_RESTART_COUNT:-0}"
}

# srun starts the ranks itself where Slurm has PMIx; elsewhere mpirun does, inside the allocation.
job_launcher() {
    if [ -n "${XRFIT_LAUNCHER:-}" ]; then
        printf '%s' "$XRFIT_LAUNCHER"
    elif [[ "$(srun --mpi=list 2>&1)" == *pmix* ]]; then
        printf srun
    else
        printf mpirun
    fi
}

# Becomes COMMAND on the first `job_ranks` ranks. With one thread a rank keeps its core; with more
# it must not be bound to one.
job_launch() {
    local launcher nodes per_node="${SLURM_NTASKS_PER_NODE:-$job_ranks}" srun_bind=cores mpirun_bind=core:overload-allowed
    launcher="$(job_launcher)"
    nodes=$(((job_ranks + per_node - 1) / per_node))
    if [ "$job_threads" -gt 1 ]; then srun_bind=none mpirun_bind=none; fi
    case "$launcher" in
        srun)
            : >"$job_mark"
            # shellcheck disable=SC2016 # a rank's shell expands it
            exec srun --mpi=pmix --nodes="$nodes" --ntasks="$job_ranks" \
                --cpus-per-task="$job_threads" --cpu-bind="$srun_bind" \
                sh -c '[ "$SLURM_PROCID" -ne 0 ] || rm -f "$0"; exec "$@"' "$job_mark" "$@"
            ;;
        mpirun) exec mpirun -n "$job_ranks" --bind-to "$mpirun_bind" "$@" ;;
        *)
            job_say "XRFIT_LAUNCHER is $launcher (no such launcher is known); set it to srun or mpirun, or unset it"
            exit 2
            ;;
    esac
}

# The launchers pass SIGUSR1 on to every rank; SIGTERM would make mpirun kill them.
job_pass_on() {
    job_signals=$((job_signals + 1))
    job_say "SIG$1: xrfit is asked to stop; what is done stays in the ledger"
    kill -USR1 "$job_pid" 2>/dev/null || true
}

# bash runs a trap only between commands, or in `wait`, which it ends.
job_run() {
    local code=0 signals
    job_signals=0
    job_launch "$@" &
    job_pid=$!
    trap 'job_pass_on USR1' USR1
    trap 'job_pass_on TERM' TERM
    while :; do
        signals=$job_signals
        code=0
        wait "$job_pid" || code=$?
        [ "$signals" -ne "$job_signals" ] || break
    done
    # Ranks that have only begun to start die of SIGUSR1 (10), and when one has ended a launcher may
    # kill the others (9, 15) and say that; nothing is lost by either.
    if [ "$job_signals" -gt 0 ]; then
        case "$((code - 128))" in 9 | 10 | 15) code=75 ;; esac
    fi
    # srun may return 0 where a node could not start its ranks (22.05 does).
    if [ -e "$job_mark" ]; then
        rm -f "$job_mark"
        if [ "$code" -eq 0 ]; then
            job_say "srun started no rank (nothing was done; it says why above); another try may get other nodes"
            code=75
        fi
    fi
    return "$code"
}

job_state() {
    local shown
    shown="$(scontrol show job "$job_name")" || return
    shown="${shown#*JobState=}"
    printf '%s' "${shown%% *}"
}

# After 75 the job goes back to the queue, unless it has been there too often or someone ended it.
job_end() {
    local code="$1" state limit="${XRFIT_RESTARTS:-50}" restarts="${SLURM_RESTART_COUNT:-0}"
    trap '' USR1 TERM
    [ "$code" -eq 75 ] || exit "$code"
    if [ "$restarts" -ge "$limit" ]; then
        job_say "not done after $restarts restarts (XRFIT_RESTARTS allows $limit: does it get on?); submit it again as it was, and it goes on"
        exit 1
    fi
    state="$(job_state || true)"
    if [ "$state" != RUNNING ]; then
        job_say "Slurm ends the job (its state is ${state:-unknown}); if Slurm does not put it back into the queue, submit it again as it was, and it goes on"
    elif scontrol requeue "$job_name"; then
        job_say "back in the queue, restart $((restarts + 1)) of at most $limit"
    else
        job_say "it could not be put back into the queue (Slurm says why above); submit it again as it was, and it goes on"
    fi
    exit 75
}

job_main() {
    local code=0
    job_run "$@" || code=$?
    job_end "$code"
}
