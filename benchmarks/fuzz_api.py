"""Does the server keep to its own description? schemathesis asks it everything that OpenAPI allows, and much that it
does not.

    python benchmarks/fuzz_api.py [--examples 50] [--model lgg]

Needs `pip install schemathesis`. A server is started with a token, so that a wrong one is tried too; every route is
sent valid and invalid requests, single and in chains that follow from one another. Exit code 1 where an answer was a
5xx, or of a status, type or shape that the description does not have.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
TOKEN = "fuzzing-with-this-token"


def main() -> int:
    """Fuzz, and give schemathesis' own exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--model", default="")
    arguments = parser.parse_args()
    model = ["--model", arguments.model] if arguments.model else []
    with tempfile.TemporaryDirectory(prefix="tumorseg-fuzz-") as name:
        command = [sys.executable, "-m", "tumorseg", "serve", "--port", "0", "--folder", name, *model]
        environment = {**os.environ, "TUMORSEG_TOKEN": TOKEN}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            while httpx2.get(f"{address}/readyz").status_code != 200:
                time.sleep(0.1)
            schemathesis = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{address}/openapi.json"]
            options = ["--max-examples", str(arguments.examples), "--checks", ",".join(CHECKS)]
            options += ["--header", f"Authorization: Bearer {TOKEN}", "--request-timeout", "60", "--no-color"]
            return subprocess.run([*schemathesis, *options], cwd=name).returncode
        finally:
            process.terminate()
            process.wait(300)


if __name__ == "__main__":
    sys.exit(main())
