#!/bin/sh
# A Slurm of one node, from Debian's or Ubuntu's packages, in a temporary folder, and the tests marked `slurm` on it.
# Nothing of the system's own configuration is read or changed, and all of it is gone afterwards.
# Needs: root, or a container's; apt-get install slurm-wlm munge. Usage: scripts/test_slurm.sh PYTHON [pytest's arguments]
set -eu

python=${1:?usage: scripts/test_slurm.sh PYTHON [arguments for pytest]}
shift
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin
  command -v "$program" >/dev/null 2>&1 || {
    echo "$program is missing. Debian, Ubuntu: sudo apt-get install slurm-wlm munge"
    exit 1
  }
done
[ "$(id -u)" = 0 ] || {
  echo "slurmd starts jobs as other users, so it needs root: run this in a container, or with sudo -E"
  exit 1
}

home=$(mktemp -d)
chmod 755 "$home"
mkdir "$home/state" "$home/spool" "$home/munge"
pids=
stop() {
  scancel --user="$(id -un)" 2>/dev/null && sleep 2 || true
  for pid in $pids; do kill "$pid" 2>/dev/null || true; done
  for pid in $pids; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$home"
}
trap stop EXIT
trap 'exit 130' INT TERM

# Munge signs what Slurm's parts tell each other; each part must trust the same key.
key=$home/munge/key
head -c 1024 /dev/urandom >"$key"
chmod 400 "$key"
munged --force --foreground --key-file="$key" --socket="$home/munge/socket" --pid-file="$home/munge/pid" \
  --log-file="$home/munge/log" --seed-file="$home/munge/seed" >"$home/munge.out" 2>&1 &
pids="$pids $!"

ports=$("$python" -c 'import socket
held = [socket.create_server(("", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in held))')
cat >"$home/slurm.conf" <<END
ClusterName=foveal
SlurmctldHost=$(hostname -s)
SlurmctldPort=${ports% *}
SlurmdPort=${ports#* }
SlurmUser=root
# Jobs that are queued again wait until their credential has expired, by default for two minutes.
AuthType=auth/munge
AuthInfo=socket=$home/munge/socket,cred_expire=10
CredType=cred/munge
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName=$(hostname -s) CPUs=$(nproc) State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF="$home/slurm.conf"
slurmctld -D >"$home/slurmctld.out" 2>&1 &
pids="$pids $!"
slurmd -D >"$home/slurmd.out" 2>&1 &
pids="$pids $!"

tries=0
until sinfo --noheader --format=%t 2>/dev/null | grep -q idle; do
  tries=$((tries + 1))
  [ $tries -lt 60 ] || {
    echo "Slurm's node did not become idle:"
    tail -n 20 "$home"/*.log "$home"/*.out
    exit 1
  }
  sleep 1
done
sinfo
FOVEAL_SLURM=1 "$python" -m pytest -m slurm "$@"
