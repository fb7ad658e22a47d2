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

# Prints the newest folder that holds both `initdb` and `postgres`.
postgres_folder() {
  local folder
  for folder in "$(pg_config --bindir 2>/dev/null || true)" \
    $(compgen -G '/usr/lib/postgresql/*/bin' | sort -rV) \
    $(compgen -G '/usr/pgsql-*/bin' | sort -rV) \
    $(compgen -G '/opt/homebrew/opt/postgresql*/bin' | sort -rV) \
    $(compgen -G '/usr/local/opt/postgresql*/bin' | sort -rV) \
    "$(dirname "$(command -v postgres 2>/dev/null || echo /nowhere/postgres)")"; do
    if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then
      printf '%s\n' "$folder"
      return
    fi
  done
  return 1
}

# The package would start a server on port 5432; what runs here starts private ones and needs only the programs.
install_postgres() {
  have apt-get && as_root true || return 1
  as_root mkdir -p /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.d/no-main-cluster.conf >/dev/null
  apt_install postgresql
}

# The package would start a server on port 6379; what runs here starts private ones and needs only the program. A policy-rc.d
# that says 101 is how Debian is told so; one that is there already is left alone.
install_redis() {
  have apt-get && as_root true || return 1
  local policy=/usr/sbin/policy-rc.d ours=no
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" || return 1
    ours=yes
  fi
  apt_install redis-server
  local result=$?
  [ "$ours" = no ] || as_root rm -f "$policy"
  # A later boot must not start it either.
  as_root systemctl disable redis-server >/dev/null 2>&1 || true
  return $result
}

have_redis() { have redis-server || have valkey-server; }

# as_postgres COMMAND...: replaces this process by the command. A Postgres server refuses to run as root.
as_postgres() {
  if [ "$(id -u)" -eq 0 ]; then
    exec setpriv --reuid postgres --regid postgres --init-groups -- "$@"
  fi
  exec "$@"
}
