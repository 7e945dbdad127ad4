#!/usr/bin/env bash
# gpu_check.sh OUT [--from STAGE]: builds genkern for this machine's GPU, tests it, measures it and runs it under
# compute-sanitizer. Nine minutes at most, no network, nothing installed. OUT receives a log for each stage, the
# measurements as JSON, and summary.txt, whose table comes last on the terminal, too. Where time runs out, a second call
# with --from goes on: it builds, if need be, and of the stages before STAGE it keeps what OUT says of them.
# Exit status: 0 where every stage passed, else 1.
# PYTHON names the interpreter that has torch (default: python3).
set -uo pipefail
readonly TOTAL=530  # seconds; what each stage may take is cut to what is left of them
readonly STAGES=(build "every kernel once" "GPU tests" "matrix on the GPU" demo benchmarks memcheck racecheck initcheck)

usage() {
    printf 'usage: %s OUT [--from STAGE], STAGE one of: %s\n' "$0" "$(printf '%s, ' "${STAGES[@]}" | sed 's/, $//')" >&2
    exit 2
}
first=
if (($# == 3)) && [[ $2 == --from ]]; then
    for known in "${STAGES[@]}"; do
        [[ $3 == "$known" ]] && first=$3
    done
    [[ -n $first ]] || usage
elif (($# != 1)); then
    usage
fi
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
kept=()  # the rows of stages that are not run again
if [[ -n $first ]]; then
    mapfile -t kept < <(cat "$out/stages.txt" 2>/dev/null)
else
    rm -f "$out"/{build,smoke,gpu_tests,matrix,demo,benchmarks,sanitizer}.log "$out"/*.json
fi
rm -f "$out"/{summary,stages}.txt

python=${PYTHON:-python3}
export PYTHONPATH=$PWD MAX_JOBS=${MAX_JOBS:-16} GENKERN_NATIVE=1 GENKERN_CUDA=1

has() { "$python" -c "import $1" 2>/dev/null; }

# Why there is no GPU, or nothing; its architecture; what the machine is; where ninja may be.
mapfile -t facts < <("$python" - 2>/dev/null <<'END'
import platform, sysconfig
try:
    import torch
    assert torch.version.cuda, f"torch {torch.__version__} was built without CUDA"
    device = torch.cuda.get_device_properties(0)
except (ImportError, AssertionError, RuntimeError) as error:
    print(f"no GPU: {error}".splitlines()[0])
else:
    memory = f"{device.total_memory / 2**30:.0f} GiB, {device.multi_processor_count} multiprocessors"
    print("", f"{device.major}.{device.minor}", f"{device.name}, {memory}; torch {torch.__version__}", sep="\n", end="")
    print(f", Python {platform.python_version()}", sysconfig.get_path("scripts"), sep="\n")
END
)
if ((${#facts[@]} == 0)); then
    facts=("no GPU: $python does not run")
fi
no_gpu=${facts[0]} arch=${facts[1]:-} machine=${facts[2]:-} folder=${facts[3]:-}
export TORCH_CUDA_ARCH_LIST=$arch PATH=${folder:+$folder:}$PATH

rows=() failed=0 skipping=$first
row() { printf '%-22s %-8s %5d s  %s' "$@"; }
# keep ROW: what is known of a stage, in stages.txt as well, for a later call; fails where it has not passed.
keep() {
    rows+=("$1")
    printf '%s\n' "$1" >>"$out/stages.txt"
    [[ ${1:23:6} == passed ]] || { failed=1; return 1; }
}

# stage NAME SECONDS LOG EXPECTED MISSING COMMAND...: runs it unless something is MISSING; it has passed if it ends with
# status 0 and the last line it wrote matches EXPECTED.
stage() {
    local name=$1 limit=$2 log=$out/$3.log expected=$4 missing=$5 start=$SECONDS left=$((TOTAL - SECONDS)) status said result
    shift 5
    if [[ $name == "$skipping" ]]; then
        skipping=
    fi
    if [[ -n $skipping && $name != build ]]; then
        for said in "${kept[@]}"; do
            if [[ $said == "$(printf '%-22s ' "$name")"* ]]; then
                keep "$said"
                return
            fi
        done
        keep "$(row "$name" "not run" 0 "nothing is kept of it")"
        return
    fi
    if ((left < limit)); then
        limit=$left
    fi
    if [[ -z $missing ]] && ((limit < 10)); then
        missing="no time left"
    fi
    if [[ -n $missing ]]; then
        result="not run" said=$missing
        printf '=== %s ===\n%s\n' "$name" "$missing" >>"$log"
    else
        printf '%s (at most %d s) ...\n' "$name" "$limit"
        printf '=== %s ===\n' "$name" >>"$log"
        timeout --signal=INT --kill-after=10 "$limit" "$@" >>"$log" 2>&1
        status=$?
        said=$(grep -av '^[=[:space:]]*$' "$log" | tail -n 1 | sed -E 's/^=+ //; s/ =+$//' | cut -c 1-110)
        if ((status == 124 || status == 137)); then
            result=FAILED said="stopped after $limit s: $said"
        elif ((status != 0)) || [[ ! $said =~ $expected ]]; then
            result=FAILED
        else
            result=passed
        fi
    fi
    keep "$(row "$name" "$result" $((SECONDS - start)) "$said")"
}

tests=("$python" -m pytest -q -ra -p no:cacheprovider -o "addopts=--strict-markers --import-mode=importlib")
no_pytest=
has pytest || no_pytest="pytest is not installed: only the stage 'every kernel once' tests anything"
at_once=()
if has xdist; then
    at_once=(-n "$(($(nproc) < 8 ? $(nproc) : 8))")
fi
mapfile -t matrix < <(grep -lE '\b(backend|every_isa): Backend' tests/test_*.py)
sanitizer=$(PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin:/usr/local/cuda/bin command -v compute-sanitizer)
no_sanitizer=
[[ -n $sanitizer ]] || no_sanitizer="compute-sanitizer is neither on PATH nor in the CUDA toolkit"
no_demo=
for package in typer rich safetensors sklearn skimage matplotlib; do
    has "$package" || no_demo="$package is not installed"
done
has lightning_fabric || has lightning.fabric || no_demo="lightning-fabric is not installed"
no_benchmark=$no_pytest
has pytest_benchmark || no_benchmark=${no_pytest:-pytest-benchmark is not installed}

no_build=$no_gpu
# shellcheck disable=SC2016  # $0 is the inner shell's
if ! stage build 170 build '^built for' "$no_gpu" bash -c '"$0" setup.py build_ext --inplace && "$0" -c "
import genkern
cuda = genkern.info()[\"cuda\"]
assert cuda[\"built\"], cuda[\"reason\"]
print(\"built for\", cuda[\"archs\"], \"with CUDA\", cuda[\"toolkit\"])"' "$python"; then
    no_build=${no_gpu:-the build failed}
fi
stage "every kernel once" 60 smoke ' 0 results not those' "$no_build" "$python" tests/every_kernel_once.py
stage "GPU tests" 150 gpu_tests ' passed' "${no_build:-$no_pytest}" "${tests[@]}" --full tests/test_cuda.py
stage "matrix on the GPU" 120 matrix ' passed' "${no_build:-$no_pytest}" \
    env OMP_NUM_THREADS=2 "${tests[@]}" --full "${at_once[@]}" "${matrix[@]}" -k "cuda and not emulated"
stage demo 90 demo ' begins as that of the CPU' "${no_build:-$no_demo}" "$python" tests/demo_on.py cuda "$out"
stage benchmarks 150 benchmarks ' passed' "${no_build:-$no_benchmark}" \
    "$python" -m pytest benchmarks -p no:cacheprovider --benchmark-enable --device cuda --quick --results "$out"
for tool in memcheck racecheck initcheck; do
    # Without torch's cache every tensor is an allocation of its own, whose bounds the tool knows.
    stage "$tool" 60 sanitizer 'SUMMARY: 0 ' "${no_build:-$no_sanitizer}" env PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
        "$sanitizer" --tool "$tool" --error-exitcode 1 --print-limit 20 "$python" tests/every_kernel_once.py
done

driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)
commit=$(git rev-parse --short=10 HEAD 2>/dev/null)
{
    "$python" - "$out" 2>>"$out/benchmarks.log" <<'END'
import sys
from pathlib import Path
from benchmarks import results, tables
measured = [results.load(path) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
if measured:
    print(tables.full(measured, lambda name: None))
END
    printf '%s, driver %s; commit %s; %d s\n\n' "${machine:-$no_gpu}" "${driver:-unknown}" "${commit:-unknown}" "$SECONDS"
    printf '%-22s %-8s %7s  %s\n' stage result time "last line of its log"
    printf '%s\n' "${rows[@]}"
} | tee "$out/summary.txt"
exit "$failed"
