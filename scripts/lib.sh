# shellcheck shell=bash
# What the scripts share. Sourced: . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"; leaves us at the top.

self=$(readlink -f "$0")
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top" || exit 1

say() { printf '%s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# The comment at the head of the calling script, as its --help.
usage() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$self"; }

# build PRESET [TARGET…]: configures and builds build/PRESET, quietly unless it fails (1).
build() {
  local preset=$1 log
  shift
  mkdir -p "build/$preset"
  log=build/$preset/build.log
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"}; } >"$log" 2>&1; then
    grep -E 'error|Error|FAILED|undefined|multiple definition' -A 5 "$log" | cut -c 1-300 | head -60 >&2
    say "$(basename "$self"): build/$preset failed, see $log" >&2
    return 1
  fi
}

# program NAME PRESET: prints the path of a program that was built, or nothing.
program() {
  find "build/$2" -type f -name "$1" -perm -u+x -not -path '*/CMakeFiles/*' 2>/dev/null | head -n 1
}
