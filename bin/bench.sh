# What `bin/bench` is made of: children and servers, the platform's roles, figures and how they are shown. Sourced, not
# run; the sections themselves stand in `bin/bench`.
# shellcheck shell=bash disable=SC2154

# --- Children, all ended by their id ---

work=""
at_exit() {
  local pids pid
  # The newest first: what uses a server before the server.
  pids=$(jobs -p | sort -rn)
  for pid in $pids; do end "$pid"; done
  [ -z "$work" ] || rm -rf "$work"
}
trap at_exit EXIT
trap 'exit 130' INT TERM

# start NAME COMMAND...: runs it in the background with its own log; leaves its id in `started`.
start() {
  local name=$1
  shift
  "$@" >>"$work/$name.log" 2>&1 &
  started=$!
}

# Only a child of ours: a number that was a child's may be somebody else's by now.
is_running() { [[ " $(jobs -pr | tr '\n' ' ') " == *" $1 "* ]]; }

# end ID: asks it to stop, and after 30 seconds makes it.
end() {
  is_running "$1" || return 0
  # To Postgres TERM means: when the last client is gone.
  if [ "$1" = "${postgres_pid:-}" ]; then kill -INT "$1"; else kill -TERM "$1"; fi
  for _ in $(seq 300); do
    is_running "$1" || return 0
    sleep 0.1
  done
  say "process $1 did not stop in 30 seconds: it is killed"
  kill -KILL "$1" 2>/dev/null || true
}

milliseconds() {
  if [ -n "${EPOCHREALTIME:-}" ]; then
    printf '%s\n' $((${EPOCHREALTIME/[.,]/} / 1000))
  else
    printf '%s000\n' "$(date +%s)"
  fi
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  printf '%s\n' "$port"
}

# --- Servers ---

start_postgres() {
  postgres_port=$(free_port)
  mkdir "$work/postgres"
  [ "$(id -u)" -ne 0 ] || chown postgres "$work/postgres"
  (as_postgres "$programs/initdb" -U micai -A trust -E UTF8 --locale=C -D "$work/postgres/data") >"$work/initdb.log" 2>&1 ||
    fail "initdb failed: $(tail -n 3 "$work/initdb.log")"
  # A server as it comes (fsync and synchronous_commit are on), with room for 128 clients beside the platform's.
  start postgres as_postgres "$programs/postgres" -D "$work/postgres/data" -k "$work/postgres" -p "$postgres_port" \
    -c listen_addresses=127.0.0.1 -c max_connections=300
  postgres_pid=$started
  for _ in $(seq 300); do
    "$programs/pg_isready" --quiet --host 127.0.0.1 --port "$postgres_port" && return
    sleep 0.1
  done
  fail "Postgres did not start: $(tail -n 3 "$work/postgres.log")"
}

sql() { "$programs/psql" --quiet --no-align --tuples-only --host 127.0.0.1 --port "$postgres_port" --username micai "$@"; }

start_redis() {
  redis_url=""
  local server port
  server=$(command -v redis-server || command -v valkey-server) || {
    say "neither redis-server nor valkey-server is here: the queue stays in the process"
    return 0
  }
  port=$(free_port)
  start redis "$server" --bind 127.0.0.1 --port "$port" --save "" --appendonly no --dir "$work"
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
  done
  redis_url="redis://127.0.0.1:$port/0"
  redis_version=$("$server" --version | sed 's/ sha=.*//')
}

# fresh_database BACKEND: an empty one, known to the platform from now on.
fresh_database() {
  databases=$((${databases:-0} + 1))
  if [ "$1" = postgres ]; then
    sql --dbname postgres --command "CREATE DATABASE bench_$databases"
    export MICAI_DATABASE_URL="postgresql://micai@127.0.0.1:$postgres_port/bench_$databases"
  else
    mkdir "$work/sqlite_$databases"
    export MICAI_DATABASE_URL="sqlite:///$work/sqlite_$databases/micai.db"
  fi
}

