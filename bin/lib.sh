# What the scripts here share: saying what they do, and getting what they need. Sourced, not run.
# shellcheck shell=bash

say() { printf '==> %s\n' "$*" >&2; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: runs it as root, where that needs no password.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 1
  fi
}

# apt_install PACKAGE...: installs Debian packages. Fails quietly where there is no apt or no right to use it.
apt_install() {
  have apt-get && as_root true || return 1
  say "installing with apt-get: $*"
  if [ -z "${apt_lists_are_new:-}" ]; then
    as_root apt-get update -qq </dev/null >&2 || return 1
    apt_lists_are_new=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

# The build needs Rust and, for SQLite and the TLS library, a C compiler.
need_build_tools() {
  have cargo || fail "cargo is missing: install Rust as https://rustup.rs says, then run this again"
  if ! have cc; then
    apt_install gcc libc6-dev || fail "a C compiler is missing: install gcc or clang, then run this again"
  fi
}
