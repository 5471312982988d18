# Two hosts as network namespaces of this machine, with a bridge between them. Sourced.
# shellcheck shell=bash

net=$(($$ % 200)) name=mx$(($$ % 10000))
# The hosts by their names; host k has the address 10.231.$net.(11 + k), the machine itself ...1, and
# the link of host k is "$name$k".
hosts=("${name}a" "${name}b")

# make_hosts TEST: ends the shell with code 77 where that is not permitted.
make_hosts() {
  local tool k
  for tool in ip unshare mpirun; do
    if ! command -v "$tool" > /dev/null; then
      echo "$1: skipped: there is no $tool here" >&2
      exit 77
    fi
  done
  if ((EUID != 0)) || ! ip netns add "${hosts[0]}" 2> /dev/null; then
    echo "$1: skipped: network namespaces are not permitted here" >&2
    exit 77
  fi
  ip netns add "${hosts[1]}"
  ip link add "$name" type bridge
  ip addr add "10.231.$net.1/24" dev "$name"
  ip link set "$name" up
  for k in 0 1; do
    ip link add "$name$k" type veth peer name eth0 netns "${hosts[$k]}"
    ip link set "$name$k" master "$name" up
    ip -n "${hosts[$k]}" addr add "10.231.$net.$((11 + k))/24" dev eth0
    ip -n "${hosts[$k]}" link set eth0 up
    ip -n "${hosts[$k]}" link set lo up
  done
}

# Ends whatever runs on the hosts, and the hosts.
remove_hosts() {
  local host pids
  for host in "${hosts[@]}"; do
    pids=$(ip netns pids "$host" 2> /dev/null || true)
    # shellcheck disable=SC2086  # one word each
    [[ -z $pids ]] || kill -KILL $pids 2> /dev/null || true
    ip netns del "$host" 2> /dev/null || true
  done
  ip link del "$name" 2> /dev/null || true
}

# write_agent FILE: a program in place of ssh, AGENT HOST COMMAND: the host's network and its name.
write_agent() {
  cat > "$1" << 'AGENT'
#!/usr/bin/env bash
host=$1
shift
exec ip netns exec "$host" unshare --uts sh -c 'hostname "$1"; shift; exec sh -c "$*"' sh "$host" "$@"
AGENT
  chmod +x "$1"
}

# write_entrance FILE: ENTRANCE HOST COMMAND does the same to a command of words, and leaves it this
# machine's /sys, with the control groups.
write_entrance() {
  cat > "$1" << 'ENTRANCE'
#!/usr/bin/env bash
host=$1
shift
exec nsenter --net="/run/netns/$host" unshare --uts sh -c 'hostname "$1"; shift; exec "$@"' sh "$host" "$@"
ENTRANCE
  chmod +x "$1"
}
