# A private Slurm on this machine: controller, two nodes, munge, all in one folder and as this user.
# Sourced. start_slurm FOLDER sets SLURM_CONF and a trap-free stop_slurm; ports are free ones.
# shellcheck shell=bash

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

write_slurm_conf() {
  local folder=$1 user host controller first second
  user=$(id -un) host=$(hostname -s)
  read -r controller first second < <(free_ports 3)
  # No cgroups and no affinity, which containers lack; more processors than there may be, since the
  # tests' jobs are small. A job of partition "urgent" sends those of "main" back into the queue.
  cat > "$folder/slurm.conf" <<TEXT
ClusterName=private
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
SlurmctldPort=$controller
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
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
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$first CPUs=8 RealMemory=1000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$second CPUs=8 RealMemory=1000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
TEXT
}

# Waits until the command succeeds, a given number of seconds at most.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

nodes_are_idle() { [[ $(sinfo --noheader --partition=main --format='%D %t') == '2 idle' ]]; }

start_slurm() {
  slurm_folder=$1
  PATH=$PATH:/usr/sbin
  mkdir -p "$slurm_folder"/{state,spool-n1,spool-n2,munge}
  chmod 0755 "$slurm_folder" "$slurm_folder/munge"
  (umask 077 && head -c 1024 /dev/urandom > "$slurm_folder/munge.key")
  munged --force --key-file="$slurm_folder/munge.key" --socket="$slurm_folder/munge/socket" \
    --pid-file="$slurm_folder/munged.pid" --log-file="$slurm_folder/munged.log" \
    --seed-file="$slurm_folder/munge.seed" || return 1
  write_slurm_conf "$slurm_folder"
  export SLURM_CONF=$slurm_folder/slurm.conf
  slurmctld || return 1
  slurmd -N n1 || return 1
  slurmd -N n2 || return 1
  within 30 nodes_are_idle
}

stop_slurm() {
  local file daemons=()
  scancel --user="$(id -un)" 2> /dev/null || true
  within 25 jobs_are_gone || true
  for file in "$slurm_folder"/{slurmd-n1,slurmd-n2,slurmctld,munged}.pid; do
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
