"""PyTorch + transformers on the benchmark's shapes, driven over a pipe so that its runs alternate with the engine's.

One JSON object a line on stdin, one answer a line on stdout:

    {"op": "start", "threads": 1, "clock": "wall", "config": {...}, "seed": 0} -> {"torch": "2.13.0", "transformers": "5.17.0", ...}
    {"op": "prepare", "task": "sample", "batch": {...}}            -> {}
    {"op": "choose", "task": "sample", "quick": false}             -> {"variant": "...", "tried": [{"variant", "seconds" | "error"}]}
    {"op": "run", "task": "sample", "variant": "..."}              -> {"seconds": 0.97}
    {"op": "forget", "task": "sample"}                             -> {}

Tasks: sample, sampleLogProbs, score, sft, ppo. A variant is one way for PyTorch to do the task (precision, attention, cache,
padding, compilation); `choose` times them all and names the fastest, which is the one to compare with. An answer with
the key "error" says in words what failed. Standard error is free for warnings.
"""

import json
import os
import sys
import time
import traceback


def import_torch():
    """The two packages, or one line on standard output that says which is missing."""
    missing = []
    for package in ("torch", "transformers"):
        try:
            __import__(package)
        except ImportError as error:
            missing.append(f"{package} ({error})")
    if missing:
        hint = "pip install torch transformers, or set SPA_PEER_PYTHON to a Python that has them"
        answer({"error": f"{sys.executable} cannot import {' and '.join(missing)}: {hint}"})
        sys.exit(3)


def answer(message):
    protocol.write(json.dumps(message) + "\n")
    protocol.flush()


class Peer:
    """The tasks that are prepared, by name."""

    def __init__(self, request):
        import torch
        import transformers

        torch.set_num_threads(request["threads"])
        torch.set_num_interop_threads(1)
        torch.manual_seed(request.get("seed", 0))
        transformers.logging.set_verbosity_error()
        self.config = request["config"]
        self.clock = time.process_time if request["clock"] == "cpu" else time.perf_counter
        self.tasks = {}
        self.about = {
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "cpuCapability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        }

    def prepare(self, request):
        from sampling import Sampling
        from training import Training

        name = request["task"]
        kind = Sampling if name.startswith("sample") else Training
        self.tasks[name] = kind(name, self.config, request["batch"])

    def forget(self, request):
        self.tasks.pop(request["task"], None)

    def choose(self, request):
        from models import is_large

        task = self.tasks[request["task"]]
        tried = []
        large = is_large(self.config)
        for variant in task.variants(quick=request.get("quick", False)):
            if large:
                task.forget(except_for=None)  # two models at a time may not fit; the fastest is built again
            try:
                seconds = self.best_of(task, variant, 1 if large else request.get("repeats", 3))
                tried.append({"variant": variant, "seconds": seconds})
            except Exception as error:
                traceback.print_exc()
                tried.append({"variant": variant, "error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"})
            task.forget(except_for=best_variant(tried))
        return {"variant": best_variant(tried), "tried": tried}

    def best_of(self, task, variant, repeats):
        """Fastest of a few runs after one that warms up (allocator, oneDNN primitives, compilation)."""
        self.timed(task, variant)
        return min(self.timed(task, variant) for _ in range(repeats))

    def timed(self, task, variant):
        run = task.runner(variant)
        begin = self.clock()
        run()
        return self.clock() - begin


def best_variant(tried):
    times = [(entry["seconds"], entry["variant"]) for entry in tried if "seconds" in entry]
    return min(times)[1] if times else None


def serve():
    peer = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "start":
                peer = Peer(request)
                answer(peer.about)
            elif request["op"] == "prepare":
                peer.prepare(request)
                answer({})
            elif request["op"] == "choose":
                answer(peer.choose(request))
            elif request["op"] == "forget":
                peer.forget(request)
                answer({})
            elif request["op"] == "run":
                answer({"seconds": peer.timed(peer.tasks[request["task"]], request["variant"])})
            else:
                answer({"error": f"unknown op {request['op']!r}"})
        except Exception as error:
            traceback.print_exc()
            answer({"error": f"{type(error).__name__}: {str(error)[:300]}"})


if __name__ == "__main__":
    # Libraries that print must not break the protocol: it keeps the real standard output for itself.
    protocol = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import_torch()
    serve()
