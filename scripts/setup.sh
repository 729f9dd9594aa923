#!/usr/bin/env bash
# setup.sh GROUP...: installs what this Debian 12 machine lacks for a part of kmdev's work.
#
#   demo   a C compiler and gdb
#   test   the unmodified programs, compilers and tools that the tests run
#   amdv   QEMU, and a Debian kernel with kvm-amd unpacked in the cache (never installed)
#
# Safe to run again and again: a group that is complete costs a few milliseconds.
# Everything kept goes to ${KMDEV_CACHE:-$HOME/.cache/kmdev}; nothing is written to the repository.
set -euo pipefail

cache=${KMDEV_CACHE:-${HOME:-/root}/.cache/kmdev}

# command-or-file : package that provides it
demo_needs=(
  gcc:gcc make:make gdb:gdb /usr/include/stdio.h:libc6-dev
)
# What docs/compatibility.md lists: 50 MB of packages on a machine that has a JDK and PostgreSQL, 200 MB on one that hasn't.
compat_needs=(
  dash:dash bash:bash zsh:zsh tar:tar git:git ps:procps lsof:lsof setpriv:util-linux
  redis-server:redis-server redis-cli:redis-tools /usr/sbin/nginx:nginx-light memcached:memcached
  /usr/lib/postgresql/15/bin/postgres:postgresql-15
  java:openjdk-17-jre-headless javac:openjdk-17-jdk-headless
  ruby:ruby /usr/bin/tclsh8.6:tcl8.6 guile:guile-3.0 sbcl:sbcl php:php-cli
  stress-ng:stress-ng qemu-x86_64:qemu-user qemu-aarch64:qemu-user
)
test_needs=(
  "${demo_needs[@]}"
  g++:g++ musl-gcc:musl-tools strace:strace tmux:tmux file:file
  /usr/share/doc/libc6-dbg:libc6-dbg
  /usr/lib/x86_64-linux-gnu/libc.a:libc6-dev
  busybox:busybox-static gawk:gawk lua5.4:lua5.4 bc:bc xz:xz-utils zstd:zstd
  lldb:lldb sqlite3:sqlite3 jq:jq openssl:openssl perl:perl /usr/bin/python3:python3 node:nodejs
  "${compat_needs[@]}"
)
amdv_needs=(
  qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio xz:xz-utils
)

die() { echo "setup: $*" >&2; exit 1; }

present() {
  case $1 in
    /*) [[ -e $1 ]] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; return; fi
  command -v sudo >/dev/null || die "need root to install packages: run as root, or install sudo, or install by hand: ${*: -1}"
  sudo env DEBIAN_FRONTEND=noninteractive "$@"
}

apt_update_once() {
  [[ -z ${updated:-} ]] || return 0
  updated=1
  as_root apt-get update -qq
}

# hold_services keeps the servers among the packages from starting when they are installed (invoke-rc.d(8)).
hold_services() {
  local policy=/usr/sbin/policy-rc.d
  [[ ! -e $policy ]] || return 0
  as_root sh -c "printf '#!/bin/sh\\nexit 101\\n' > $policy && chmod 755 $policy"
  trap "as_root rm -f $policy" EXIT
}

install_missing() {
  local need what pkg
  local -a missing=()
  for need in "$@"; do
    what=${need%%:*} pkg=${need#*:}
    present "$what" || missing+=("$pkg")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || die "missing packages (${missing[*]}) and no apt-get here: install them by hand"
  echo "setup: installing ${missing[*]}" >&2
  apt_update_once
  export DEBIAN_FRONTEND=noninteractive
  hold_services
  as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1 ||
    { tail -20 "$cache/apt.log" >&2; die "apt-get install ${missing[*]} failed (log: $cache/apt.log)"; }
  for need in "$@"; do
    present "${need%%:*}" || die "package ${need#*:} is installed, but ${need%%:*} is still missing"
  done
}

# fetch_kernel puts vmlinuz and the modules that /dev/kvm on AMD needs into $cache/amdv.
fetch_kernel() {
  local dir=$cache/amdv
  [[ -e $dir/complete ]] && return 0
  apt_update_once
  local pkg
  pkg=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-[0-9]/ {print $2; exit}')
  [[ -n $pkg ]] || die "apt-cache knows no linux-image-amd64: run apt-get update"
  echo "setup: fetching $pkg for make test-amdv" >&2
  rm -rf "$dir" "$dir.new"
  mkdir -p "$dir.new/deb"
  (cd "$dir.new/deb" && apt-get download -qq -o APT::Sandbox::User=root "$pkg")
  dpkg-deb --fsys-tarfile "$dir.new"/deb/*.deb | tar -x -C "$dir.new" --wildcards \
    './boot/vmlinuz-*' './lib/modules/*/kernel/arch/x86/kvm/*' './lib/modules/*/kernel/virt/*' \
    './lib/modules/*/kernel/drivers/crypto/ccp/ccp.ko*'
  rm -rf "$dir.new/deb"
  mv "$dir.new"/boot/vmlinuz-* "$dir.new/vmlinuz"
  find "$dir.new/lib" -name '*.ko' -exec mv -t "$dir.new" {} +
  rm -rf "$dir.new/lib" "$dir.new/boot"
  for m in irqbypass ccp kvm kvm-amd; do
    [[ -e $dir.new/$m.ko ]] || die "$pkg holds no $m.ko"
  done
  echo "$pkg" >"$dir.new/complete"
  mv "$dir.new" "$dir"
}

check_go() {
  command -v go >/dev/null || die "no Go toolchain in PATH: install Go 1.26 (https://go.dev/dl)"
}

group() {
  check_go
  case $1 in
    demo) install_missing "${demo_needs[@]}" ;;
    test) install_missing "${test_needs[@]}" ;;
    amdv) install_missing "${amdv_needs[@]}"; fetch_kernel ;;
    *) die "unknown group $1 (demo, test, amdv)" ;;
  esac
}

(($#)) || die "usage: setup.sh demo|test|amdv ..."
mkdir -p "$cache"
for g in "$@"; do group "$g"; done
