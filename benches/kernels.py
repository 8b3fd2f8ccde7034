"""Sums the times of the CUDA kernels in a trace by name, to show where the time of a step goes on a GPU.

    spectral bench --device cuda --what train --runs 1 --profile step.json
    python3 benches/kernels.py step.json [ROWS]

Copies from the host are left out: they belong to the creation of the model, which the trace also contains.
"""

import collections
import json
import sys


def main() -> None:
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    with open(sys.argv[1], encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    kernels: dict[str, list[float]] = collections.defaultdict(list)
    for event in events:
        if event.get("cat") == "kernel":
            kernels[event["name"]].append(event["dur"])
    if not kernels:
        sys.exit(f"{sys.argv[1]} holds no CUDA kernels: make the trace with `--device cuda`")
    total = sum(map(sum, kernels.values()))
    print(f"{'ms':>9} {'share':>6} {'calls':>6}  kernel")
    for name, times in sorted(kernels.items(), key=lambda item: -sum(item[1]))[:rows]:
        print(f"{sum(times) / 1e3:9.3f} {sum(times) / total:6.1%} {len(times):6}  {name[:90]}")
    print(f"{total / 1e3:9.3f} {1:6.1%}         all {len(kernels)} kernels")


if __name__ == "__main__":
    main()
