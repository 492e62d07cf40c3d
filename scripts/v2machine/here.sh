#!/usr/bin/env bash
# Boots the systemd of a Debian tree in namespaces of this machine, as fast as this machine is: for times, not
# for limits, since the unified hierarchy of a host with version 1 hands out no controllers.
#
#   here.sh TREE OUTPUT
#
# Everything is mounted in a mount namespace of its own, over a tmpfs, and gone with its last process.
set -euo pipefail
tree=$1 output=$2

unified=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
place=$unified/mcp-sandbox-here
mkdir -p "$place"
came_from=$unified$(awk -F: '$1 == 0 {print $3}' /proc/self/cgroup)
trap 'echo $$ >"$came_from/cgroup.procs"; find "$place" -depth -type d -exec rmdir {} +' EXIT
echo $$ >"$place/cgroup.procs"

inside() {
  set -euo pipefail
  local tree=$1 output=$2 top root unit
  mount --make-rprivate /
  top=$(dirname "$output")/here
  root=$top/root
  mkdir -p "$top"
  mount -t tmpfs tmpfs "$top"
  mkdir "$top"/{upper,work,root}
  mount -t overlay overlay -o "lowerdir=$tree,upperdir=$top/upper,workdir=$top/work" "$root"
  mount -t proc proc "$root/proc"
  mount --bind /sys "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs tmpfs "$root/run"
  mount --rbind /dev "$root/dev"
  touch "$root/output"
  mount --bind "$output" "$root/output"
  echo >"$root/etc/fstab"
  mkdir -p "$root/var/lib/systemd/linger"
  touch "$root/var/lib/systemd/linger/caller"
  for unit in v2 systemd-udevd systemd-udev-trigger systemd-modules-load systemd-timesyncd getty@tty1 serial-getty@ttyS0; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
  done
  printf '[Unit]\nAfter=multi-user.target systemd-logind.service dbus.service\n[Service]\nExecStart=su -l caller -c "%s"\n%s\n' \
    "/payload/venv/bin/python /payload/cost.py" \
    $'StandardOutput=file:/output\nStandardError=file:/output\nExecStopPost=/usr/bin/systemctl poweroff -f' \
    >"$root/etc/systemd/system/cost.service"
  ln -sf /etc/systemd/system/cost.service "$root/etc/systemd/system/multi-user.target.wants/cost.service"
  mkdir -p "$root/old"
  cd "$root"
  # A change of root would not do: whoever is in one gets no user namespace (user_namespaces(7)).
  pivot_root . old
  umount -l /old
  exec env container=other /lib/systemd/systemd --system --unit=multi-user.target
}
export -f inside
# Ahead of whatever else this machine does, where that is allowed: a few seconds.
first=()
chrt -f 5 true 2>/dev/null && first=(chrt -f 5)
: >"$output"
"${first[@]}" unshare -m -p -f -C -u -i bash -c 'inside "$@"' here "$tree" "$output" >/dev/null 2>&1 || true