drop_database() {
  if [ "$1" = postgres ]; then
    sql --dbname postgres --command "DROP DATABASE bench_$databases WITH (FORCE)"
  else
    rm -rf "$work/sqlite_$databases"
  fi
}

# --- The platform ---

# start_roles ROLE...: one process each; waits until the first one is ready. Leaves `roles` and `role_pids`.
start_roles() {
  local role
  for role in "$@"; do
    if [ "$role" = api ] || [ "$role" = serve ]; then
      MICAI_BIND="127.0.0.1:$api_port" start "micai-$role" "$micai" "$role"
    else
      MICAI_BIND="127.0.0.1:$(free_port)" start "micai-$role" "$micai" "$role"
    fi
    roles+=("$role")
    role_pids+=("$started")
    if [ "$role" = api ] || [ "$role" = serve ]; then
      wait_until_ready "$role"
    fi
  done
}

wait_until_ready() {
  for _ in $(seq 300); do
    curl --silent --fail --max-time 5 --output /dev/null "http://127.0.0.1:$api_port/health/ready" && return
    is_running "$started" || fail "micai $1 ended: $(tail -n 3 "$work/micai-$1.log")"
    sleep 0.1
  done
  fail "micai $1 is not ready after 30 seconds: $(tail -n 3 "$work/micai-$1.log")"
}

# Roles that share a database, and with Redis a queue. Without Redis they would learn of each other's work by sweeping
# only, so there one process does everything.
start_platform() {
  if [ "$1" = postgres ] && [ -n "$redis_url" ]; then
    MICAI_REDIS_URL="$redis_url" start_roles api worker scheduler
  else
    start_roles serve
  fi
  curl --silent --show-error --fail --output /dev/null "http://127.0.0.1:$api_port/admin/rules" \
    --header 'x-admin-key: bench-admin-key' --header 'content-type: application/json' --data '{
      "id": "bench", "agent_id": "default-agent", "rule_type": "keyword", "keywords": ["weather", "menu"],
      "priority": 50, "action": "reply_text", "reply_text": "Bean stew today, and orange cake."}'
}

start_api() {
  if [ "$1" = postgres ] && [ -n "$redis_url" ]; then MICAI_REDIS_URL="$redis_url" start_roles api; else start_roles api; fi
}

stop_roles() {
  local pid
  for pid in ${role_pids[@]+"${role_pids[@]}"}; do end "$pid"; done
  roles=() role_pids=()
}

# Bounded, so that a platform that answers nothing any more does not hold the bench up.
wait_until_drained() {
  local deadline=$(($(milliseconds) + $1 * 1000)) answer
  while [ "$(milliseconds)" -lt "$deadline" ]; do
    answer=$(curl --silent --max-time 5 "http://127.0.0.1:$api_port/health/ready" || true)
    [[ "$answer" == *'"oldest_pending_age_seconds":null'*'"oldest_queued_age_seconds":null'* ]] && return
    sleep 0.2
  done
  return 1
}

wait_until_answered() {
  local deadline=$(($(milliseconds) + $1 * 1000)) answer
  while [ "$(milliseconds)" -lt "$deadline" ]; do
    answer=$(curl --silent --max-time 5 "http://127.0.0.1:$api_port/health/ready" || true)
    [[ "$answer" == *'"oldest_pending_age_seconds":null'* ]] && return
    sleep 0.2
  done
  return 1
}

admin() { # METHOD PATH [BODY]
  curl --silent --show-error --fail --max-time 10 --output /dev/null --request "$1" "http://127.0.0.1:$api_port/admin/$2" \
    --header 'x-admin-key: bench-admin-key' --header 'content-type: application/json' ${3:+--data "$3"}
}

