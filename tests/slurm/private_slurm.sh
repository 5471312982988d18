# A private Slurm on this machine: controller, two nodes, munge, all in one folder and as this user.
# Sourced. start_slurm sets SLURM_CONF; stop_slurm ends all of it. Ports are free ones.
# shellcheck shell=bash

# shellcheck source=tests/study_questions.sh
source "$(dirname "${BASH_SOURCE[0]}")/../study_questions.sh"

slurm_is_installed() {
  local tool
  for tool in slurmctld slurmd munged sbatch scontrol; do
    PATH=$PATH:/usr/sbin command -v "$tool" > /dev/null || return 1
  done
}

# Ports that nobody has at the moment.
free_ports() {
  python3 -c 'import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))' "$1"
}

# A line of slurm.conf for every node NAME=ADDRESS, `node_host` being where all of them are; empty:
# each is a host of its own.
node_lines() {
  local node_host=$1 node port
  shift
  for node; do
    port=$(free_ports 1)
    printf 'NodeName=%s NodeHostname=%s NodeAddr=%s Port=%s CPUs=8 RealMemory=1000\n' \
      "${node%=*}" "${node_host:-${node%=*}}" "${node#*=}" "$port"
  done
}

# The controller listens at ADDRESS.
write_slurm_conf() {
  local folder=$1 address=$2 lines=$3 user host controller
  user=$(id -un) host=$(hostname -s) controller=$(free_ports 1)
  # No cgroups and no affinity, which containers lack; more processors than there may be, since the
  # tests' jobs are small. A job of partition "urgent" sends those of "main" back into the queue.
  cat > "$folder/slurm.conf" <<TEXT
ClusterName=private
SlurmctldHost=$host($address)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
SlurmctldPort=$controller
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
TmpFS=$folder/tmp-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,preempt_youngest_first
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
ReturnToService=2
$lines
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
TEXT
}

nodes_are_idle() { [[ $(sinfo --noheader --partition=main --format='%D %t') == '2 idle' ]]; }

# start_slurm FOLDER: the nodes n1 and n2, which are this machine under two names.
start_slurm() {
  start_controller "$1" 127.0.0.1 "$(node_lines "$(hostname -s)" n1=127.0.0.1 n2=127.0.0.1)" n1 n2 ||
    return 1
  slurmd -N n1 || return 1
  slurmd -N n2 || return 1
  within 30 nodes_are_idle
}

# start_slurm_on_hosts FOLDER AGENT ADDRESS NODE=ADDRESS...: nodes that are hosts of their own, where
# `AGENT NODE COMMAND` runs commands, and which reach this machine at the first address.
start_slurm_on_hosts() {
  local folder=$1 agent=$2 address=$3 node
  shift 3
  start_controller "$folder" "$address" "$(node_lines '' "$@")" "${@%=*}" || return 1
  for node in "${slurm_nodes[@]}"; do
    "$agent" "$node" slurmd -N "$node" || return 1
  done
  within 30 nodes_are_idle
}

# start_controller FOLDER ADDRESS LINES NODE...
start_controller() {
  slurm_folder=$1 slurm_nodes=("${@:4}")
  PATH=$PATH:/usr/sbin
  mkdir -p "$slurm_folder"/{state,munge} "${slurm_nodes[@]/#/$slurm_folder/spool-}" \
    "${slurm_nodes[@]/#/$slurm_folder/tmp-}"
  chmod 0755 "$slurm_folder" "$slurm_folder/munge"
  (umask 077 && head -c 1024 /dev/urandom > "$slurm_folder/munge.key")
  munged --force --key-file="$slurm_folder/munge.key" --socket="$slurm_folder/munge/socket" \
    --pid-file="$slurm_folder/munged.pid" --log-file="$slurm_folder/munged.log" \
    --seed-file="$slurm_folder/munge.seed" || return 1
  write_slurm_conf "$slurm_folder" "$2" "$3"
  export SLURM_CONF=$slurm_folder/slurm.conf
  slurmctld
}

stop_slurm() {
  local file daemons=()
  scancel --user="$(id -un)" 2> /dev/null || true
  within 25 jobs_are_gone || true
  for file in "$slurm_folder"/*.pid; do
    [[ ! -s $file ]] || daemons+=("$(cat "$file")")
  done
  ((${#daemons[@]} == 0)) || kill "${daemons[@]}" 2> /dev/null || true
  within 10 are_gone "${daemons[@]}" || true
}

are_gone() {
  local process
  for process; do ! kill -0 "$process" 2> /dev/null || return 1; done
}

jobs_are_gone() { [[ -z $(squeue --noheader 2> /dev/null) ]]; }

# A requeued job would wait two minutes (its BeginTime); this lets it start in two seconds. At once
# would be too early: a node refuses for a second what it has just killed.
release() {
  local start
  start=$(squeue --noheader --jobs="$1" --states=PENDING --format=%S 2> /dev/null) || return 0
  start=$(date --date="$start" +%s 2> /dev/null) || return 0
  ((start < $(date +%s) + 5)) || scontrol update jobid="$1" StartTime=now+2
}

state_of() { squeue --noheader --states=all --jobs="$1" --format=%T 2> /dev/null | head -n 1; }
restarts_of() { scontrol show job "$1" | sed -n 's/.* Restarts=\([0-9]*\).*/\1/p' | head -n 1; }
