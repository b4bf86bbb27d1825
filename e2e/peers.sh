#!/bin/sh
# Unpacks Debian packages, with the shared libraries that this machine lacks, into a folder, without installing
# anything: no service starts and no system file changes.
#
# usage: peers.sh PACKAGE...     (the folder is $PEERS, by default .cache/peers beside the module)
#
# A second run with the same packages does nothing.
set -eu

if [ $# -eq 0 ]; then
	echo "usage: $0 PACKAGE..." >&2
	exit 2
fi
peers=${PEERS:-$(cd "$(dirname "$0")/.." && pwd)/.cache/peers}
done_mark=$peers/.packages
if [ "$(cat "$done_mark" 2>/dev/null)" = "$*" ]; then
	exit 0
fi
for tool in apt-get dpkg-deb; do
	if ! command -v "$tool" >/dev/null; then
		echo "peers.sh: no $tool here; install these packages' programs by hand: $*" >&2
		exit 1
	fi
done

debs=$peers/.debs
rm -f "$done_mark"
mkdir -p "$debs/partial"

# --download-only resolves the dependencies that are missing here and stops before dpkg is called.
download() {
	apt-get install --download-only --no-install-recommends --reinstall -qq -y \
		-o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dir::Cache::archives="$debs" "$@" >"$debs/log" 2>&1
}
if ! download "$@"; then
	# The package lists may be missing or too old: refresh them once.
	apt-get update -qq >/dev/null 2>&1 || true
	if ! download "$@"; then
		cat "$debs/log" >&2
		echo "peers.sh: cannot download $*" >&2
		exit 1
	fi
fi
for deb in "$debs"/*.deb; do
	dpkg-deb -x "$deb" "$peers"
done
rm -r "$debs"
echo "$*" >"$done_mark"