# hold_sends BUDGETS: nothing is sent for now, and what is to go keeps its place in line: so does a pause that ends within
# fifteen minutes. Beside it pauses that concern nobody here, and where BUDGETS is yes, two that every send counts against.
hold_sends() {
  local until country
  until=$(($(date +%s) + 840))
  until=$(date -u -d "@$until" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$until" +%Y-%m-%dT%H:%M:%SZ)
  admin POST pauses '{"scope": "account", "reason": "bench", "until": "'"$until"'"}'
  for country in IS MT FJ; do
    admin POST pauses '{"scope": "country", "subject": "'"$country"'", "reason": "bench"}'
  done
  admin POST pauses '{"scope": "template", "subject": "reminder", "reason": "bench"}'
  [ "$1" = yes ] || return 0
  admin PUT budgets/all '{"scope": "installation", "period": "month", "limit_micros": 1000000000000}'
  admin PUT budgets/each '{"scope": "contact", "period": "day", "limit_micros": 1000000000000}'
}

# --- Figures ---

# put BACKEND KEY LABEL NUMBER UNIT [TARGET]: one figure. Rows are printed in the order in which keys come first.
put() {
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "${6:-}" >>"$work/figures"
  say "$1: $3: $4 $5"
}

# figure BACKEND KEY: a number put before; empty if there is none.
figure() { awk -F '\t' -v backend="$1" -v key="$2" '$1 == backend && $2 == key { print $4 }' "$work/figures"; }

# number JSON KEY [OBJECT]: a number in one line of JSON, of the object with this name if there is one.
number() {
  local json=$1
  if [ -n "${3:-}" ]; then
    [[ "$json" == *"\"$3\":{"* ]] || { echo 0 && return; }
    json=${json#*"\"$3\":{"}
    json=${json%%\}*}
  fi
  [[ "$json" == *"\"$2\":"* ]] || { echo 0 && return; }
  json=${json#*"\"$2\":"}
  printf '%s\n' "${json%%[,\}]*}"
}

calculate() { awk "BEGIN { printf \"%.${2:-2}f\", $1 }"; }

memory_kilobytes() { # ID FIELD, a field of /proc; where there is no /proc only what is used now.
  if [ -r "/proc/$1/status" ]; then
    awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
  else
    ps -o rss= -p "$1" | tr -d ' '
  fi
}

# processor_ticks ID: hundredths of a second that it has used, with the children that it has; 0 where there is no /proc.
processor_ticks() {
  local pid total=0
  for pid in "$1" $(ps -o pid= --ppid "$1" 2>/dev/null); do
    total=$((total + $(awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$pid/stat" 2>/dev/null || echo 0)))
  done
  printf '%s\n' "$total"
}

platform_ticks() {
  local pid total=0
  for pid in "${role_pids[@]}"; do total=$((total + $(processor_ticks "$pid"))); done
  printf '%s\n' "$total"
}

put_memory() { # BACKEND KEY LABEL FIELD
  local place
  for ((place = 0; place < ${#roles[@]}; place++)); do
    put "$1" "$2_${roles[place]}" "$3, micai ${roles[place]}" \
      "$(calculate "$(memory_kilobytes "${role_pids[place]}" "$4") / 1024" 1)" MiB "${5:-}"
  done
}

# --- Load ---

ingest_load() {
  "$simulator" ingest-load --json --webhook-url "http://127.0.0.1:$api_port/webhook" "$@" 2>>"$work/ingest-load.log" ||
    fail "ingest-load failed: $(tail -n 3 "$work/ingest-load.log" "$work"/micai-*.log)"
}

reply_load() {
  "$simulator" load --json --webhook-url "http://127.0.0.1:$api_port/webhook" --bind "127.0.0.1:$simulator_port" \
    --status-batch-max 100 "$@" 2>>"$work/load.log" || fail "load failed: $(tail -n 3 "$work/load.log" "$work"/micai-*.log)"
}

# A figure of a run in which something failed must not stand there as if nothing had.
check_errors() { # BACKEND JSON WHAT
  local errors=$(($(number "$2" http_errors) + $(number "$2" transport_errors)))
  [ "$errors" -eq 0 ] || put "$1" "errors_$3" "webhooks not answered with 200, $3" "$errors" webhooks
  local lost
  lost=$(number "$2" without_reply)
  [ "${lost:-0}" -eq 0 ] || put "$1" "lost_$3" "messages without a reply, $3" "$lost" messages
}

# --- What comes out ---

describe_machine() {
  local model kind
  model=$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo 2>/dev/null || sysctl -n machdep.cpu.brand_string)
  kind=$(stat -f -c %T "$work" 2>/dev/null || echo unknown)
  [ "$kind" != tmpfs ] || say "warning: $work is in memory, so nothing is really flushed: set MICAI_BENCH_DIR to a disk"
  printf 'commit\t%s\n' "$(git describe --always --dirty 2>/dev/null || echo unknown)"
  printf 'date\t%s\n' "$(date -u +%Y-%m-%dT%H:%MZ)"
  printf 'cores\t%s (%s)\n' "$(getconf _NPROCESSORS_ONLN)" "${model:-unknown}"
  printf 'memory\t%s\n' "$(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || echo unknown)"
  printf 'kernel\t%s\n' "$(uname -sr)"
  printf 'files on\t%s\n' "$kind"
  printf 'postgres\t%s\n' "$("$programs/postgres" --version | sed 's/.*PostgreSQL) //')"
  printf 'redis\t%s\n' "${redis_version:-not used}"
  printf 'length\t%s\n' "$([ "$quick" = yes ] && echo 'quick: for trying, not for quoting' || echo full)"
}

# One row a key, one column a database.
table() {
  awk -F '\t' -v markdown="$markdown" '
    !($2 in label) { order[++rows] = $2 }
    { label[$2] = $3; unit[$2] = $5; value[$1, $2] = $4; if ($6 != "") target[$2] = $6 }
    function line(a, b, c, d, e) {
      if (markdown == "yes") printf "| %s | %s | %s | %s | %s |\n", a, b, c, d, e
      else printf "%-52s %12s %12s %-11s %s\n", a, b, c, d, e
    }
    END {
      line("", "Postgres", "SQLite", "unit", "target")
      if (markdown == "yes") print "|---|---:|---:|---|---|"
      for (row = 1; row <= rows; row++) {
        key = order[row]
        postgres = (("postgres", key) in value) ? value["postgres", key] : "-"
        sqlite = (("sqlite", key) in value) ? value["sqlite", key] : "-"
        line(label[key], postgres, sqlite, unit[key], target[key])
      }
    }' "$work/figures"
}

json() {
  awk -F '\t' '
    function quoted(text) { gsub(/["\\]/, "\\\\&", text); return "\"" text "\"" }
    FILENAME == ARGV[1] { printf "%s%s:%s", FNR == 1 ? "{\"machine\":{" : ",", quoted($1), quoted($2); next }
    { printf "%s{\"database\":%s,\"key\":%s,\"what\":%s,\"value\":%s,\"unit\":%s,\"target\":%s}",
        FNR == 1 ? "},\"figures\":[" : ",", quoted($1), quoted($2), quoted($3), $4, quoted($5), quoted($6) }
    END { print "]}" }' "$work/machine" "$work/figures"
}

report() {
  local file
  file="target/bench/$(date -u +%Y%m%dT%H%M%SZ).json"
  mkdir -p target/bench
  json >"$file"
  if [ "$markdown" = yes ]; then
    awk -F '\t' '{ printf "%s%s %s", NR == 1 ? "" : " · ", $1, $2 } END { print "\n" }' "$work/machine"
  else
    awk -F '\t' '{ printf "%-10s %s\n", $1, $2 } END { print "" }' "$work/machine"
  fi
  table
  say "figures as JSON: $file"
}
